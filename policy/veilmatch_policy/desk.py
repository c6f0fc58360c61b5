"""A policy's questions answered with every department's data on one desk.

This is what the federation exists to avoid; worked examples do it with invented people, the demo and
tests for comparison.  The expressions are evaluated as every node does (evaluate.py); what is made of
the answers says meaning.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date

import duckdb
import numpy as np
from numpy.typing import NDArray

from veilmatch_policy.catalog import Catalog
from veilmatch_policy.evaluate import Amounts, amounts, truth
from veilmatch_policy.expression import Expression, bind
from veilmatch_policy.meaning import Answers, Households, Total, Truth, Where
from veilmatch_policy.plan import Question
from veilmatch_policy.policy import Condition, Policy
from veilmatch_policy.questions import among_question, amount_questions, bound_question, where_question


@dataclass(frozen=True)
class OpenDepartment:
    """One department's tables, as evaluate.py describes them, and whom they are about.

    ``people`` is how many it knows; ``places``, in the order of people that all departments on the desk
    share, is the number that it has for each, -1 for whom it does not know.
    """

    catalog: Catalog
    connection: duckdb.DuckDBPyConnection = field(repr=False)
    people: int
    places: NDArray[np.integer] = field(repr=False)


def ask_openly(policy: Policy, departments: Mapping[str, OpenDepartment], reference_date: date) -> Answers:
    """Ask the departments, by name, all that a policy asks; ``reference_date`` is for one that names none.

    Where the policy knows households, the register's department has the table ``members``.  Raises
    PolicyRefusedError for an expression that is not of the subset, EvaluationError as evaluate.py does.
    """
    desk = _Desk(policy, departments, reference_date)
    return Answers(
        {name: desk.ask(condition) for name, condition in policy.conditions.items()}, desk.households
    )


def asked_about(policy: Policy, departments: Mapping[str, OpenDepartment], reference_date: date) -> Truth:
    """Whom the recipient asks about: its people that fulfil ``among``.  Raises as `ask_openly` does."""
    known: Truth = departments[policy.recipient].places >= 0
    question = among_question(policy, reference_date)
    return known if question is None else known & _truth(question, departments[policy.recipient])


class _Desk:
    """The departments and, where the policy knows households, who lives with whom."""

    def __init__(
        self, policy: Policy, departments: Mapping[str, OpenDepartment], reference_date: date
    ) -> None:
        self._policy = policy
        self._departments = departments
        self._reference_date = reference_date
        self._register = _in_households(policy, departments)
        people = len(departments[policy.recipient].places)
        self.households = (
            Households.apart(people) if self._register is None else Households(self._register.places)
        )

    def ask(self, condition: Condition) -> Where | Total:
        """All that one condition asks."""
        policy, day = self._policy, self._reference_date
        if condition.total is None:
            question = where_question(policy, condition, day)
            known = self._departments[question.department].places >= 0
            return Where(_truth(question, self._asked(question)), known)
        bound = bound_question(policy, condition, day)
        return Total(
            tuple(
                _amounts(question, self._asked(question))
                for question in amount_questions(policy, condition, day).values()
            ),
            None if bound is None else _amounts(bound, self._asked(bound)),
        )

    def _asked(self, question: Question) -> OpenDepartment:
        """Who answers: the register's households, where the question is of a household."""
        if question.scope == "household" and self._register is not None:
            return self._register
        return self._departments[question.department]


def _in_households(policy: Policy, departments: Mapping[str, OpenDepartment]) -> OpenDepartment | None:
    """The register as a department of households instead of people; None for a policy without any."""
    if policy.household is None:
        return None
    register = departments[policy.household.department]
    members = register.connection.sql("SELECT person, household FROM members").fetchnumpy()
    numbers = np.full(register.people + 1, -1)
    numbers[members["person"]] = members["household"]
    return replace(register, people=int(numbers.max()) + 1, places=numbers[register.places])


def _truth(question: Question, asked: OpenDepartment) -> Truth:
    found = truth(
        asked.connection,
        _bound(question, asked),
        people=asked.people,
        reference_date=question.reference_date,
        unknown=question.unknown,
    )
    answers: Truth = found[asked.places]  # -1 reaches the last value, a stranger's
    return answers


def _amounts(question: Question, asked: OpenDepartment) -> Amounts:
    bound = _bound(question, asked)
    found = amounts(asked.connection, bound, people=asked.people, reference_date=question.reference_date)
    return found.at(asked.places)


def _bound(question: Question, asked: OpenDepartment) -> Expression:
    return bind(
        question.text,
        asked.catalog,
        kind=question.kind,
        parameters=dict(question.parameters),
        where=question.place,
        scope=question.scope,
    )
