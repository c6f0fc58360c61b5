"""A department's own data, from its files and databases to typed tables in an embedded DuckDB.

What is in a `Department` never leaves the node: the conditions of policies are computed from it.
The steps for each table are: text cells (files.py, databases/), identifiers to normal forms
(identifiers.py), cells to values (columns.py), batch by batch (rows.py); one row a person where the
catalog says so (here).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Self

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from veilmatch_node import embedded
from veilmatch_node.databases import Databases
from veilmatch_node.errors import DataError
from veilmatch_node.identifiers import normal_forms
from veilmatch_node.numbering import number_people
from veilmatch_node.report import RefusedRow, Report, TableReport
from veilmatch_node.rows import HOUSEHOLD_CELL, RowReader, Rows
from veilmatch_policy.catalog import Catalog

HOUSEHOLD = (
    "household of"  # the register's table of its people's households; no catalog table is called t_ that
)
_READ, _MERGED = "rows_read", "rows_merged"  # a table's rows while they are stored


class TooManyRefusedError(DataError):
    """More rows are refused than the catalog allows; ``report`` lists them for their owner."""

    def __init__(self, where: str, what: str, remedy: str, *, detail: str, report: Report) -> None:
        """Keep the report beside the line of text."""
        super().__init__(where, what, remedy, detail=detail)
        self.report = report


@dataclass(frozen=True, slots=True)
class Department:
    """A department's people and its tables.

    ``connection``: this reading's own to the process's DuckDB (embedded.py), with a temporary table ``t_T`` for
    each table T of the catalog as veilmatch_policy.evaluate reads it.  ``inputs``: the linkage input of each
    person (large_binary, sorted, no NULL); a person's number is the place in it.  Where it was loaded with
    its household register, there is a table `HOUSEHOLD` (person, household: the register's own label as text,
    NULL where empty or unreadable), and ``household_at_most`` is how many members a household may have
    before it counts as single persons.
    """

    connection: duckdb.DuckDBPyConnection = field(repr=False)
    inputs: pa.Array = field(repr=False)
    report: Report
    household_at_most: int = 0

    @property
    def people(self) -> int:
        """The number of distinct people over all tables."""
        return len(self.inputs)

    @property
    def identifiers(self) -> pa.StringArray:
        """The normal forms (string) of its people, in the order of ``inputs``."""
        return normal_forms(self.inputs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        pa.default_memory_pool().release_unused()


def load(
    catalog: Catalog,
    folder: Path,
    *,
    needed: Collection[str] | None = None,
    household: bool = False,
    reference_date: date,
    databases: Databases | None = None,
) -> Department:
    """Read every table of ``catalog``: all identifiers, and the columns named in ``needed`` (None: all).

    With ``household``, who lives with whom is read too, from the catalog's household register.
    ``folder`` holds the catalog's files, ``databases`` gives its databases' tables.  People are
    numbered alike whatever is needed.  A row is refused, and listed in the report, when it has the
    wrong number of cells or no valid identifier (then it is left out), when a needed cell cannot be
    read, or when another row of the person says something else in a table with one row a person (then
    the person's row is ``unreadable``).  Raises DataError when the data is not what the catalog says
    or memory is short, TooManyRefusedError past the catalog's ``refused_at_most``, CatalogError for an
    expression that is not one or is not exact.
    """
    connection = embedded.connect()
    try:
        register = catalog.household if household else None
        reader = RowReader(
            catalog.department, connection, folder, databases or Databases({}), needed, reference_date
        )
        tables = [
            reader.read(table, household=register is not None and table is register[0])
            for table in catalog.tables.values()
        ]
        pa.default_memory_pool().release_unused()  # Arrow keeps what the text took
        inputs, places = number_people(tables)
        stored = tuple(
            # Off the list: what is in a table need not be in memory twice.
            _store(connection, tables.pop(0), places.pop(0), len(inputs))
            for _ in catalog.tables
        )
        pa.default_memory_pool().release_unused()
        report = Report(catalog.department, len(inputs), stored)
        for table, table_report in zip(catalog.tables.values(), stored, strict=True):
            _check_limit(f"{catalog.department}.{table.name}", table.refused_at_most, table_report, report)
    except BaseException as error:
        connection.close()
        if isinstance(error, duckdb.OutOfMemoryException):
            raise DataError(
                catalog.department,
                "what is read at a time needs more memory than DuckDB has here",
                "run fewer jobs at a time (jobs_at_once), or give the machine more memory",
            ) from None
        raise
    at_most = register[1].at_most if register is not None else 0
    return Department(connection, inputs, report, at_most)


def _store(
    connection: duckdb.DuckDBPyConnection, rows: Rows, person: NDArray[np.int32], people: int
) -> TableReport:
    """Make the table ``t_T`` of rows by person's number, and say what became of its rows."""
    times = np.bincount(person, minlength=people)
    distinct = int(np.count_nonzero(times))
    values = dict(zip(rows.values.column_names, rows.values.columns, strict=True))
    several = times[person] > 1
    own = {":row": rows.numbers, ":several": several}
    read = pa.table({"person": person, "unreadable": rows.unreadable, **values, **own})
    listed, duplicates = rows.listed, 0
    connection.register(_READ, read)
    if rows.table.rows == "many" or distinct == len(person):
        _create(connection, rows.table.name, list(values), _READ)
    else:
        conflicts, duplicates = _one_row_a_person(connection, rows.table.name, list(values))
        listed = listed + [RefusedRow(row, "conflicting duplicate") for row in conflicts]
    connection.unregister(_READ)
    return TableReport(
        table=rows.table.name,
        rows=rows.read,
        people=distinct,
        duplicates=duplicates,
        identifiers_refused=rows.identifiers_refused,
        listed=tuple(sorted(listed)),
    )


def _one_row_a_person(
    connection: duckdb.DuckDBPyConnection, table: str, names: Sequence[str]
) -> tuple[list[int], int]:
    """Keep each person's first row, unreadable where another says something else.

    Only people with several rows take the memory that comparing takes.  Returns the numbers of the rows of
    people whose rows differ, and how many rows of all others were merged.
    """
    cells = _listed(names)
    said = f"ROW(unreadable{cells})"
    connection.execute(f"""
        CREATE TEMPORARY TABLE {_MERGED} AS
        SELECT *, bool_or(differs) OVER (PARTITION BY person) AS ":conflict"
        FROM (SELECT *, row_number() OVER of_person AS ":place",
                     {said} IS DISTINCT FROM first_value({said}) OVER of_person AS differs
              FROM {_READ} WHERE ":several" WINDOW of_person AS (PARTITION BY person ORDER BY ":row"))
        """)  # noqa: S608  a catalog's names
    single = f'SELECT person, unreadable{cells} FROM {_READ} WHERE NOT ":several"'  # noqa: S608  same
    first = f'SELECT person, unreadable OR ":conflict"{cells} FROM {_MERGED} WHERE ":place" = 1'  # noqa: S608  same
    _create(connection, table, names, f"({single} UNION ALL {first})")
    conflicts = connection.execute(f'SELECT ":row" FROM {_MERGED} WHERE ":conflict"').fetchall()  # noqa: S608  same
    [(merged,)] = connection.execute(
        f'SELECT count(*) FROM {_MERGED} WHERE ":place" > 1 AND NOT ":conflict"'  # noqa: S608  same
    ).fetchall()
    connection.execute(f"DROP TABLE {_MERGED}")
    return [row for (row,) in conflicts], merged


def _create(connection: duckdb.DuckDBPyConnection, table: str, names: Sequence[str], rows: str) -> None:
    """Make ``t_T`` of these rows; a household's label goes where no expression of a policy sees it."""
    if HOUSEHOLD_CELL in names:
        label = f"""nullif(trim("{HOUSEHOLD_CELL}"), '') AS household"""
        connection.execute(f'CREATE TEMPORARY TABLE "{HOUSEHOLD}" AS SELECT person, {label} FROM {rows}')  # noqa: S608  names of our own
    cells = _listed([name for name in names if name != HOUSEHOLD_CELL])
    connection.execute(f'CREATE TEMPORARY TABLE "t_{table}" AS SELECT person, unreadable{cells} FROM {rows}')  # noqa: S608  a catalog's names


def _listed(names: Sequence[str]) -> str:
    return "".join(f', "{name}"' for name in names)


def _check_limit(where: str, limit: int | Decimal | None, table: TableReport, report: Report) -> None:
    allowed = limit * table.rows if isinstance(limit, Decimal) else limit
    if allowed is not None and table.refused > allowed:
        raise TooManyRefusedError(
            where,
            "more rows are refused than the catalog's refused_at_most",
            "correct the rows that refused.csv lists, or refused_at_most",
            detail=f"{table.refused} of {table.rows} rows are refused, more than {limit}",
            report=report,
        )
