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

from veilmatch_policy.catalog import Catalog, Column, Table
from veilmatch_policy.check import DepartmentTask
from veilmatch_policy.plan import Plan
from veilmatch_policy.policy import Policy
from veilmatch_policy.questions import ask

MILLION = 1_000_000  # epsilon is counted in millionths, rounded up
ROWS = "*"  # in the place of a column: who has a row at all


@dataclass(frozen=True)
class Cost:
    """What one budget of a department loses to one job.

    ``runs`` of a group of columns (``what``: "table.column", "table.*" for who has a row at all), or ``epsilon`` of
    all its data, in millionths.  ``receiver`` is who learns the result: a recipient, or the coordinator where a
    count is revealed to it.
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
        read = sorted({*_read(plan, policy, task, catalog, groups)})
        if not read and catalog.department != policy.recipient:
            continue  # a dealer, or part of another policy of the job
        receiver = policy.recipient if policy.reveal == "members" else coordinator
        if receiver == catalog.department:
            continue
        bounds = 1 if policy.vary is None else len(policy.vary.bounds)
        for what in read:
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


def counted_in(plan: Plan, policy: Policy, task: DepartmentTask, department: str) -> tuple[Table, ...]:
    """The tables whose rows one policy of a plan counts at a department: who has a row at all."""
    counted = {
        table.name: table
        for question in ask([policy], plan.reference_date)
        if question.department == department
        for table in task.questions[plan.questions.index(question)].counted
    }
    return tuple(counted.values())


def budget_groups(catalog: Catalog) -> Mapping[str, str]:
    """The budget group of every column, by the column's name; a group is called by its first column.

    Columns of one source, a file or a database's table, share a group where their owner's expressions read a
    column of it in common.  An expression that cannot be read here (another database's dialect) is taken to
    read all of them.
    """
    groups: dict[str, str] = {}
    of_source: dict[str, list[Column]] = {}
    for column in catalog.columns():
        same = catalog.tables[column.table].source.model_dump_json(exclude={"encoding", "delimiter", "null"})
        of_source.setdefault(same, []).append(column)
    for columns in of_source.values():
        sources = {column.name: _sources(column) for column in columns}
        unreadable = not all(sources.values())
        for column in columns:
            if column.name in groups:
                continue
            reached, grew = sources[column.name], not unreadable
            while grew:
                touching = [source for source in sources.values() if reached & source]
                grew = not all(source <= reached for source in touching)
                reached = reached.union(*touching)
            for other, source in sources.items():
                if unreadable or reached & source:
                    groups[other] = f"{column.table}.{column.name}"
    return groups


def _read(
    plan: Plan, policy: Policy, task: DepartmentTask, catalog: Catalog, groups: Mapping[str, str]
) -> Iterator[str]:
    for column in columns_of(plan, policy, task, catalog.department):
        yield groups[column.name]
    for table in counted_in(plan, policy, task, catalog.department):
        yield f"{table.name}.{ROWS}"
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
