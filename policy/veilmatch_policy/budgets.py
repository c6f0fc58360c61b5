"""What a job uses up at one department before its data is read (protocol.md, 7).

Runs are counted, not texts: a bound that moves from job to job bisects a total, `x + 1 > 6` is `x > 5`, and
a recipient can vary its own amounts.  So each policy of a job takes one run from every column that it
reads here, and one for each bound that it varies, from the party that learns the result.  Columns that are
derived from one source share a budget, or each would be a new spelling of the same value.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING
from typing import Literal

import sqlglot
from sqlglot import expressions
from sqlglot.errors import SqlglotError

from veilmatch_policy.catalog import Catalog, Column
from veilmatch_policy.check import DepartmentTask
from veilmatch_policy.plan import Plan
from veilmatch_policy.policy import Policy
from veilmatch_policy.questions import ask

MILLION = 1_000_000  # epsilon is counted in millionths, rounded up
ROWS = "*"  # the budget group of questions that read rows and no column


@dataclass(frozen=True)
class Cost:
    """What one budget of a department loses to one job.

    ``runs`` of a group of columns (``what``: "table.column", `ROWS` for who has a row at all), or ``epsilon`` of
    all its data, in millionths; ``receiver`` is who learns the result: a recipient, or the coordinator where a count is revealed to it.
    """

    kind: Literal["runs", "epsilon"]
    what: str
    receiver: str
    units: int


def costs(plan: Plan, task: DepartmentTask, catalog: Catalog, *, coordinator: str) -> tuple[Cost, ...]:
    """What a plan uses up at the department of ``catalog``, whose part is ``task``; sorted.

    What a department asks of its own data for itself costs nothing.
    """
    spent: dict[tuple[Literal["runs", "epsilon"], str, str], int] = {}
    groups = budget_groups(catalog)
    for planned in plan.policies:
        policy = planned.policy
        receiver = policy.recipient if policy.reveal == "members" else coordinator
        if receiver == catalog.department:
            continue
        bounds = 1 if policy.vary is None else len(policy.vary.bounds)
        for what in sorted({*_read(plan, policy, task, catalog, groups)}):
            spent["runs", what, receiver] = spent.get(("runs", what, receiver), 0) + bounds
        if policy.epsilon is not None:
            millionths = int((policy.epsilon * MILLION).to_integral_value(ROUND_CEILING)) * bounds
            spent["epsilon", "", receiver] = spent.get(("epsilon", "", receiver), 0) + millionths
    return tuple(Cost(*key, units) for key, units in sorted(spent.items()))


def columns_of(plan: Plan, policy: Policy, task: DepartmentTask, department: str) -> tuple[Column, ...]:
    """The columns that one policy of a plan reads at a department, each once."""
    return tuple(
        dict.fromkeys(
            column
            for question in ask([policy], plan.reference_date)
            if question.department == department
            for column in task.questions[plan.questions.index(question)].columns
        )
    )


def reads_rows(plan: Plan, policy: Policy, task: DepartmentTask, department: str) -> bool:
    """Whether a policy asks a department something that reads no column, as `count(*)`: who is in its tables."""
    return any(
        not task.questions[plan.questions.index(question)].columns
        for question in ask([policy], plan.reference_date)
        if question.department == department
    )


def budget_groups(catalog: Catalog) -> Mapping[str, str]:
    """The budget group of every column, by the column's name; a group is called by its first column.

    Columns of a table share a group where their owner's expressions read a source column in common.  An
    expression that cannot be read here (another database's dialect) is taken to read the whole table.
    """
    groups: dict[str, str] = {}
    for table in catalog.tables.values():
        sources = {name: _sources(column) for name, column in table.columns.items()}
        unreadable = not all(sources.values())
        for name in table.columns:
            if name in groups:
                continue
            reached, grew = sources[name], not unreadable
            while grew:
                touching = [other for other in table.columns if reached & sources[other]]
                grew = not all(sources[other] <= reached for other in touching)
                reached = reached.union(*(sources[other] for other in touching))
            for other in table.columns:
                if unreadable or reached & sources[other]:
                    groups[other] = f"{table.name}.{name}"
    return groups


def _read(
    plan: Plan, policy: Policy, task: DepartmentTask, catalog: Catalog, groups: Mapping[str, str]
) -> Iterator[str]:
    for column in columns_of(plan, policy, task, catalog.department):
        yield groups[column.name]
    if reads_rows(plan, policy, task, catalog.department):
        yield ROWS
    if (
        plan.registrar == catalog.department
        and policy.household is not None
        and catalog.household is not None
    ):
        table, household = catalog.household
        yield groups.get(household.column, f"{table.name}.{household.column}")


def _sources(column: Column) -> frozenset[str]:
    """The source columns behind a column, in small letters (SQL does not tell capitals apart); empty: not known."""
    if column.expression is None:
        return frozenset({column.name.casefold()})
    try:
        read = sqlglot.parse_one(column.expression, dialect="duckdb").find_all(expressions.Column)
        return frozenset(each.name.casefold() for each in read)
    except SqlglotError:
        return frozenset()
