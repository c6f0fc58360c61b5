"""What the pages show of requests, decisions and budgets: values for the templates, texts already in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from veilmatch_node.desk import BudgetLine, Desk, Held, Waiting
from veilmatch_policy.budgets import MILLION
from veilmatch_policy.policy import Example, Policy
from veilmatch_policy.words import (
    Change,
    ColumnRead,
    Fact,
    PolicyView,
    Words,
    asked_in_words,
    columns_read,
    computed_in_words,
    cost_in_words,
    decisions_in_words,
    differences,
    learned_in_words,
    leaves_in_words,
    plan_in_words,
    text_difference,
)


@dataclass(frozen=True)
class ShownExample:
    """A worked example: what each department is given of the person, and of others of the household."""

    given: tuple[Fact, ...]
    others: tuple[tuple[Fact, ...], ...]
    expected: str


@dataclass(frozen=True)
class ShownSimilar:
    """An approved policy that shares all but one condition with the one at hand, and where they differ."""

    name: str
    version: int
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class ShownBudget:
    """A budget's bar, in hundredths of its limit: what is gone, and what the job at hand would take."""

    name: str
    receiver: str
    window: str
    said: str
    gone: float
    taken: float
    exceeded: bool
    next_free: str | None


@dataclass(frozen=True)
class ShownRequest:
    """A request as its page shows it.  ``changes`` is None where no version was approved before."""

    digest: str
    policy: Policy
    received: str
    facts: tuple[Fact, ...]
    columns: tuple[ColumnRead, ...]
    computed: str
    leaves: tuple[str, ...]
    learned: tuple[str, ...]
    plan: tuple[str, ...]
    cost: tuple[str, ...]
    others: tuple[Fact, ...]
    similar: tuple[ShownSimilar, ...]
    examples: tuple[ShownExample, ...]
    budgets: tuple[ShownBudget, ...]
    approved_before: str | None
    changes: tuple[Change, ...] | None
    text_changes: tuple[str, ...]


def shown_request(desk: Desk, waiting: Waiting, say: Words) -> ShownRequest:
    """Put together all that an officer reads before a decision."""
    policy = waiting.policy
    view = PolicyView(policy, waiting.plan, {desk.name: desk.catalog}, {desk.name: waiting.task})
    held = desk.last_approved(policy.name)
    before = None if held is None else desk.approved_policy(held)
    return ShownRequest(
        digest=waiting.digest.hex(),
        policy=policy,
        received=moment(waiting.received),
        facts=asked_in_words(waiting.request, policy, desk.directory.purposes, say),
        columns=columns_read(view, desk.name, datetime.now(UTC).date(), say),
        computed=computed_in_words(view, desk.name, say),
        leaves=leaves_in_words(view, desk.name, say),
        learned=learned_in_words(view, policy.reference_date or waiting.plan.reference_date, say),
        plan=plan_in_words(view, say),
        cost=cost_in_words(view, say),
        others=decisions_in_words(waiting.request, waiting.others, say),
        similar=tuple(_similar(policy, other) for other in desk.similar(waiting)),
        examples=tuple(_example(example, say) for example in policy.examples),
        budgets=shown_budgets(desk.uses_up(waiting), say),
        approved_before=None if held is None else moment(held.decision.decided),
        changes=None if before is None else differences(before, policy),
        text_changes=() if before is None else text_difference(before, policy),
    )


def shown_budgets(lines: Sequence[BudgetLine], say: Words) -> tuple[ShownBudget, ...]:
    """Budgets as bars; what the job at hand would take in them."""
    return tuple(_budget(line, say) for line in lines)


def state_of(held: Held, say: Words) -> str:
    """What became of a decision, in a word."""
    said: Mapping[str, str] = {
        "valid": say("in force"),
        "expired": say("expired"),
        "spent": say("all runs used"),
        "revoked": say("revoked"),
        "refused": say("refused"),
        "revocation": say("revocation"),
    }
    return said[held.state]


def moment(when: datetime) -> str:
    """A moment to the minute, UTC."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _similar(policy: Policy, other: Policy) -> ShownSimilar:
    asked = (
        change
        for change in differences(other, policy)
        if change.place in {"among", "eligible"} or change.place.startswith(("conditions.", "parameters."))
    )
    return ShownSimilar(other.name, other.version, tuple(asked))


def _example(example: Example, say: Words) -> ShownExample:
    return ShownExample(
        given=_given(example.given, say),
        others=tuple(_given(other, say) for other in example.others),
        expected=say("eligible") if example.eligible else say("not eligible"),
    )


def _given(given: Mapping[str, Sequence[Mapping[str, str]]], say: Words) -> tuple[Fact, ...]:
    facts = []
    for department, rows in given.items():
        written = [
            say.listed(say("{name} = {value}", name=name, value=value) for name, value in row.items())
            for row in rows
        ]
        facts.append(Fact(department, say.parts(each or say("known, without any value") for each in written)))
    return tuple(facts)


def _budget(line: BudgetLine, say: Words) -> ShownBudget:
    whole = max(line.limit, 1)  # a department may give nothing
    gone, taken = line.spent / whole, line.units / whole
    left = line.limit - line.spent - line.units
    spent, units, limit, rest = (_amount(line, each) for each in (line.spent, line.units, line.limit, left))
    if left < 0:
        said = say(
            "{spent} of {limit} used; this job needs {units}, which is more than is left",
            spent=spent,
            limit=limit,
            units=units,
        )
    elif line.units:
        said = say(
            "{spent} of {limit} used; this job takes {units}, then {left} are left",
            spent=spent,
            limit=limit,
            units=units,
            left=rest,
        )
    else:
        said = say("{spent} of {limit} used, {left} left", spent=spent, limit=limit, left=rest)
    return ShownBudget(
        name=line.what if line.kind == "runs" else say("noise budget (epsilon), all data"),
        receiver=line.receiver,
        window=say("this epoch") if line.window == "epoch" else say("any 365 days"),
        said=said,
        gone=100 * min(gone, 1.0),
        taken=100 * max(min(taken, 1.0 - gone), 0.0),
        exceeded=left < 0,
        next_free=None if line.next_free is None else line.next_free.date().isoformat(),
    )


def _amount(line: BudgetLine, units: int) -> str:
    return f"{units / MILLION:g}" if line.kind == "epsilon" else str(units)
