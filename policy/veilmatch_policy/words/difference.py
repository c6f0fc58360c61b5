"""What changed between two versions of a policy, and what two policies have in common."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from veilmatch_policy import strict_yaml
from veilmatch_policy.errors import PolicyRefusedError
from veilmatch_policy.policy import Policy

_BY_NAME = ("conditions", "parameters")  # the keys below which each entry is compared by itself


@dataclass(frozen=True)
class Change:
    """One entry of a policy: ``place`` is its key, ``conditions.pensioner`` say; its text before and after."""

    kind: Literal["added", "removed", "changed"]
    place: str
    before: str
    after: str


def differences(before: Policy, after: Policy) -> tuple[Change, ...]:
    """Each entry that was added, removed or changed, as the two files write it, in the new one's order.

    What a file leaves out is not there, whatever its default.
    """
    old, new = _entries(before), _entries(after)
    changes = []
    for place in dict.fromkeys([*new, *old]):
        if place not in old:
            changes.append(Change("added", place, "", new[place]))
        elif place not in new:
            changes.append(Change("removed", place, old[place], ""))
        elif old[place] != new[place]:
            changes.append(Change("changed", place, old[place], new[place]))
    return tuple(changes)


def text_difference(before: Policy, after: Policy) -> tuple[str, ...]:
    """The unified difference of the two files, comments included; empty where they are the same."""
    return tuple(
        difflib.unified_diff(
            before.source.decode().splitlines(),
            after.source.decode().splitlines(),
            f"{before.name} {before.version}",
            f"{after.name} {after.version}",
            lineterm="",
        )
    )


def _entries(policy: Policy) -> dict[str, str]:
    """What a policy's file says, by its keys."""
    root = strict_yaml.parse(policy.source, policy.name, PolicyRefusedError).root
    entries: dict[str, str] = {}
    for key, value in root.items():
        if key in _BY_NAME and isinstance(value, dict):
            entries |= {f"{key}.{name}": _written(said) for name, said in value.items()}
        else:
            entries[key] = _written(value)
    return entries


def _written(value: object) -> str:
    """A value of a file on few lines: a mapping one line a key."""
    match value:
        case Mapping():
            return "\n".join(f"{key}: {_inline(said)}" for key, said in value.items())
        case list():
            return "\n".join(_inline(each) for each in value)
        case _:
            return str(value)


def _inline(value: object) -> str:
    match value:
        case Mapping():
            return "{" + ", ".join(f"{key}: {_inline(said)}" for key, said in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_inline, value)) + "]"
        case _:
            return str(value)
