"""A checked policy in words: what each department computes, what it costs, and what each party learns.

The last part follows the table of protocol.md, 8, its unpleasant rows included: a data officer
reads it before signing.
"""

from collections.abc import Iterator
from datetime import date

import numpy as np
from numpy.typing import NDArray

from veilmatch_policy.check import EXTRA_DEALER, CheckedPolicy
from veilmatch_policy.examples import holds
from veilmatch_policy.expression import Expression
from veilmatch_policy.formula import Formula, conjuncts, decide, names_in
from veilmatch_policy.plan import Amount, Fails, Question, Term
from veilmatch_policy.policy import Bound, Condition, Policy
from veilmatch_policy.questions import comparison

# Measured (docs/performance.md), microseconds a slot on one core of 2.5 GHz, 3072 bits.
_CONTRIBUTION, _COMBINATION, _OPENING = 13, 1, 36
_COMPARISON, _ZERO_TEST, _REARRANGEMENT = 0.3, 0.15, 0.2
_CIPHERTEXT_BYTES = 12.6  # of a slot: 768 bytes for 61 people


def plan_in_words(checked: CheckedPolicy) -> tuple[str, ...]:
    """What each department reads, computes and sends: a line each, then the circuit, the register and the dealer."""
    plan, recipient = checked.plan, checked.policy.recipient
    lines = [
        f"{name}: reads {_columns(checked, name)}; computes {_computed(checked, name)}; sends {_sent(checked, name)}"
        for name in plan.contributors
    ]
    own = _asked(checked, recipient)
    lines.append(
        f"{recipient} (recipient): reads {_columns(checked, recipient)}; asks about {_asked_about(checked)}; "
        f"{f'computes for itself {own}; ' if own else ''}sends no answer; {_keeps(checked)}"
    )
    if plan.policies[0].circuits:
        lines.append(f"{recipient} and the coordinator: compute on shares {_decided(checked.policy)}")
    if plan.registrar is not None:
        column = checked.catalogs[plan.registrar].household
        labelled = (
            "" if column is None else f" (column {column[1].column}, at most {column[1].at_most} members)"
        )
        lines.append(
            f"{plan.registrar} (household register): tells the coordinator a fresh random label of each slot's "
            f"household{labelled}"
        )
    if plan.dealer is not None:
        kind = "a process of its own, without data" if plan.dealer == EXTRA_DEALER else "reads nothing"
        lines.append(
            f"{plan.dealer} (dealer): {kind}; sends random numbers to {recipient} and the coordinator"
        )
    return tuple(lines)


def cost_in_words(checked: CheckedPolicy) -> tuple[str, ...]:
    """What a run takes: sums, circuits, and an estimate a slot; the figures are measured ones."""
    plan = checked.plan
    outcomes = plan.outcomes
    parts = sum(len(outcome.contributors) for outcome in outcomes)
    tests = [test for each in plan.policies for circuit in each.circuits for test in circuit.tests]
    negatives = sum(test.kind == "negative" for test in tests)
    zeros = sum(test.kind == "zero" for test in tests)
    rearranged = sum(term.grain == "household" for term in plan.terms)
    micros = parts * (_CONTRIBUTION + _COMBINATION) + len(outcomes) * _OPENING
    micros += round(negatives * _COMPARISON + zeros * _ZERO_TEST + rearranged * _REARRANGEMENT)
    sums = f"{_many(len(outcomes), 'sum')} of {_many(parts, 'contribution')}"
    if not tests:
        way = f"linear: {sums}, opened slot by slot"
    else:
        way = (
            f"circuit: {sums}, opened into shares; {_many(negatives, 'comparison')}, "
            f"{_many(zeros, 'test')} for zero, {_many(rearranged, 'vector')} brought into household order"
        )
    moved = round((parts + len(outcomes)) * _CIPHERTEXT_BYTES + 60 * negatives + 30 * zeros + 14 * rearranged)
    return (way, f"about {micros} microseconds and {moved} bytes a slot, all parties together, at 3072 bits")


def learned_in_words(checked: CheckedPolicy, reference_date: date) -> tuple[str, ...]:
    """What each party learns: a line each, the recipient's first; ``reference_date`` as in a run."""
    return (*_recipient_learns(checked, reference_date), *_others_learn(checked))


def stale_in_words(checked: CheckedPolicy, today: date) -> tuple[str, ...]:
    """Tables that the policy reads and that a run would refuse today for their age: a line each.

    A table whose day only its database knows is left to its node.
    """
    lines = []
    for name, task in checked.tasks.items():
        for table_name in dict.fromkeys(column.table for column in task.columns):
            table = checked.catalogs[name].tables[table_name]
            if table.stale_after is not None and isinstance(table.as_of, date):
                age = (today - table.as_of).days
                if age > table.stale_after:
                    lines.append(
                        f"{name}: table {table_name} describes {table.as_of}, {age} days ago; "
                        f"a run refuses it after {table.stale_after}"
                    )
    return tuple(lines)


def _recipient_learns(checked: CheckedPolicy, reference_date: date) -> Iterator[str]:
    policy, plan = checked.policy, checked.plan
    recipient, contributors = policy.recipient, plan.contributors
    who = f"{recipient} (recipient)"
    if plan.policies[0].answer is not None:
        asked = ", ".join(
            f"{operand} ({owner})" for owner, operand in _answered(policy) if owner != recipient
        )
        own = ", also for those who do not fulfil its own conditions" if _asked(checked, recipient) else ""
        yield f"{who}: of {_asked_about(checked)}, who fulfils all of {asked}{own}"
        if len(contributors) == 1:
            yield f"{who}: the answer of {contributors[0]}, the only department asked"
        for owner in contributors:
            if _stranger_fails(checked, owner, reference_date):
                yield (
                    f"{who}: that {owner} knows whoever fulfils all of it; "
                    f"exactly who is in {owner}, where what is asked is true of everyone there"
                )
    elif policy.reveal == "members":
        unit = "whose household is eligible" if policy.unit == "household" else "who is eligible"
        yield f"{who}: of {_asked_about(checked)}, {unit}, by the whole formula; of all others nothing more"
        if policy.unit == "household":
            yield f"{who}: which of its people in eligible households share one"
        if len(contributors) == 1:
            yield f"{who}: what {contributors[0]}, the only department asked, answers, where its own data leave it open"
    else:
        yield f"{who}: no answer; the coordinator receives the count"
    if plan.registrar is not None and plan.registrar != recipient:
        yield f"{who}: how many households there are of each size"
    yield f"{who}: more people's answers, if it inserts identities, up to its quota"


def _others_learn(checked: CheckedPolicy) -> Iterator[str]:
    policy, plan = checked.policy, checked.plan
    recipient, contributors = policy.recipient, plan.contributors
    counts = "" if policy.reveal == "members" else f"; {_count_in_words(checked)}"
    matched = "not who or how many match" if policy.reveal == "members" else "not who matches"
    yield (
        "coordinator: the policy, the sizes of the tables, which pseudonyms occur in which departments, and "
        f"which of them {recipient} asks about{'; who lives with whom, by pseudonym' if plan.registrar else ''}"
        f"{counts}; no identity, value or answer, {matched}"
    )
    declared = any(question.kind == "amount" for question in plan.questions)
    amounts = ", what the others' catalogs declare of amounts" if declared else ""
    for owner in sorted({*contributors, *([plan.registrar] if plan.registrar else [])} - {recipient}):
        yield (
            f"{owner}: the policy and who takes part, the number of slots and of {recipient}'s people{amounts}; "
            "no answer, no result, not who else knows its people"
        )
    if plan.dealer is not None:
        sizes = "slots, households" if plan.registrar else "slots"
        yield f"{plan.dealer} (dealer): the policy, the number of {sizes} and people asked about"
    linear = plan.policies[0].answer is not None
    if linear:
        yield (
            f"coordinator and {recipient} together: who fulfils all of what is asked, among everybody linked; "
            f"which departments know the people of {recipient}"
        )
    else:
        yield (
            f"coordinator and {recipient} together: every sum of the policy, of everybody linked; "
            f"which departments know the people of {recipient}{', and their households' if plan.registrar else ''}"
        )
        yield f"coordinator and {plan.dealer} together: every step of the circuit, hence who matches, by pseudonym"
        households = " and all households" if plan.registrar else ""
        yield f"{recipient} and {plan.dealer} together: every step of the circuit{households}, by slot"
    if len(contributors) > 1 and policy.reveal == "members":
        rest = "the answer of that one" if linear else "what the result says of that one"
        yield f"{recipient} and all of {', '.join(contributors)} but one together: {rest}"
    yield "any department and the coordinator together: which departments know its people"


def _answered(policy: Policy) -> Iterator[tuple[str | None, Formula]]:
    """Of a policy that is opened as an answer, each part of its AND, and the department whose own it is."""
    for operand in conjuncts(policy.eligible):
        yield policy.conditions[next(names_in(operand))].department, operand


def _count_in_words(checked: CheckedPolicy) -> str:
    policy = checked.policy
    what = "households" if policy.unit == "household" else "people"
    bounds = "" if policy.vary is None else f" for each of {len(policy.vary.bounds)} bounds"
    noise = (
        ", exactly: whoever submits two policies that differ in one person learns that person's answer"
        if policy.epsilon is None
        else f", with noise of both parties for epsilon {policy.epsilon}{' each' if bounds else ''}"
    )
    return f"how many {what} are eligible{bounds}, where at least {policy.smallest_count} are{noise}"


def _keeps(checked: CheckedPolicy) -> str:
    if checked.plan.policies[0].answer is not None:
        own = [
            str(operand) for owner, operand in _answered(checked.policy) if owner == checked.policy.recipient
        ]
        return f"keeps those whose slot opens to 0{' and who fulfil ' if own else ''}{' and '.join(own)}"
    if checked.policy.reveal == "count":
        return "opens shares, and helps to count"
    return "opens shares, and keeps those whose result is opened to it"


def _stranger_fails(checked: CheckedPolicy, owner: str, reference_date: date) -> bool:
    """Whether somebody of whom the department has no row fails what it is asked."""
    part = checked.plan.terms[0].part(owner)
    if not isinstance(part, Fails):
        return False
    task = checked.tasks[owner]

    def stranger(name: str) -> NDArray[np.bool_]:
        number = int(name)
        unknown = checked.plan.questions[number].unknown
        answer = holds(task.questions[number], (), unknown=unknown, reference_date=reference_date)
        return np.array([answer])

    return not all(decide(claim.formula, stranger).all() for claim in part.claims)


def _columns(checked: CheckedPolicy, department: str) -> str:
    task = checked.tasks.get(department)
    columns = [f"{column.name} (table {column.table})" for column in task.columns] if task else []
    return ", ".join(columns) or "no column"


def _computed(checked: CheckedPolicy, department: str) -> str:
    kinds = {
        "condition": "one yes/no a person",
        "amount": "one amount a person",
    }
    said = []
    for number, question in checked.plan.questions_of(department).items():
        of = "one value a household" if question.scope == "household" else kinds[question.kind]
        said.append(f"{of} ({_named(checked, number, question)})")
    return "; ".join(dict.fromkeys(said)) or "nothing"


def _sent(checked: CheckedPolicy, department: str) -> str:
    terms = [term for term in checked.plan.terms if term.part(department) is not None]
    numbers = "one masked 40-bit number" if len(terms) == 1 else f"{len(terms)} masked 40-bit numbers"
    return f"{numbers} a slot{_amounts(terms, department)}"


def _amounts(terms: list[Term], department: str) -> str:
    amounts = any(isinstance(term.part(department), Amount) for term in terms)
    return ", amounts among them" if amounts and len(terms) > 1 else ", an amount" if amounts else ""


def _asked(checked: CheckedPolicy, department: str) -> str:
    """A department's conditions and amounts; whom the recipient asks about is said elsewhere."""
    among = checked.plan.policies[0].among
    return " and ".join(
        _named(checked, number, question)
        for number, question in checked.plan.questions_of(department).items()
        if number != among
    )


def _named(checked: CheckedPolicy, number: int, question: Question) -> str:
    name = question.place.partition("conditions.")[2].partition(".")[0] or "among"
    expression = checked.tasks[question.department].questions[number]
    condition = checked.policy.conditions.get(name)
    members = f", {condition.members} member" if condition is not None and condition.members else ""
    return f"{name}: {_flat(expression.text)}{members}{_parameters(checked, expression)}"


def _parameters(checked: CheckedPolicy, condition: Expression) -> str:
    shown = [_parameter(checked.policy, name) for name in condition.parameters]
    return f" with {'; '.join(shown)}" if shown else ""


def _parameter(policy: Policy, name: str) -> str:
    parameter = policy.parameters[name]
    allowed = f", approved from {parameter.allow[0]} to {parameter.allow[1]}" if parameter.allow else ""
    return f"{name} = {parameter.value}{allowed}"


def _decided(policy: Policy) -> str:
    """What a circuit computes: the formula, and what its totals are compared with."""
    totals = [condition for condition in policy.conditions.values() if condition.total is not None]
    return "; ".join([f"{policy.eligible}", *(f"{each.name}: {_compared(policy, each)}" for each in totals)])


def _compared(policy: Policy, condition: Condition) -> str:
    whose = "the household's sum" if policy.grain_of(condition) == "household" else "the sum"
    bound = condition.bound or Bound()
    if policy.vary is not None and policy.vary.condition == condition.name:
        figure = f"each of {', '.join(map(str, policy.vary.bounds))}"
    elif bound.expression is not None:
        figure = f"{_flat(bound.expression)} ({bound.department})"
    elif bound.parameter is not None:
        figure = _parameter(policy, bound.parameter)
    else:
        figure = str(bound.number)
    members = " for each member" if condition.per_member else ""
    return f"{whose} {comparison(condition).replace('_', ' ')} {figure}{members}"


def _asked_about(checked: CheckedPolicy) -> str:
    policy = checked.policy
    people = "all of its people" if policy.among is None else f"its people with {_flat(policy.among)}"
    return people if policy.among_at_most is None else f"{people} (at most {policy.among_at_most})"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}"


def _flat(text: str) -> str:
    return " ".join(text.split())
