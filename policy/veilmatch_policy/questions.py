"""The questions that policies ask of departments, numbered: the first step of every plan.

They follow from the policies' text alone, so that each party numbers them alike before anybody has
declared anything.  Two policies that ask the same share the question.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Literal

from veilmatch_policy.errors import PolicyRefusedError
from veilmatch_policy.plan import Question
from veilmatch_policy.policy import Condition, Policy

Comparison = Literal["below", "at_most", "above", "at_least"]
COMPARISONS: tuple[Comparison, ...] = ("below", "at_most", "above", "at_least")

MOST_QUESTIONS = 2048  # of one job: twice the outcomes that it may have, each a pass over everybody's rows

_PARAMETER = re.compile(r":(\w+)")


def ask(policies: Sequence[Policy], reference_date: date) -> tuple[Question, ...]:
    """Number the questions of policies; ``reference_date`` is the epoch's, for policies that name none.

    Raises PolicyRefusedError for more than `MOST_QUESTIONS`.
    """
    asked = dict.fromkeys(question for policy in policies for question in _questions(policy, reference_date))
    if len(asked) > MOST_QUESTIONS:
        raise PolicyRefusedError(
            f"{policies[0].name}: conditions",
            f"the job asks {len(asked)} questions, more than {MOST_QUESTIONS}",
            "split it into several jobs",
        )
    return tuple(asked)


def among_question(policy: Policy, reference_date: date) -> Question | None:
    """Whom the recipient asks about; None: all of its people."""
    if policy.among is None:
        return None
    return _question(policy, reference_date, policy.recipient, "condition", policy.among, "among")


def where_question(policy: Policy, condition: Condition, reference_date: date) -> Question:
    """The question of a condition with ``where``.  Raises ValueError for a total."""
    if condition.department is None or condition.where is None:
        raise ValueError(f"the condition {condition.name} is a total")
    place = f"conditions.{condition.name}.where"
    own = condition.members is None and policy.grain_of(condition) == "household"
    return _question(
        policy,
        reference_date,
        condition.department,
        "condition",
        condition.where,
        place,
        unknown=condition.unknown == "pass",
        household=own,
    )


def amount_questions(policy: Policy, condition: Condition, reference_date: date) -> dict[str, Question]:
    """The amounts of a total by department, sorted; empty for a condition with ``where``."""
    return {
        department: _question(
            policy,
            reference_date,
            department,
            "amount",
            text,
            f"conditions.{condition.name}.total.{department}",
            unknown=condition.unknown == "pass",
        )
        for department, text in sorted((condition.total or {}).items())
    }


def bound_question(policy: Policy, condition: Condition, reference_date: date) -> Question | None:
    """The expression that a total is compared with; None where the bound is a number."""
    bound = condition.bound
    if bound is None or bound.department is None or bound.expression is None:
        return None
    place = f"conditions.{condition.name}.{comparison(condition)}"
    household = policy.grain_of(condition) == "household"
    return _question(
        policy,
        reference_date,
        bound.department,
        "amount",
        bound.expression,
        place,
        unknown=condition.unknown == "pass",
        household=household,
    )


def comparison(condition: Condition) -> Comparison:
    """How a total is compared with its bound.  Raises ValueError for a condition with ``where``."""
    for key in COMPARISONS:
        if getattr(condition, key) is not None:
            return key
    raise ValueError(f"the condition {condition.name} has no bound")


def _questions(policy: Policy, reference_date: date) -> Iterator[Question]:
    among = among_question(policy, reference_date)
    if among is not None:
        yield among
    for condition in policy.conditions.values():
        if condition.total is None:
            yield where_question(policy, condition, reference_date)
        else:
            yield from amount_questions(policy, condition, reference_date).values()
            bound = bound_question(policy, condition, reference_date)
            if bound is not None:
                yield bound


def _question(
    policy: Policy,
    reference_date: date,
    department: str,
    kind: Literal["condition", "amount"],
    text: str,
    place: str,
    *,
    unknown: bool = False,
    household: bool = False,
) -> Question:
    used = set(_PARAMETER.findall(text))
    return Question(
        department=department,
        kind=kind,
        text=text.strip(),
        parameters=tuple(
            (name, parameter.value) for name, parameter in sorted(policy.parameters.items()) if name in used
        ),
        reference_date=policy.reference_date or reference_date,
        unknown=unknown,
        scope="household" if household else "person",
        place=f"{policy.name}: {place}",
    )
