"""What is computed, derived from the policy alone: each node derives it for itself.

protocol.md, 7: a coordinator cannot name other contributors than the policy does, since every
node compares the manifest's outcomes with the plan that it derived.  A policy that is the AND of
departments' own conditions has one outcome, to which every department but the recipient
contributes (protocol.md, 4.3).
"""

from dataclasses import dataclass

from veilmatch_policy.formula import conjunction
from veilmatch_policy.policy import Policy


@dataclass(frozen=True)
class Outcome:
    """A sum that is opened: its number in the manifest and who contributes, in the order of the masks."""

    index: int
    contributors: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Who does what for one policy."""

    recipient: str
    outcomes: tuple[Outcome, ...]

    @property
    def contributors(self) -> tuple[str, ...]:
        """Every node that contributes to some outcome, sorted."""
        return tuple(sorted({name for outcome in self.outcomes for name in outcome.contributors}))

    @property
    def participants(self) -> tuple[str, ...]:
        """Contributors and recipient, sorted."""
        return tuple(sorted({*self.contributors, self.recipient}))


def conditions_of(policy: Policy, department: str) -> tuple[str, ...]:
    """Names of the conditions that a department answers, in the policy's order."""
    needed = conjunction(policy.eligible) or ()
    return tuple(
        name
        for name, condition in policy.conditions.items()
        if name in needed and condition.department == department
    )


def derive_plan(policy: Policy) -> Plan:
    """Derive the plan of a checked policy."""
    needed = conjunction(policy.eligible) or ()
    asked = {policy.conditions[name].department for name in needed} - {policy.recipient}
    return Plan(policy.recipient, (Outcome(0, tuple(sorted(name for name in asked if name is not None))),))
