"""What this node's data says to a job's questions: read once, spread over the slots, frozen.

protocol.md, 4.3, 4.6 and 5.1.  A question has one value a person, then one for somebody without
a row; the register's questions about households have one a household.  What a department puts into
a slot that it does not know is what it says of somebody without a row.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilmatch_node.databases import Databases
from veilmatch_node.errors import DataError, JobRefusedError
from veilmatch_node.freshness import check_fresh
from veilmatch_node.frozen import FrozenAnswers
from veilmatch_node.households import Households, read_households
from veilmatch_node.people import UNKNOWN, SlotTable
from veilmatch_node.report import Report
from veilmatch_node.source import Department, TooManyRefusedError, load
from veilmatch_policy.catalog import Catalog
from veilmatch_policy.check import DepartmentTask
from veilmatch_policy.evaluate import Amounts, amounts, truth
from veilmatch_policy.formula import Formula, decide
from veilmatch_policy.plan import Amount, Claim, Count, Fails, Part, Plan, PolicyPlan

_WORD = np.int64(2**40 - 1)


@dataclass(frozen=True)
class DataFolder:
    """Where this department's data is: its catalog, the catalog's folder, and its databases by name."""

    catalog: Catalog
    folder: Path
    databases: Databases


def answer(
    data: DataFolder,
    plan: Plan,
    task: DepartmentTask,
    table: SlotTable,
    padded: int,
    *,
    today: date,
    tell_owner: Callable[[Report], None],
) -> FrozenAnswers:
    """Read the data and answer what the plan asks of this department, for every slot.

    ``tell_owner`` is given what became of the rows, also where too many are refused.  Raises DataError
    where the data is refused and JobRefusedError where the recipient would ask about more people than
    a policy allows.
    """
    name = data.catalog.department
    if not task.questions and name not in {plan.recipient, plan.registrar}:
        return FrozenAnswers(padded)  # a dealer's data is nobody's business
    tables = {column.table for column in task.columns}
    check_fresh(data.catalog, tables, today=today, databases=data.databases)
    with ExitStack() as stack:
        try:
            department = stack.enter_context(
                load(
                    data.catalog,
                    data.folder,
                    needed={column.name for column in task.columns},
                    household=name == plan.registrar,
                    reference_date=plan.reference_date,
                    databases=data.databases,
                )
            )
        except TooManyRefusedError as error:
            tell_owner(error.report)
            raise
        tell_owner(department.report)
        slots = table.find(department.inputs)
        households = None
        if name == plan.registrar:
            households = read_households(department, slots, padded)
            tell_owner(replace(department.report, collective=households.collective))
        answers = _Answers(plan, task, department, slots, households, padded)
        return FrozenAnswers(
            padded,
            terms={
                number: answers.part(part)
                for number, term in enumerate(plan.terms)
                if (part := term.part(name)) is not None
            },
            presented=answers.presented() if name == plan.recipient else {},
            own=answers.own() if name == plan.recipient else {},
            labels=None if households is None else households.labels,
        )


class _Answers:
    """The answers of one department, question by question, each evaluated once."""

    def __init__(
        self,
        plan: Plan,
        task: DepartmentTask,
        department: Department,
        slots: NDArray[np.uint32],
        households: Households | None,
        padded: int,
    ) -> None:
        self._plan = plan
        self._task = task
        self._department = department
        self._slots = slots
        self._known = slots != UNKNOWN
        self._households = households
        self._padded = padded
        self._values: dict[int, NDArray[np.bool_] | Amounts] = {}
        self._limits = _limits(plan, department.report.department)

    def part(self, part: Part) -> NDArray[Any]:
        """Return the part's truth values or words by slot."""
        if isinstance(part, Fails):
            holds = np.ones(self._padded, dtype=np.bool_)
            for claim in part.claims:
                holds &= self._claim(claim, others=True)
            return holds
        words = np.zeros(self._padded, dtype=np.int64)
        if isinstance(part, Count):
            for claim in part.claims:
                words += self._claim(claim, others=False)
        else:
            for question, factor in zip(part.questions, part.factors, strict=True):
                words += self._amount(question, factor)
        return (words & _WORD).astype(np.uint64)

    def presented(self) -> Mapping[int, NDArray[np.bool_]]:
        """Whom the recipient asks about, by policy.  Raises JobRefusedError past among_at_most."""
        found = {}
        for number, planned in enumerate(self._plan.policies):
            found[number] = self._own_people(
                self._truth(planned.among) if planned.among is not None else self._everybody()
            )
            _check_ceiling(planned, found[number])
        return found

    def own(self) -> Mapping[tuple[int, int], NDArray[np.bool_]]:
        """The recipient's own claims by policy and number; it makes none about people whom it does not know."""
        found = {}
        for number, planned in enumerate(self._plan.policies):
            claims = planned.circuits[0].own if planned.circuits else tuple(filter(None, [planned.own]))
            for place, claim in enumerate(claims):
                found[number, place] = self._own_people(self._decide(claim.formula))
        return found

    def _everybody(self) -> NDArray[np.bool_]:
        return np.ones(self._department.people + 1, dtype=np.bool_)

    def _own_people(self, values: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """By slot; false for whom this department does not know."""
        bits = np.zeros(self._padded, dtype=np.bool_)
        bits[self._slots[self._known]] = values[:-1][self._known]
        return bits

    def _claim(self, claim: Claim, *, others: bool) -> NDArray[np.bool_]:
        """A claim by slot; ``others`` is what stands in slots of which it says nothing."""
        values = self._decide(claim.formula)
        if claim.spread == "household":
            return self._register().spread(values, others=others)
        bits = np.full(self._padded, others if claim.spread == "members" else values[-1], dtype=np.bool_)
        bits[self._slots[self._known]] = values[:-1][self._known]
        return bits

    def _amount(self, question: int, factor: int) -> NDArray[np.int64]:
        """An amount by slot, at the term's scale."""
        scaled = self._amounts(question).values * factor
        if self._plan.questions[question].scope == "household":
            return self._register().spread(scaled, others=0)
        words = np.full(self._padded, scaled[-1], dtype=np.int64)
        words[self._slots[self._known]] = scaled[:-1][self._known]
        return words

    def _amounts(self, number: int) -> Amounts:
        """A question's amounts, 0 where they are not known.

        A row that cannot be read is unknown where the plan asks who is known; where it does not, or
        would let the unknown pass, the run stops.  Beyond the limit of an amount without a declared range
        is unknown too, and silently: whoever writes the policy has a hand in the limit.
        """
        found = self._evaluated(number)
        if not isinstance(found, Amounts):
            raise TypeError(f"question {number} is no amount")
        asked, expression = self._plan.questions[number], self._task.questions[number]
        asks_who = expression.optional or expression.largest is None
        readable = found.readable if asks_who else found.known & found.readable
        if (asked.unknown or not asks_who) and not readable.all():
            raise DataError(
                asked.place,
                "a row that it adds up cannot be read",
                "correct the rows that refused.csv lists, or declare missing: {no_value: fail} for their column",
            )
        limit = np.int64(self._limits[number])
        known = found.known & found.readable & (found.values <= limit) & (found.values >= -limit)
        return replace(found, values=np.where(known, found.values, 0), known=known)

    def _decide(self, formula: Formula) -> NDArray[np.bool_]:
        """A formula over this department's questions, one value a person or household, then a stranger's."""

        def leaf(name: str) -> NDArray[np.bool_]:
            kind, _, number = name.rpartition(":")
            if kind == "":
                return self._truth(int(number))
            return self._amounts(int(number)).known

        return decide(formula, leaf)

    def _truth(self, question: int) -> NDArray[np.bool_]:
        found = self._evaluated(question)
        if isinstance(found, Amounts):
            raise TypeError(f"question {question} is an amount")
        return found

    def _evaluated(self, number: int) -> NDArray[np.bool_] | Amounts:
        if number not in self._values:
            question, expression = self._plan.questions[number], self._task.questions[number]
            household = question.scope == "household"
            people = self._register().count if household else self._department.people
            connection, day = self._department.connection, question.reference_date
            if question.kind == "condition":
                self._values[number] = truth(
                    connection, expression, people=people, reference_date=day, unknown=question.unknown
                )
            else:
                self._values[number] = amounts(connection, expression, people=people, reference_date=day)
        return self._values[number]

    def _register(self) -> Households:
        if self._households is None:
            raise TypeError(f"{self._department.report.department} keeps no register for this job")
        return self._households


def _limits(plan: Plan, department: str) -> Mapping[int, int]:
    """How far from 0 each amount of a department may be, in units of its own scale: the least that a term allows."""
    limits: dict[int, int] = {}
    for term in plan.terms:
        part = term.part(department)
        if isinstance(part, Amount):
            for question, factor, limit in zip(part.questions, part.factors, part.limits, strict=True):
                own = limit // abs(factor)
                limits[question] = min(own, limits.get(question, own))
    return limits


def _check_ceiling(planned: PolicyPlan, presented: NDArray[np.bool_]) -> None:
    at_most = planned.policy.among_at_most
    if at_most is not None and np.count_nonzero(presented) > at_most:
        raise JobRefusedError(
            "among",
            f"selects more people than among_at_most allows ({at_most})",
            "narrow it, or have a higher ceiling approved",
        )
