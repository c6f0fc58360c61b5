"""Policies that differ in one condition: the difference of their results is that condition's answer.

protocol.md, 7: such policies are named to the officer, who may have approved one of them already.
"""

import re

from veilmatch_policy import canonical, strict_yaml
from veilmatch_policy.errors import PolicyRefusedError
from veilmatch_policy.policy import Policy

_PARAMETER = re.compile(r":(\w+)")


def all_but_one(one: Policy, other: Policy) -> bool:
    """Whether two policies of one recipient share their conditions but for at most one of each.

    A condition is the same where its text, its bound and the parameters that it names are; ``among`` counts as
    one, the formula does not count.  Policies that share nothing are not similar.
    """
    if one.recipient != other.recipient:
        return False
    mine, others = _conditions(one), _conditions(other)
    return bool(mine & others) and len(mine - others) <= 1 and len(others - mine) <= 1


def _conditions(policy: Policy) -> frozenset[bytes]:
    content = strict_yaml.parse(policy.source, policy.name, PolicyRefusedError).root
    stated = content.get("conditions")
    parts: list[object] = [*(stated.values() if isinstance(stated, dict) else []), content.get("among")]
    parameters = content.get("parameters")
    written = parameters if isinstance(parameters, dict) else {}
    return frozenset(
        canonical.encode([part, {name: written[name] for name in sorted(_named(part)) if name in written}])
        for part in parts
        if part is not None
    )


def _named(part: object) -> set[str]:
    return set(_PARAMETER.findall(str(part)))
