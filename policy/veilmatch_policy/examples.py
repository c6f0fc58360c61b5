"""The dry run of a policy's worked examples: one person at a time, in the node's own SQL.

What a department is given of the person becomes its tables, and the conditions are evaluated as its
node would.  A department that is not given does not know the person; the recipient, when it is not
given, knows the person, without any value, and ``among`` is taken as met.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

import duckdb

from veilmatch_policy.catalog import Catalog, Table
from veilmatch_policy.check import CheckedPolicy
from veilmatch_policy.column_types import CellValue, ColumnType
from veilmatch_policy.errors import PolicyRefusedError, nearest, quoted
from veilmatch_policy.evaluate import truth
from veilmatch_policy.expression import Expression
from veilmatch_policy.sql_types import sql_type

Row = Mapping[str, CellValue | None]

# Nothing but our own queries runs here; it needs no file, no network and no second thread.
_DUCKDB: dict[str, str | bool | int | float | list[str]] = {"enable_external_access": False, "threads": 1}


def run_examples(checked: CheckedPolicy, reference_date: date) -> int:
    """Run every worked example and return how many there are.

    Raises PolicyRefusedError for the first that does not come out as its author expects, naming the
    condition that decided, or that gives a column or a value that the catalogs do not have.
    """
    for number, example in enumerate(checked.policy.examples, start=1):
        where = f"{checked.policy.name}: examples.{number}"
        known = {
            department: _rows(checked.catalogs[department], rows, f"{where}.given.{department}")
            for department, rows in example.given.items()
        }
        failed = _first_failed(checked, known, reference_date)
        if example.eligible and failed is not None:
            raise PolicyRefusedError(
                where,
                f"expected eligible, but {failed} does not hold",
                "correct the example or the condition",
            )
        if not example.eligible and failed is None:
            raise PolicyRefusedError(
                where,
                "expected not eligible, but every condition holds",
                "correct the example or a condition",
            )
    return len(checked.policy.examples)


def holds(expression: Expression, rows: Sequence[Row], *, unknown: bool, reference_date: date) -> bool:
    """Whether a condition holds for one person of whom a department has these rows, none or more.

    A row without any column is a row in every table; ``unknown`` is as in `evaluate.truth`.
    """
    with duckdb.connect(config=_DUCKDB) as connection:
        for table in expression.tables:
            _fill(connection, table, rows)
        answers = truth(connection, expression, people=1, reference_date=reference_date, unknown=unknown)
    return bool(answers[0])


def _first_failed(
    checked: CheckedPolicy, known: Mapping[str, Sequence[Row]], reference_date: date
) -> str | None:
    """What makes the person not eligible, in an author's words; None where nothing does."""
    recipient = checked.policy.recipient
    among = checked.tasks[recipient].among if recipient in known else None
    if among and not holds(among, known[recipient], unknown=False, reference_date=reference_date):
        return "among"
    for department, task in checked.tasks.items():
        rows = known.get(department, [{}] if department == recipient else [])
        for name, condition, unknown in zip(task.names, task.conditions, task.unknowns, strict=True):
            if not holds(condition, rows, unknown=unknown, reference_date=reference_date):
                return f"{name} ({department})"
    return None


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


def _fill(connection: duckdb.DuckDBPyConnection, table: Table, rows: Sequence[Row]) -> None:
    """Make the table that evaluate.py reads, for person 0."""
    # Names come from a catalog, which lets no quotation mark pass.
    columns = [f'"{name}" {_duckdb_type(column.type)}' for name, column in table.columns.items()]
    definition = ", ".join(["person INTEGER NOT NULL", "unreadable BOOLEAN NOT NULL", *columns])
    connection.execute(f'CREATE TABLE "t_{table.name}" ({definition})')
    relation = connection.table(f'"t_{table.name}"')
    for row in _rows_in(table, rows):
        relation.insert([0, False, *(row.get(name) for name in table.columns)])


def _duckdb_type(column_type: ColumnType) -> str:
    return "BIGINT" if column_type.kind == "integer" else sql_type(column_type).sql(dialect="duckdb")
