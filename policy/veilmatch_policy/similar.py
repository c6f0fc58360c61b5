"""Policies that differ in one condition: the difference of their results is that condition's answer.

protocol.md, 7: such policies are named to the officer, who may have approved one of them already.  Spelling
does not hide the likeness: white space, brackets that change nothing, capitals of SQL's words, and defaults
written out.  What means the same by arithmetic (`x + 1 > 6`) is not found; budgets do not care.
"""

import re

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from veilmatch_policy import canonical
from veilmatch_policy.policy import Bound, Condition, Policy

_PARAMETER = re.compile(r":(\w+)")


def all_but_one(one: Policy, other: Policy) -> bool:
    """Whether two policies of one recipient share their conditions but for at most one of each.

    A condition is the same where what it computes, its bound and the parameters that it names are; ``among``
    counts as one, the formula does not count.  Policies that share nothing are not similar.
    """
    if one.recipient != other.recipient:
        return False
    mine, others = _conditions(one), _conditions(other)
    return bool(mine & others) and len(mine - others) <= 1 and len(others - mine) <= 1


def _conditions(policy: Policy) -> frozenset[bytes]:
    parts = [_condition(policy, condition) for condition in policy.conditions.values()]
    if policy.among is not None:
        parts.append(["among", *_sql(policy, policy.among)])
    return frozenset(map(canonical.encode, parts))


def _condition(policy: Policy, condition: Condition) -> list[object]:
    totals = {name: _sql(policy, text) for name, text in sorted((condition.total or {}).items())}
    bounds = {
        key: _bound(policy, getattr(condition, key)) for key in ("below", "at_most", "above", "at_least")
    }
    return [
        condition.department,
        _sql(policy, condition.where) if condition.where is not None else None,
        condition.members,
        condition.unknown or "fail",
        policy.grain_of(condition),
        totals,
        bounds,
        condition.per_member,
    ]


def _bound(policy: Policy, bound: Bound | None) -> list[object] | None:
    if bound is None:
        return None
    if bound.expression is not None:
        return [bound.department, *_sql(policy, bound.expression)]
    if bound.parameter is not None:
        return ["parameter", _parameter(policy, bound.parameter)]
    return ["number", f"{bound.number:f}" if bound.number is not None else None]


def _sql(policy: Policy, text: str) -> list[object]:
    """An expression in one spelling, with the parameters that it names."""
    try:
        tree = sqlglot.parse_one(text, dialect="duckdb")
        spelled = tree.transform(lambda node: node.this if isinstance(node, exp.Paren) else node)
        plain = exp.replace_placeholders(spelled).sql(dialect="duckdb", normalize=True, comments=False)
    except SqlglotError:
        plain = " ".join(text.split())
    return [plain.casefold(), [_parameter(policy, name) for name in sorted(set(_PARAMETER.findall(text)))]]


def _parameter(policy: Policy, name: str) -> list[object]:
    stated = policy.parameters.get(name)
    if stated is None:
        return [name]
    allow = None if stated.allow is None else [f"{end.normalize():f}" for end in stated.allow]
    return [f"{stated.value.normalize():f}" if allow is None else None, allow]
