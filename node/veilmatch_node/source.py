"""A department's own data, from its files and databases to typed tables in an embedded DuckDB.

What is in a `Department` never leaves the node: the conditions of policies are computed from it.
The steps for each table are: text cells (files.py, databases.py), identifiers to normal forms
(identifiers.py), cells to values (columns.py), one row a person where the catalog says so (here).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Self

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from veilmatch_node import columns, files, identifiers
from veilmatch_node.cells import Cells
from veilmatch_node.databases import read_table
from veilmatch_node.errors import DataError
from veilmatch_node.expressions import OwnExpression, own_expression
from veilmatch_node.report import RefusedRow, Report, TableReport
from veilmatch_policy.catalog import Catalog, Column, FileSource, Table
from veilmatch_policy.column_types import ColumnType
from veilmatch_policy.errors import nearest, quoted

# Ten million rows of a few columns; what needs more is an expression gone wrong.
_MEMORY_LIMIT = "2GB"
HOUSEHOLD = (
    "household of"  # the register's table of its people's households; no catalog table is called t_ that
)
_HOUSEHOLD_CELL = "household cell"  # a column of our own while the register is read
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

    ``connection``: an in-memory DuckDB without access to files or network, with a table ``t_T`` for each
    table T of the catalog as veilmatch_policy.evaluate reads it.  ``inputs``: the linkage input of each
    person (large_binary, sorted, no NULL); a person's number is the place in it.  ``identifiers``: the
    normal forms (string), in the same order.  Where it was loaded with its household register, there is a
    table `HOUSEHOLD` (person, household: the register's own label as text, NULL where empty or unreadable), and
    ``household_at_most`` is how many members a household may have before it counts as single persons.
    """

    connection: duckdb.DuckDBPyConnection = field(repr=False)
    inputs: pa.Array = field(repr=False)
    identifiers: pa.Array = field(repr=False)
    report: Report
    household_at_most: int = 0

    @property
    def people(self) -> int:
        """The number of distinct people over all tables."""
        return len(self.inputs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()


@dataclass(frozen=True, slots=True, repr=False)
class _Rows:
    """The rows of one table whose identifier is valid: who they are about and what they say."""

    table: Table
    read: int
    numbers: NDArray[np.int64]
    inputs: pa.Array
    forms: pa.Array
    values: columns.Values
    identifiers_refused: Mapping[str, int]
    listed: list[RefusedRow]


def load(
    catalog: Catalog,
    folder: Path,
    *,
    needed: Collection[str] | None = None,
    household: bool = False,
    reference_date: date,
    databases: Mapping[str, str] | None = None,
) -> Department:
    """Read every table of ``catalog``: all identifiers, and the columns named in ``needed`` (None: all).

    With ``household``, who lives with whom is read too, from the catalog's household register.
    ``folder`` holds the catalog's files, ``databases`` the URLs of its databases by name.  People are
    numbered alike whatever is needed.  A row is refused, and listed in the report, when it has the
    wrong number of cells or no valid identifier (then it is left out), when a needed cell cannot be
    read, or when another row of the person says something else in a table with one row a person (then
    the person's row is ``unreadable``).  Raises DataError when the data is not what the catalog says,
    TooManyRefusedError past the catalog's ``refused_at_most``, CatalogError for an expression that is
    not one or is not exact.
    """
    connection = _connect()
    try:
        register = catalog.household if household else None
        tables = [
            _read_rows(
                connection,
                catalog,
                _with_household(table) if register is not None and table is register[0] else table,
                folder,
                needed,
                reference_date,
                databases or {},
            )
            for table in catalog.tables.values()
        ]
        people = pa.table(
            {
                "input": pa.chunked_array([rows.inputs for rows in tables], pa.large_binary()),
                "form": pa.chunked_array([rows.forms for rows in tables], pa.string()),
            }
        )
        people = people.group_by("input", use_threads=False).aggregate([("form", "first")]).sort_by("input")
        inputs, forms = people["input"].combine_chunks(), people["form_first"].combine_chunks()
        stored = tuple(_store(connection, rows, inputs) for rows in tables)
        if register is not None:
            _keep_households(connection, register[0].name)
        connection.execute("SET lock_configuration = true")
        report = Report(catalog.department, len(inputs), stored)
        for table, table_report in zip(catalog.tables.values(), stored, strict=True):
            _check_limit(f"{catalog.department}.{table.name}", table.refused_at_most, table_report, report)
    except BaseException:
        connection.close()
        raise
    at_most = register[1].at_most if register is not None else 0
    return Department(connection, inputs, forms, report, at_most)


def _connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:")
    for setting, value in {
        "threads": "1",  # several nodes share a machine; a department's tables are small for DuckDB
        "memory_limit": _MEMORY_LIMIT,
        "temp_directory": "",  # no row is ever spilled to a disk
        "python_enable_replacements": "false",  # an expression sees no variable of this process
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "enable_external_access": "false",
    }.items():
        connection.execute(f"SET {setting} = '{value}'")
    columns.configure(connection)
    return connection


def _read_rows(
    connection: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    table: Table,
    folder: Path,
    needed: Collection[str] | None,
    reference_date: date,
    databases: Mapping[str, str],
) -> _Rows:
    where = f"{catalog.department}.{table.name}"
    wanted = [
        column
        for column in table.columns.values()
        if needed is None or column.name in needed or column.name == _HOUSEHOLD_CELL
    ]
    expressions = {
        column.name: own_expression(
            column.expression,
            dialect="duckdb" if isinstance(table.source, FileSource) else "postgres",
            reference_date=reference_date,
            where=f"{where}.{column.name}",
        )
        for column in wanted
        if column.expression is not None
    }
    if isinstance(table.source, FileSource):
        cells = _read_file(folder, table.source, table, wanted, expressions, where)
    else:
        url = databases.get(table.source.database)
        cells = read_table(url, table.source, table.id, wanted, expressions, where=where)
        expressions = {}  # the database has evaluated them

    normal = identifiers.normalise(cells.table[cells.id].combine_chunks(), table.identifier)
    reasons = normal.reasons
    if cells.id in cells.garbled:
        reasons = pc.if_else(pa.array(cells.garbled[cells.id]), f"not {cells.encoding}", reasons)
    valid = np.asarray(reasons.is_null(), np.bool_)
    listed = [RefusedRow(row, "wrong number of cells") for row in cells.ragged]
    refused = zip(cells.rows[~valid].tolist(), reasons.drop_null().to_pylist(), strict=True)
    listed += [RefusedRow(row, f"identifier: {reason}") for row, reason in refused]

    forms = normal.forms.filter(pa.array(valid))
    kept = cells.keep(valid)
    values = columns.read_values(
        connection, kept, wanted, expressions=expressions, codes=table.codes, where=where
    )
    for mask, reason in values.unreadable:
        listed += [RefusedRow(row, reason) for row in kept.rows[mask].tolist()]
    return _Rows(
        table=table,
        read=len(cells.rows) + len(cells.ragged),
        numbers=kept.rows,
        inputs=identifiers.linkage_inputs(forms, table.identifier.scheme),
        forms=forms,
        values=values,
        identifiers_refused={
            count["values"]: count["counts"] for count in reasons.drop_null().value_counts().to_pylist()
        },
        listed=listed,
    )


def _with_household(table: Table) -> Table:
    """The register's table with one column more, the household's label as its source writes it."""
    if table.household is None:
        return table
    listed = table.columns.get(table.household.column)
    own = listed.expression if listed is not None else None
    label = Column.model_construct(
        name=_HOUSEHOLD_CELL,
        table=table.name,
        type=ColumnType("text", 0),
        release="never",
        expression=f"CAST(({own or _quoted(table.household.column)}) AS VARCHAR)",
    )
    return table.model_copy(update={"columns": {**table.columns, _HOUSEHOLD_CELL: label}})


def _quoted(name: str) -> str:
    """An identifier in SQL's quotation marks."""
    return '"' + name.replace('"', '""') + '"'


def _keep_households(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Take the labels out of the register's table, where no expression of a policy sees them."""
    connection.execute(f"""
        CREATE TABLE "{HOUSEHOLD}" AS
        SELECT person, nullif(trim("{_HOUSEHOLD_CELL}"), '') AS household
        FROM "t_{table}"
        """)  # noqa: S608  names of our own and a catalog's name
    connection.execute(f'ALTER TABLE "t_{table}" DROP COLUMN "{_HOUSEHOLD_CELL}"')


def _read_file(
    folder: Path,
    source: FileSource,
    table: Table,
    wanted: list[Column],
    expressions: Mapping[str, OwnExpression],
    where: str,
) -> Cells:
    """The cells of the identifier column and of all columns that the wanted ones are read from."""
    path = str(folder / source.file)
    names = files.header(folder, source, where=where)
    # Before any name of the header is told: a file without a header begins with somebody's record.
    if table.id not in names:
        raise DataError(
            where,
            f"there is no column {quoted(table.id)}, which the catalog says holds the identifiers",
            "correct the catalog's id, or make the file's first line its column names",
            detail=path,
        )
    places: dict[str, int] = {}
    for place, name in enumerate(names, 1):
        # DuckDB does not tell capitals from small letters.
        if name and places.setdefault(name.lower(), place) != place:
            first = places[name.lower()]
            raise DataError(
                where,
                "two columns have the same name",
                "rename one of them",
                detail=f"columns {first} and {place} of {path}",
            )
    read = [table.id]
    for column in wanted:
        own = expressions.get(column.name)
        for name in own.columns if own else (column.name,):
            if name not in names:
                raise DataError(
                    where,
                    f"there is no column {quoted(name)} to read the catalog's column {column.name} from",
                    "correct the catalog or the file",
                    # Which other columns the file has is nobody else's business.
                    detail=f"{path}: {nearest(name, names)}",
                )
            read.append(name)
    return files.read(folder, source, tuple(dict.fromkeys(read)), identifier=table.id, where=where)


def _store(connection: duckdb.DuckDBPyConnection, rows: _Rows, people: pa.Array) -> TableReport:
    """Make the table ``t_T`` of rows by person's number, and say what became of its rows."""
    person = pc.index_in(rows.inputs, value_set=people)
    distinct = pc.count_distinct(person).as_py()
    unreadable = np.zeros(len(person), np.bool_)
    for mask, _ in rows.values.unreadable:
        unreadable |= mask
    values = dict(zip(rows.values.table.column_names, rows.values.table.columns, strict=True))
    read = pa.table({"person": person, "unreadable": unreadable, **values, ":row": rows.numbers})
    listed, duplicates = rows.listed, 0
    connection.register(_READ, read)
    if rows.table.rows == "many" or distinct == len(person):
        connection.execute(f'CREATE TABLE "t_{rows.table.name}" AS SELECT * EXCLUDE (":row") FROM {_READ}')  # noqa: S608  a catalog's name
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

    Returns the numbers of the rows of people whose rows differ, and how many rows of all others
    were merged.
    """
    cells = "".join(f', "{name}"' for name in names)
    said = f"ROW(unreadable{cells})"
    connection.execute(f"""
        CREATE TABLE {_MERGED} AS
        SELECT *, bool_or(differs) OVER (PARTITION BY person) AS ":conflict"
        FROM (SELECT *, row_number() OVER of_person AS ":place",
                     {said} IS DISTINCT FROM first_value({said}) OVER of_person AS differs
              FROM {_READ} WINDOW of_person AS (PARTITION BY person ORDER BY ":row"))
        """)  # noqa: S608  a catalog's names
    connection.execute(f"""
        CREATE TABLE "t_{table}" AS
        SELECT person, unreadable OR ":conflict" AS unreadable{cells}
        FROM {_MERGED} WHERE ":place" = 1
        """)  # noqa: S608  same
    conflicts = connection.execute(f'SELECT ":row" FROM {_MERGED} WHERE ":conflict"').fetchall()  # noqa: S608  same
    [(merged,)] = connection.execute(
        f'SELECT count(*) FROM {_MERGED} WHERE ":place" > 1 AND NOT ":conflict"'  # noqa: S608  same
    ).fetchall()
    connection.execute(f"DROP TABLE {_MERGED}")
    return [row for (row,) in conflicts], merged


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
