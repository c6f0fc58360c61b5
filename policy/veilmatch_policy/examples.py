"""The dry run of a policy's worked examples, in the nodes' own SQL.

What a department is given of people becomes its tables, and the conditions are evaluated as its node
would.  A department that is not given does not know the person; the recipient, when it is not
given, knows the person, without any value, and ``among`` is taken as met.  The others of a household
live with the person in the register, which knows each of them, where it is not given, without any value.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import duckdb
import numpy as np

from veilmatch_policy.catalog import Catalog, Table
from veilmatch_policy.check import CheckedPolicy
from veilmatch_policy.column_types import CellValue, ColumnType
from veilmatch_policy.desk import OpenDepartment, ask_openly, asked_about
from veilmatch_policy.errors import PolicyRefusedError, nearest, quoted
from veilmatch_policy.evaluate import truth
from veilmatch_policy.expression import Expression
from veilmatch_policy.formula import conjunction, decide
from veilmatch_policy.meaning import truths
from veilmatch_policy.policy import Example, Policy
from veilmatch_policy.questions import ask
from veilmatch_policy.sql_types import sql_type

Row = Mapping[str, CellValue | None]

# Nothing but our own queries runs here; it needs no file, no network and no second thread.
_DUCKDB: dict[str, str | bool | int | float | list[str]] = {"enable_external_access": False, "threads": 1}


@dataclass(frozen=True)
class _Person:
    """Somebody in an example: its rows by department, and the number of its household."""

    rows: Mapping[str, Sequence[Row]]
    household: int


def run_examples(checked: CheckedPolicy, reference_date: date) -> int:
    """Run every worked example and return how many there are.

    Raises PolicyRefusedError for the first that does not come out as its author expects, saying what
    decided, or that gives a column or a value that the catalogs do not have.
    """
    policy, catalogs = checked.policy, checked.catalogs
    people: list[_Person] = []  # of all examples, who have nothing to do with each other
    applicants: list[int] = []
    for number, example in enumerate(policy.examples, start=1):
        applicants.append(len(people))
        people += _people(policy, catalogs, example, f"{policy.name}: examples.{number}", len(people))
    if not people:
        return 0
    names = {question.department for question in ask([policy], reference_date)} | {policy.recipient}
    if policy.household is not None:
        names.add(policy.household.department)
    with ExitStack() as stack:
        departments = {
            name: _open(
                stack.enter_context(duckdb.connect(config=_DUCKDB)),
                catalogs[name],
                [person.rows.get(name) for person in people],
                [person.household for person in people],
            )
            for name in sorted(names)
        }
        asked = asked_about(policy, departments, reference_date)
        found = truths(policy, ask_openly(policy, departments, reference_date))
    fulfilled = decide(policy.eligible, found.__getitem__)
    for number, (example, person) in enumerate(zip(policy.examples, applicants, strict=True), start=1):
        among = policy.recipient not in example.given or bool(asked[person])
        if example.eligible != (among and bool(fulfilled[person])):
            held = {name: bool(values[person]) for name, values in found.items()}
            raise _unexpected(policy, example, f"{policy.name}: examples.{number}", held, among=among)
    return len(policy.examples)


def holds(expression: Expression, rows: Sequence[Row], *, unknown: bool, reference_date: date) -> bool:
    """Whether a condition holds for one person of whom a department has these rows, none or more.

    A row without any column is a row in every table; ``unknown`` is as in `evaluate.truth`.
    """
    with duckdb.connect(config=_DUCKDB) as connection:
        for table in expression.tables:
            _fill(connection, table, [rows])
        answers = truth(connection, expression, people=1, reference_date=reference_date, unknown=unknown)
    return bool(answers[0])


def _unexpected(
    policy: Policy, example: Example, where: str, held: Mapping[str, bool], *, among: bool
) -> PolicyRefusedError:
    """What made an example come out otherwise, in an author's words; ``held``: which conditions hold."""
    needed = conjunction(policy.eligible)
    if not among:
        decided = "among"
    elif needed is None:
        decided = f"the formula ({', '.join(f'{name}: {_YES[held[name]]}' for name in policy.conditions)})"
    else:
        decided = next((_shown(policy, name) for name in needed if not held[name]), "every condition")
    if example.eligible:
        what, remedy = f"expected eligible, but {decided} does not hold", "the condition"
    else:
        what, remedy = f"expected not eligible, but {decided} holds", "a condition"
    return PolicyRefusedError(where, what, f"correct the example or {remedy}")


_YES = {True: "yes", False: "no"}


def _shown(policy: Policy, name: str) -> str:
    """A condition with who is asked."""
    condition = policy.conditions[name]
    return f"{name} ({condition.department or ', '.join(condition.total or ())})"


def _people(
    policy: Policy, catalogs: Mapping[str, Catalog], example: Example, where: str, first: int
) -> list[_Person]:
    """The people of an example, numbered from ``first``, the one that it is about first."""
    rows = [_given(catalogs, example.given, f"{where}.given")]
    rows += [
        _given(catalogs, other, f"{where}.others.{number}") for number, other in enumerate(example.others, 1)
    ]
    rows[0].setdefault(policy.recipient, [{}])
    register = None if policy.household is None else catalogs[policy.household.department]
    if register is None or register.household is None:
        return [_Person(each, first) for each in rows]
    table, household = register.household
    if len(rows) > 1:
        for each in rows:
            listed = each.setdefault(register.department, [])
            if not _rows_in(table, listed):
                each[register.department] = [*listed, dict.fromkeys([*table.columns][:1])]
    collective = len(rows) > household.at_most
    return [_Person(each, first + (number if collective else 0)) for number, each in enumerate(rows)]


def _given(
    catalogs: Mapping[str, Catalog], given: Mapping[str, Sequence[Mapping[str, str]]], where: str
) -> dict[str, Sequence[Row]]:
    """A person's rows by department; raises PolicyRefusedError for what the catalogs do not have."""
    for department in given:
        if department not in catalogs:
            what = f"there is no department {quoted(department)}"
            raise PolicyRefusedError(where, what, nearest(department, catalogs))
    return {
        department: _rows(catalogs[department], rows, f"{where}.{department}")
        for department, rows in given.items()
    }


def _rows(catalog: Catalog, given: Sequence[Mapping[str, str]], where: str) -> Sequence[Row]:
    """The rows as the catalog's types; raises PolicyRefusedError for what they cannot hold."""
    rows = [
        {name: _value(catalog, name, text, f"{where}.{name}") for name, text in row.items()} for row in given
    ]
    if not rows:
        raise PolicyRefusedError(
            where, "a list without rows", "leave a department out that does not know the person"
        )
    for table in catalog.tables.values():
        if table.rows == "one" and len(_rows_in(table, rows)) > 1:
            raise PolicyRefusedError(
                where, f"several rows for the table {table.name}, which has rows: one", "give one"
            )
    return rows


def _value(catalog: Catalog, name: str, text: str, where: str) -> CellValue | None:
    column = catalog.column(name)
    if column is None:
        known = [column.name for column in catalog.columns()]
        raise PolicyRefusedError(
            where, f"{catalog.department} has no column {quoted(name)}", nearest(name, known)
        )
    if text == "":
        return None
    try:
        value = column.type.value(text)
    except ValueError as error:
        what, _, remedy = str(error).partition("; ")
        raise PolicyRefusedError(where, what, remedy) from None
    if column.range is not None and isinstance(value, int | Decimal):
        low, high = column.range
        if not low <= value <= high:
            raise PolicyRefusedError(
                where, f"{quoted(text)} is not within the declared range [{low}, {high}]"
            )
    return value


def _rows_in(table: Table, rows: Sequence[Row]) -> Sequence[Row]:
    """The rows that a table has: those with one of its columns, and those without any column."""
    return [row for row in rows if not row or table.columns.keys() & row.keys()]


def _open(
    connection: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    rows: Sequence[Sequence[Row] | None],
    households: Sequence[int],
) -> OpenDepartment:
    """A department that is given these rows of each person, None of whom it does not know."""
    known = [place for place, each in enumerate(rows) if each is not None]
    places = np.full(len(rows), -1)
    places[known] = np.arange(len(known))
    people = [rows[place] or () for place in known]
    for table in catalog.tables.values():
        _fill(connection, table, people)
    if catalog.household is not None:
        connection.execute("CREATE TABLE members (person INTEGER, household INTEGER)")
        table, _ = catalog.household
        for number, place in enumerate(known):
            if _rows_in(table, people[number]):
                connection.execute("INSERT INTO members VALUES (?, ?)", [number, households[place]])
    return OpenDepartment(catalog, connection, len(known), places)


def _fill(connection: duckdb.DuckDBPyConnection, table: Table, people: Sequence[Sequence[Row]]) -> None:
    """Make the table that evaluate.py reads from each person's rows."""
    # Names come from a catalog, which lets no quotation mark pass.
    columns = [f'"{name}" {_duckdb_type(column.type)}' for name, column in table.columns.items()]
    definition = ", ".join(["person INTEGER NOT NULL", "unreadable BOOLEAN NOT NULL", *columns])
    connection.execute(f'CREATE TABLE "t_{table.name}" ({definition})')
    relation = connection.table(f'"t_{table.name}"')
    for person, rows in enumerate(people):
        for row in _rows_in(table, rows):
            relation.insert([person, False, *(row.get(name) for name in table.columns)])


def _duckdb_type(column_type: ColumnType) -> str:
    return "BIGINT" if column_type.kind == "integer" else sql_type(column_type).sql(dialect="duckdb")
