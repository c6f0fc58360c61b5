"""PostgreSQL through ADBC: a cursor of the server, fetched in batches of Arrow columns.

Not one COPY: its statement timeout would run while we work on what has come, and what goes wrong on a
row in the midst of it has no SQLSTATE.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime

import pyarrow as pa
from adbc_driver_manager import Error
from adbc_driver_manager.dbapi import Connection, Cursor
from adbc_driver_postgresql import StatementOptions, dbapi

from veilmatch_node.cells import BATCH_ROWS
from veilmatch_node.databases import refusals
from veilmatch_node.databases.query import Family, TableQuery
from veilmatch_node.databases.settings import Database
from veilmatch_node.errors import DataError, ExpressionError

# A schema change that waits for us, or that we wait for, is not held up longer; nor is an idle reader.
_LOCK_SECONDS = 10
_IDLE_SECONDS = 60
# A server that vanished is noticed within a minute, not after the two hours of a plain TCP connection.
_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}

_NUMERIC = "numeric"
_FAMILIES: dict[str, Family] = {
    "smallint": "integer",
    "integer": "integer",
    "bigint": "integer",
    _NUMERIC: "decimal",
    "real": "float",
    "double precision": "float",
    "boolean": "boolean",
    "date": "date",
    "bytea": "binary",
    "interval": "time",
    "timestamp without time zone": "time",
    "timestamp with time zone": "time",
    "time without time zone": "time",
    "time with time zone": "time",
}
# Superusers have every privilege, so they need no line of their own.
_CAN_WRITE = """
    SELECT EXISTS (
        SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^(pg_|information_schema$)'
        AND (has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
             OR has_any_column_privilege(c.oid, 'INSERT, UPDATE'))
    ) OR EXISTS (
        SELECT FROM pg_namespace WHERE nspname !~ '^pg_' AND has_schema_privilege(oid, 'CREATE')
    ) OR (SELECT rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = current_user)
"""


def read(database: Database, query: TableQuery) -> Iterator[pa.Table]:
    """Yield the rows in batches: a string column a cell.

    Raises DataError when the database fails, CatalogError where its columns are not what the query says.
    """
    parts = query.cells(_quote)
    cut = ", ".join(f"({part}) AS c{index}" for index, part in enumerate(parts))
    cut = f"WITH cut AS (SELECT {cut} FROM {_quote_table(query.table)})"  # noqa: S608  quoted names, checked expressions
    with _reading(database, query.database, query.where) as (connection, cursor):
        try:
            types = _types(cursor, cut, len(parts))
        except Error as error:
            refused = _refused(error, database, query.database, query.where)
            if isinstance(refused, ExpressionError):
                connection.rollback()
                raise _about_the_column(connection, cursor, database, query, parts) or refused from None
            raise refused from None
        for index, found in enumerate(types):
            query.check_type(index, found, _FAMILIES.get(found, "text"))
        cells = ", ".join(_as_text(f"c{index}", found) for index, found in enumerate(types))
        cursor.execute(f"DECLARE cells NO SCROLL CURSOR FOR {cut} SELECT {cells} FROM cut ORDER BY c0")  # noqa: S608  as above
        cursor.adbc_statement.set_options(**{StatementOptions.USE_COPY.value: "false"})
        while True:
            cursor.execute(f"FETCH {BATCH_ROWS} FROM cells")
            batch = cursor.fetch_arrow_table()
            if not batch.num_rows:
                return
            yield batch.cast(pa.schema([(name, pa.string()) for name in batch.column_names]))


def read_day(database: Database, query: str, name: str, where: str) -> date:
    """Run the owner's query for one day.  Raises DataError where it gives anything else."""
    with _reading(database, name, where) as (_, cursor):
        cursor.execute(query)
        rows = cursor.fetchall()
    match rows:
        case [(datetime() as moment,)]:
            return moment.date()
        case [(date() as day,)]:
            return day
    raise refusals.no_day(where)


def can_write(database: Database, name: str, where: str) -> bool:
    """Tell whether the account has a privilege to change anything."""
    with _reading(database, name, where) as (_, cursor):
        cursor.execute(_CAN_WRITE)
        [(found,)] = cursor.fetchall()
    return bool(found)


@contextmanager
def _reading(database: Database, name: str, where: str) -> Iterator[tuple[Connection, Cursor]]:
    """Open a connection and begin a read-only transaction; the database's errors become our refusals."""
    try:
        with dbapi.connect(_with_times(database)) as connection, connection.cursor() as cursor:
            _begin(cursor, database)
            yield connection, cursor
    except Error as error:
        raise _refused(error, database, name, where) from None


def _begin(cursor: Cursor, database: Database) -> None:
    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    for setting, value in {
        "datestyle": "ISO",
        "statement_timeout": f"{database.statement_timeout}s",
        "lock_timeout": f"{_LOCK_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{_IDLE_SECONDS}s",
        "cursor_tuple_fraction": "1",  # we fetch every row
    }.items():
        cursor.execute(f"SET LOCAL {setting} = '{value}'")


def _types(cursor: Cursor, cut: str, cells: int) -> Sequence[str]:
    """PostgreSQL's names of the cells' types."""
    types = ", ".join(f"pg_typeof(c{index})::text" for index in range(cells))
    # The join has one row, whose parts are NULL and have their types, also for an empty table.
    cursor.execute(f"{cut} SELECT {types} FROM (VALUES (1)) AS one LEFT JOIN cut ON false")  # noqa: S608  as above
    [found] = cursor.fetchall()
    return found


def _about_the_column(
    connection: Connection, cursor: Cursor, database: Database, query: TableQuery, parts: Sequence[str]
) -> DataError | ExpressionError | None:
    """The refusal with the catalog's column in it, if one column by itself is refused."""
    for index, part in enumerate(parts):
        try:
            _begin(cursor, database)
            cursor.execute(f"SELECT ({part}) FROM {_quote_table(query.table)} LIMIT 0")  # noqa: S608  as in read
            cursor.fetchall()
        except Error as error:
            said = error.sqlstate or ""
            if said.startswith("42") and said not in _OF_THE_TABLE:
                return _refused(error, database, query.database, query.place(index))
        connection.rollback()
    return None


_OF_THE_TABLE = frozenset({"42P01", "42501"})  # no such table; not permitted


def _as_text(cell: str, found: str) -> str:
    # 12.00 is an integer to its owner: a numeric loses the zeros behind its point, and nothing else.
    return f"trim_scale({cell})::text" if found == _NUMERIC else f"{cell}::text"


def _with_times(database: Database) -> str:
    """The URL with a limit on the time to connect and with keepalives, unless it has them."""
    url = database.url
    for setting, value in {"connect_timeout": database.connect_timeout, **_KEEPALIVE}.items():
        if f"{setting}=" not in url:
            url = f"{url}{'&' if '?' in url else '?'}{setting}={value}"
    return url


def _refused(error: Error, database: Database, name: str, where: str) -> DataError | ExpressionError:
    """Our words for the database's error; SQLSTATEs as in PostgreSQL's appendix A."""
    code = error.sqlstate or ""
    if code == "57014":
        return refusals.too_slow(name, where, database.statement_timeout)
    if code == "55P03":
        return refusals.locked(name, where)
    match code[:2]:
        case "42":  # the message quotes the catalog's SQL, there is no row yet
            said = re.search(r"ERROR: +([^\n]*)", str(error))
            return refusals.query_refused(name, where, said[1] if said else f"SQLSTATE {code}")
        case "22":
            return refusals.row_fails(name, where, f"SQLSTATE {code}")
        case "" | "08" | "28" | "3D" | "57":
            return refusals.unreachable(name, where)
        case _:
            return refusals.cannot_answer(name, where, f"SQLSTATE {code}")


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _quote_table(name: str) -> str:
    """A table's name, or ``schema.table``."""
    return ".".join(map(_quote, name.split(".", 1)))
