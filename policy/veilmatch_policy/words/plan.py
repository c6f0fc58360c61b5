"""What each department does for a policy, and what a run takes."""

from veilmatch_policy.check import EXTRA_DEALER
from veilmatch_policy.plan import Amount
from veilmatch_policy.policy import Bound, Condition, Policy
from veilmatch_policy.questions import comparison
from veilmatch_policy.words.language import ENGLISH, Words
from veilmatch_policy.words.seen import (
    SeenPolicy,
    answered,
    asked_about,
    columns,
    contributors,
    dealer,
    flat,
    named,
    own_conditions,
    parameter,
    planned,
    questions,
    registrar,
    terms,
)

# Measured (docs/performance.md), microseconds a slot on one core of 2.5 GHz, 3072 bits.
_CONTRIBUTION, _COMBINATION, _OPENING = 13, 1, 36
_COMPARISON, _ZERO_TEST, _REARRANGEMENT = 0.3, 0.15, 0.2
_CIPHERTEXT_BYTES = 12.6  # of a slot: 768 bytes for 61 people


def plan_in_words(seen: SeenPolicy, say: Words = ENGLISH) -> tuple[str, ...]:
    """What each department reads, computes and sends: a line each, then the circuit, the register and the dealer."""
    recipient, registers, deals = seen.policy.recipient, registrar(seen), dealer(seen)
    lines = [
        say(
            "{name}: reads {columns}; computes {computed}; sends {sent}",
            name=name,
            columns=_columns(seen, name, say),
            computed=computed_in_words(seen, name, say),
            sent=sent_in_words(seen, name, say),
        )
        for name in contributors(seen)
    ]
    lines.append(_recipient(seen, say))
    if planned(seen).circuits:
        lines.append(
            say(
                "{recipient} and the coordinator: compute on shares {formula}",
                recipient=recipient,
                formula=_decided(seen.policy, say),
            )
        )
    if registers is not None:
        lines.append(_registrar(seen, registers, say))
    if deals is not None:
        lines.append(
            say(
                "{dealer} (dealer): {kind}; sends random numbers to {recipient} and the coordinator",
                dealer=deals,
                kind=say("a process of its own, without data")
                if deals == EXTRA_DEALER
                else say("reads nothing"),
                recipient=recipient,
            )
        )
    return tuple(lines)


def cost_in_words(seen: SeenPolicy, say: Words = ENGLISH) -> tuple[str, ...]:
    """What a run takes: sums, circuits, and an estimate a slot; the figures are measured ones."""
    needed = terms(seen)
    sizes = [size for term in needed if (size := len(seen.plan.contributors_to(term)))]
    opened, parts = len(sizes), sum(sizes)
    tests = [test for circuit in planned(seen).circuits for test in circuit.tests]
    negatives = sum(test.kind == "negative" for test in tests)
    zeros = sum(test.kind == "zero" for test in tests)
    rearranged = sum(term.grain == "household" for term in needed)
    micros = parts * (_CONTRIBUTION + _COMBINATION) + opened * _OPENING
    micros += round(negatives * _COMPARISON + zeros * _ZERO_TEST + rearranged * _REARRANGEMENT)
    sums = say(
        "{sums} of {contributions}",
        sums=say.many(opened, "{count} sum", "{count} sums"),
        contributions=say.many(parts, "{count} contribution", "{count} contributions"),
    )
    if not tests:
        way = say("linear: {sums}, opened slot by slot", sums=sums)
    else:
        way = say(
            "circuit: {sums}, opened into shares; {comparisons}, {zeros} for zero, "
            "{vectors} brought into household order",
            sums=sums,
            comparisons=say.many(negatives, "{count} comparison", "{count} comparisons"),
            zeros=say.many(zeros, "{count} test", "{count} tests"),
            vectors=say.many(rearranged, "{count} vector", "{count} vectors"),
        )
    moved = round((parts + opened) * _CIPHERTEXT_BYTES + 60 * negatives + 30 * zeros + 14 * rearranged)
    return (
        way,
        say(
            "about {micros} microseconds and {moved} bytes a slot, all parties together, at 3072 bits",
            micros=micros,
            moved=moved,
        ),
    )


def computed_in_words(seen: SeenPolicy, department: str, say: Words = ENGLISH) -> str:
    """What a department computes of its own data."""
    said = []
    for question in questions(seen, department).values():
        asked = named(seen, question, say)
        if question.scope == "household":
            said.append(say("one value a household ({question})", question=asked))
        elif question.kind == "condition":
            said.append(say("one yes/no a person ({question})", question=asked))
        else:
            said.append(say("one amount a person ({question})", question=asked))
    return say.parts(dict.fromkeys(said)) or say("nothing")


def sent_in_words(seen: SeenPolicy, department: str, say: Words = ENGLISH) -> str:
    """What leaves a contributor, of each slot."""
    parts = [part for term in terms(seen) if (part := term.part(department)) is not None]
    if any(isinstance(part, Amount) for part in parts):
        return say.many(
            len(parts),
            "one masked 40-bit number a slot, an amount",
            "{count} masked 40-bit numbers a slot, amounts among them",
        )
    return say.many(len(parts), "one masked 40-bit number a slot", "{count} masked 40-bit numbers a slot")


def _recipient(seen: SeenPolicy, say: Words) -> str:
    recipient = seen.policy.recipient
    own = own_conditions(seen, recipient, say)
    own_part = say("computes for itself {conditions}; ", conditions=own) if own else ""
    return say(
        "{recipient} (recipient): reads {columns}; asks about {people}; {own}sends no answer; {keeps}",
        recipient=recipient,
        columns=_columns(seen, recipient, say),
        people=asked_about(seen.policy, say),
        own=own_part,
        keeps=_keeps(seen, say),
    )


def _keeps(seen: SeenPolicy, say: Words) -> str:
    if planned(seen).answer is not None:
        own = [str(operand) for owner, operand in answered(seen.policy) if owner == seen.policy.recipient]
        if not own:
            return say("keeps those whose slot opens to 0")
        return say("keeps those whose slot opens to 0 and who fulfil {own}", own=say.all_of(own))
    if seen.policy.reveal == "count":
        return say("opens shares, and helps to count")
    return say("opens shares, and keeps those whose result is opened to it")


def _registrar(seen: SeenPolicy, name: str, say: Words) -> str:
    register = seen.catalogs[name].household if name in seen.catalogs else None
    labelled = (
        ""
        if register is None
        else say(
            " (column {column}, at most {count} members)",
            column=register[1].column,
            count=register[1].at_most,
        )
    )
    return say(
        "{registrar} (household register): tells the coordinator a fresh random label of each slot's "
        "household{labelled}",
        registrar=name,
        labelled=labelled,
    )


def _columns(seen: SeenPolicy, department: str, say: Words) -> str:
    if department not in seen.tasks and questions(seen, department):
        return say("the columns in its conditions")
    return say.listed(
        say("{column} (table {table})", column=column.name, table=column.table)
        for column in columns(seen, department)
    ) or say("no column")


def _decided(policy: Policy, say: Words) -> str:
    """What a circuit computes: the formula, and what its totals are compared with."""
    totals = [condition for condition in policy.conditions.values() if condition.total is not None]
    compared = [
        say("{name}: {text}", name=each.name, text=compared_in_words(policy, each, say)) for each in totals
    ]
    return say.parts([str(policy.eligible), *compared])


def compared_in_words(policy: Policy, condition: Condition, say: Words = ENGLISH) -> str:
    """What the total of a condition is compared with.  Raises ValueError for one without a total."""
    bound = condition.bound or Bound()
    if policy.vary is not None and policy.vary.condition == condition.name:
        figure = say("each of {bounds}", bounds=say.listed(map(str, policy.vary.bounds)))
    elif bound.expression is not None:
        figure = say(
            "{expression} ({department})", expression=flat(bound.expression), department=bound.department
        )
    elif bound.parameter is not None:
        figure = parameter(bound.parameter, policy.parameters[bound.parameter], say)
    else:
        figure = str(bound.number)
    if condition.per_member:
        figure = say("{figure} for each member", figure=figure)
    whose = say("the household's sum") if policy.grain_of(condition) == "household" else say("the sum")
    match comparison(condition):
        case "below":
            return say("{sum} below {figure}", sum=whose, figure=figure)
        case "at_most":
            return say("{sum} at most {figure}", sum=whose, figure=figure)
        case "above":
            return say("{sum} above {figure}", sum=whose, figure=figure)
        case "at_least":
            return say("{sum} at least {figure}", sum=whose, figure=figure)
