"""What each party learns of a policy: the table of protocol.md, 8, its unpleasant rows included.

A data officer reads it before signing.
"""

from collections.abc import Iterator
from datetime import date

import numpy as np
from numpy.typing import NDArray

from veilmatch_policy.examples import holds
from veilmatch_policy.formula import decide
from veilmatch_policy.plan import Fails
from veilmatch_policy.policy import Policy
from veilmatch_policy.questions import ask
from veilmatch_policy.words.language import ENGLISH, Words
from veilmatch_policy.words.seen import (
    SeenPolicy,
    answered,
    asked_about,
    contributors,
    dealer,
    own_conditions,
    planned,
    registrar,
    terms,
)


def learned_in_words(seen: SeenPolicy, reference_date: date, say: Words = ENGLISH) -> tuple[str, ...]:
    """What each party learns: a line each, the recipient's first; ``reference_date`` as in a run."""
    return (
        *_recipient_learns(seen, reference_date, say),
        *_others_learn(seen, say),
        *_coalitions_learn(seen, say),
    )


def _recipient_learns(seen: SeenPolicy, reference_date: date, say: Words) -> Iterator[str]:
    policy, asked_departments = seen.policy, contributors(seen)
    recipient, people = policy.recipient, asked_about(policy, say)
    if planned(seen).answer is not None:
        asked = say.listed(
            say("{condition} ({department})", condition=operand, department=owner)
            for owner, operand in answered(policy)
            if owner != recipient
        )
        own = say(", also for those who do not fulfil its own conditions")
        yield say(
            "{recipient} (recipient): of {people}, who fulfils all of {asked}{own}",
            recipient=recipient,
            people=people,
            asked=asked,
            own=own if own_conditions(seen, recipient, say) else "",
        )
        if len(asked_departments) == 1:
            yield say(
                "{recipient} (recipient): the answer of {department}, the only department asked",
                recipient=recipient,
                department=asked_departments[0],
            )
        for owner in asked_departments:
            yield from _membership(seen, owner, reference_date, say)
    elif policy.reveal == "members":
        if policy.unit == "household":
            yield say(
                "{recipient} (recipient): of {people}, whose household is eligible, by the whole formula; "
                "of all others nothing more",
                recipient=recipient,
                people=people,
            )
            yield say(
                "{recipient} (recipient): which of its people in eligible households share one",
                recipient=recipient,
            )
        else:
            yield say(
                "{recipient} (recipient): of {people}, who is eligible, by the whole formula; "
                "of all others nothing more",
                recipient=recipient,
                people=people,
            )
        if len(asked_departments) == 1:
            yield say(
                "{recipient} (recipient): what {department}, the only department asked, answers, "
                "where its own data leave it open",
                recipient=recipient,
                department=asked_departments[0],
            )
    else:
        yield say(
            "{recipient} (recipient): no answer; the coordinator receives the count", recipient=recipient
        )
    if registrar(seen) not in {None, recipient}:
        yield say("{recipient} (recipient): how many households there are of each size", recipient=recipient)
    yield say(
        "{recipient} (recipient): more people's answers, if it inserts identities, up to its quota",
        recipient=recipient,
    )


def _membership(seen: SeenPolicy, owner: str, reference_date: date, say: Words) -> Iterator[str]:
    """What an answer tells of who is known to the department that gives it."""
    if not isinstance(terms(seen)[0].part(owner), Fails):
        return
    places = {"recipient": seen.policy.recipient, "department": owner}
    if owner not in seen.tasks:  # its catalog says it, which this reader does not see
        yield say(
            "{recipient} (recipient): possibly that {department} knows whoever fulfils all of it, and exactly who is "
            "in {department} where what is asked is true of everyone there: the catalog of {department} decides it",
            **places,
        )
    elif _stranger_fails(seen, owner, reference_date):
        yield say(
            "{recipient} (recipient): that {department} knows whoever fulfils all of it; "
            "exactly who is in {department}, where what is asked is true of everyone there",
            **places,
        )


def _others_learn(seen: SeenPolicy, say: Words) -> Iterator[str]:
    policy, registers, deals = seen.policy, registrar(seen), dealer(seen)
    recipient = policy.recipient
    yield say(
        "coordinator: the policy, the sizes of the tables, which pseudonyms occur in which departments, and which of "
        "them {recipient} asks about{households}{counts}; no identity, value or answer, {matched}",
        recipient=recipient,
        households=say("; who lives with whom, by pseudonym") if registers else "",
        counts="" if policy.reveal == "members" else _count(policy, say),
        matched=say("not who or how many match") if policy.reveal == "members" else say("not who matches"),
    )
    declared = any(question.kind == "amount" for question in ask([policy], seen.plan.reference_date))
    for owner in sorted({*contributors(seen), *([registers] if registers else [])} - {recipient}):
        yield say(
            "{department}: the policy and who takes part, the number of slots and of {recipient}'s people{amounts}; "
            "no answer, no result, not who else knows its people",
            department=owner,
            recipient=recipient,
            amounts=say(", what the others' catalogs declare of amounts") if declared else "",
        )
    if deals is not None and registers:
        yield say(
            "{dealer} (dealer): the policy, the number of slots, households and people asked about",
            dealer=deals,
        )
    elif deals is not None:
        yield say("{dealer} (dealer): the policy, the number of slots and people asked about", dealer=deals)


def _coalitions_learn(seen: SeenPolicy, say: Words) -> Iterator[str]:
    policy, registers, deals = seen.policy, registrar(seen), dealer(seen)
    recipient, asked_departments = policy.recipient, contributors(seen)
    linear = planned(seen).answer is not None
    if linear:
        yield say(
            "coordinator and {recipient} together: who fulfils all of what is asked, among everybody linked; "
            "which departments know the people of {recipient}",
            recipient=recipient,
        )
    else:
        yield say(
            "coordinator and {recipient} together: every sum of the policy, of everybody linked; "
            "which departments know the people of {recipient}{households}",
            recipient=recipient,
            households=say(", and their households") if registers else "",
        )
        yield say(
            "coordinator and {dealer} together: every step of the circuit, hence who matches, by pseudonym",
            dealer=deals,
        )
        yield say(
            "{recipient} and {dealer} together: every step of the circuit{households}, by slot",
            recipient=recipient,
            dealer=deals,
            households=say(" and all households") if registers else "",
        )
    if len(asked_departments) > 1 and policy.reveal == "members":
        yield say(
            "{recipient} and all of {departments} but one together: {rest}",
            recipient=recipient,
            departments=say.listed(asked_departments),
            rest=say("the answer of that one") if linear else say("what the result says of that one"),
        )
    yield say("any department and the coordinator together: which departments know its people")


def _count(policy: Policy, say: Words) -> str:
    bounds = "" if policy.vary is None else say(" for each of {count} bounds", count=len(policy.vary.bounds))
    if policy.epsilon is None:
        noise = say(
            ", exactly: whoever submits two policies that differ in one person learns that person's answer"
        )
    elif bounds:
        noise = say(", with noise of both parties for epsilon {epsilon} each", epsilon=policy.epsilon)
    else:
        noise = say(", with noise of both parties for epsilon {epsilon}", epsilon=policy.epsilon)
    places = {"bounds": bounds, "least": policy.smallest_count, "noise": noise}
    if policy.unit == "household":
        return say("; how many households are eligible{bounds}, where at least {least} are{noise}", **places)
    return say("; how many people are eligible{bounds}, where at least {least} are{noise}", **places)


def _stranger_fails(seen: SeenPolicy, owner: str, reference_date: date) -> bool:
    """Whether somebody of whom the department has no row fails what it is asked."""
    part = terms(seen)[0].part(owner)
    if not isinstance(part, Fails):
        return False
    task = seen.tasks[owner]

    def stranger(name: str) -> NDArray[np.bool_]:
        number = int(name)
        unknown = seen.plan.questions[number].unknown
        answer = holds(task.questions[number], (), unknown=unknown, reference_date=reference_date)
        return np.array([answer])

    return not all(decide(claim.formula, stranger).all() for claim in part.claims)
