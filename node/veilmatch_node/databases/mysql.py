"""MariaDB and MySQL through PyMySQL: an unbuffered result, cells as the server writes them.

No cell is decoded to a number or a date, so a decimal keeps its digits and 0000-00-00 its spelling
(columns.py finds it no date).  These servers make a warning, and 0, of what other databases refuse
('abc' as a number): warnings of the reading refuse it here.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pymysql
from pymysql.connections import Connection
from pymysql.constants import FIELD_TYPE
from pymysql.converters import encoders
from pymysql.cursors import SSCursor

from veilmatch_node.cells import BATCH_ROWS
from veilmatch_node.databases import refusals
from veilmatch_node.databases.mysql_url import UrlError, connect_arguments
from veilmatch_node.databases.query import Family, TableQuery
from veilmatch_node.databases.settings import Database
from veilmatch_node.errors import DataError, ExpressionError

_LOCK_SECONDS = 10  # a schema change that waits for us, or that we wait for
_IDLE_SECONDS = 60
# Expressions are checked as they read under these modes: "..." is a text, a backslash escapes.
_SQL_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"

_TYPES: dict[int, tuple[str, Family]] = {
    FIELD_TYPE.TINY: ("tinyint", "integer"),
    FIELD_TYPE.SHORT: ("smallint", "integer"),
    FIELD_TYPE.INT24: ("mediumint", "integer"),
    FIELD_TYPE.LONG: ("int", "integer"),
    FIELD_TYPE.LONGLONG: ("bigint", "integer"),
    FIELD_TYPE.YEAR: ("year", "integer"),
    FIELD_TYPE.DECIMAL: ("decimal", "decimal"),
    FIELD_TYPE.NEWDECIMAL: ("decimal", "decimal"),
    FIELD_TYPE.FLOAT: ("float", "float"),
    FIELD_TYPE.DOUBLE: ("double", "float"),
    FIELD_TYPE.DATE: ("date", "date"),
    FIELD_TYPE.NEWDATE: ("date", "date"),
    FIELD_TYPE.DATETIME: ("datetime", "time"),
    FIELD_TYPE.TIMESTAMP: ("timestamp", "time"),
    FIELD_TYPE.TIME: ("time", "time"),
    FIELD_TYPE.BIT: ("bit", "binary"),
    FIELD_TYPE.GEOMETRY: ("geometry", "binary"),
}
_TEXT: tuple[str, Family] = ("text", "text")

# Errors by number (both servers' manuals); there is no row yet where a name or the syntax is refused.
_NAMES = frozenset({1054, 1064, 1128, 1142, 1143, 1146, 1305, 1356, 1370, 1582, 1583, 1584, 1630})
_OF_THE_TABLE = frozenset({1142, 1146, 1356})
_AWAY = frozenset(
    {1040, 1044, 1045, 1049, 1053, 1129, 1130, 1152, 1153, 1158, 1159, 1160, 1161, 1226, 1698, 1927}
)
_ON_A_ROW = frozenset({1264, 1265, 1292, 1365, 1366, 1411, 1441, 1690, 3140, 3141, 4038})
_TOO_SLOW = frozenset({1317, 1969, 3024})
_LOCKED = 1205
_FIRST_OF_CLIENT, _LAST_OF_CLIENT = 2000, 2999  # the client's own: no connection, or a lost one

# Privileges that change nothing.
_READING = frozenset(
    {"USAGE", "SELECT", "SHOW VIEW", "SHOW DATABASES", "PROCESS", "REPLICATION CLIENT", "BINLOG MONITOR",
     "SLAVE MONITOR"}
)  # fmt: skip


def read(database: Database, query: TableQuery) -> Iterator[pa.Table]:
    """Yield the rows in batches: a string column a cell.

    Raises DataError when the database fails, CatalogError where its columns are not what the query says.
    """
    parts = query.cells(_quote)
    cells = ", ".join(f"{part} AS c{index}" for index, part in enumerate(parts))
    table = _quote_table(query.table)
    with _reading(database, query.database, query.where) as (connection, cursor):
        try:
            cursor.execute(f"SELECT {cells} FROM {table} ORDER BY c0")  # noqa: S608  quoted names, checked expressions
        except pymysql.Error as error:
            if _number(error) in _NAMES - _OF_THE_TABLE:
                _about_the_column(cursor, database, query, parts)
            raise
        fields = cursor.description
        for index, (_, type_code, *_) in enumerate(fields):
            query.check_type(index, *_TYPES.get(type_code, _TEXT))
        decimal = [type_code in {FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL} for _, type_code, *_ in fields]
        while rows := cursor.fetchmany(BATCH_ROWS):
            columns = [
                _text(values, query, index, decimal[index])
                for index, values in enumerate(zip(*rows, strict=True))
            ]
            yield pa.table({f"c{index}": column for index, column in enumerate(columns)})
        _refuse_warnings(connection, query.database, query.where)


def read_day(database: Database, query: str, name: str, where: str) -> date:
    """Run the owner's query for one day.  Raises DataError where it gives anything else."""
    with _reading(database, name, where) as (_, cursor):
        cursor.execute(query)
        rows = cursor.fetchall()
    match rows:
        case [(str() as day,)]:
            try:
                return date.fromisoformat(day.partition(" ")[0])
            except ValueError:
                pass
    raise refusals.no_day(where)


def can_write(database: Database, name: str, where: str) -> bool:
    """Tell whether the account has a privilege to change anything."""
    with _reading(database, name, where) as (_, cursor):
        cursor.execute("SHOW GRANTS")
        grants = [grant for (grant,) in cursor.fetchall()]
    # GRANT SELECT (id, wage), SHOW VIEW ON ...; a role's grant has no ON, its privileges follow.
    found = (re.match(r"GRANT (.+?) ON ", re.sub(r" \([^)]*\)", "", grant)) for grant in grants)
    return any(not _READING.issuperset(match[1].upper().split(", ")) for match in found if match)


@contextmanager
def _reading(database: Database, name: str, where: str) -> Iterator[tuple[Connection, SSCursor]]:
    """Open a connection and begin a read-only transaction; the database's errors become our refusals."""
    try:
        with _connect(database) as connection, connection.cursor() as cursor:
            _begin(connection, cursor, database)
            yield connection, cursor
    except pymysql.Error as error:
        raise _refused(error, database, name, where) from None
    except UrlError as error:
        raise DataError(
            where, f"the URL of the database '{name}' cannot be used", "correct it", detail=str(error)
        ) from None
    except UnicodeDecodeError:
        raise refusals.cannot_answer(name, where, "text that is not UTF-8") from None


def _connect(database: Database) -> Connection:
    return pymysql.connect(
        **connect_arguments(database.url),
        charset="utf8mb4",
        conv=encoders,  # no decoders: every cell stays the server's text
        cursorclass=SSCursor,
        connect_timeout=database.connect_timeout,
        # A server that vanished; one that is only slow ends the statement itself.
        read_timeout=database.statement_timeout + database.connect_timeout,
        write_timeout=database.connect_timeout,
        program_name="veilmatch",
    )


def _begin(connection: Connection, cursor: SSCursor, database: Database) -> None:
    seconds = database.statement_timeout
    limit = (
        f"max_statement_time = {seconds}"
        if "mariadb" in connection.get_server_info().lower()
        else f"max_execution_time = {seconds * 1000}"
    )
    cursor.execute(
        f"SET SESSION sql_mode = '{_SQL_MODE}', sql_notes = 0, lock_wait_timeout = {_LOCK_SECONDS}, "
        f"wait_timeout = {_IDLE_SECONDS}, net_write_timeout = {seconds}, {limit}"
    )
    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    cursor.execute("START TRANSACTION READ ONLY")


def _text(values: Sequence[str | None], query: TableQuery, index: int, decimal: bool) -> pa.Array:
    """One cell of every row, as text; a decimal without the zeros behind its point, as in postgresql.py."""
    column = pa.array(values)
    if pa.types.is_binary(column.type):  # PyMySQL gives bytes where a text has no character set
        query.check_type(index, "binary", "binary")
    column = column.cast(pa.string())
    if not decimal:
        return column
    with_point = pc.match_substring(column, ".")
    return pc.if_else(with_point, pc.replace_substring_regex(column, r"\.?0+$", ""), column)


def _refuse_warnings(connection: Connection, name: str, where: str) -> None:
    """Refuse what was read where the server had to guess for a row."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW WARNINGS")
        found = cursor.fetchall()
    if found:
        _, number, _ = found[0]
        raise refusals.row_fails(name, where, f"warning {number}")


def _about_the_column(cursor: SSCursor, database: Database, query: TableQuery, parts: Sequence[str]) -> None:
    """Raise the refusal with the catalog's column in it, if one column by itself is refused."""
    for index, part in enumerate(parts):
        try:
            cursor.execute(f"SELECT {part} FROM {_quote_table(query.table)} LIMIT 0")  # noqa: S608  as in read
            cursor.fetchall()
        except pymysql.Error as error:
            raise _refused(error, database, query.database, query.place(index)) from None


def _number(error: pymysql.Error) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def _refused(error: pymysql.Error, database: Database, name: str, where: str) -> DataError | ExpressionError:
    """Our words for the database's error."""
    number = _number(error)
    if number in _NAMES:
        said = str(error.args[1]).partition("\n")[0] if len(error.args) > 1 else f"error {number}"
        return refusals.query_refused(name, where, said)
    if number in _ON_A_ROW:
        return refusals.row_fails(name, where, f"error {number}")
    if number in _TOO_SLOW:
        return refusals.too_slow(name, where, database.statement_timeout)
    if number == _LOCKED:
        return refusals.locked(name, where)
    if number == 0 or number in _AWAY or _FIRST_OF_CLIENT <= number <= _LAST_OF_CLIENT:
        return refusals.unreachable(name, where)
    return refusals.cannot_answer(name, where, f"error {number}")


def _quote(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _quote_table(name: str) -> str:
    """A table's name, or ``database.table``."""
    return ".".join(map(_quote, name.split(".", 1)))
