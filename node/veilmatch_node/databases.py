"""Tables of a department's own PostgreSQL, read as text cells through ADBC and Arrow.

The database runs one query for us, in one read-only transaction: the identifier and the owner's own
expressions (policies.md: the only thing that it ever runs).  Conditions never reach it.  No message
holds a cell, the URL or the database's own words, which quote cells.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime

import numpy as np
import pyarrow as pa
from adbc_driver_manager import Error as DatabaseError
from adbc_driver_postgresql import dbapi

from veilmatch_node.cells import Cells
from veilmatch_node.errors import DataError, ExpressionError
from veilmatch_node.expressions import OwnExpression
from veilmatch_policy.catalog import Column, DatabaseSource
from veilmatch_policy.errors import CatalogError

_IDENTIFIER = ":id"  # no catalog's column is called this
_SCHEMES = ("postgresql://", "postgres://")
_CONNECT_SECONDS = 10
_NUMERIC = "numeric"
_INEXACT = frozenset({"real", "double precision"})


def read_table(
    url: str | None,
    source: DatabaseSource,
    identifier: str,
    columns: Sequence[Column],
    expressions: Mapping[str, OwnExpression],
    *,
    where: str,
) -> Cells:
    """Read the column ``identifier`` and ``columns`` of the source's table at ``url``, as text.

    The cells' columns have the catalog's names; ``expressions``, by column, are evaluated by the
    database.  Rows are numbered in the order of the identifier column.  Raises DataError when the
    database cannot be reached or fails, CatalogError when a column is floating point.
    """
    name = source.database
    if url is None:
        raise DataError(
            where, f"the node does not know the database '{name}'", "name it in the node's configuration"
        )
    if not url.startswith(_SCHEMES):
        raise DataError(
            where, f"the database '{name}' is not PostgreSQL", "give a postgresql:// URL or export a file"
        )
    parts = [_quote(identifier), *(_source(column, expressions) for column in columns)]
    cut = ", ".join(f"(\n{part}\n) AS c{index}" for index, part in enumerate(parts))
    cut = f"WITH cut AS (SELECT {cut} FROM {_quote_table(source.table)})"  # noqa: S608  quoted names, checked expressions
    try:
        with dbapi.connect(_with_timeout(url)) as connection, connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SET LOCAL datestyle = 'ISO'")
            types = ", ".join(f"pg_typeof(c{index})::text" for index in range(len(parts)))
            # The join has one row, whose parts are NULL and have their types, also for an empty table.
            cursor.execute(f"{cut} SELECT {types} FROM (VALUES (1)) AS one LEFT JOIN cut ON false")  # noqa: S608  as above
            [found] = cursor.fetchall()
            for column, found_type in zip(columns, found[1:], strict=True):
                if found_type in _INEXACT:
                    raise CatalogError(
                        f"{where}.{column.name}",
                        f"the column is {found_type}, which is not exact",
                        "give it an expression that casts what it is made of to numeric",
                    )
            cells = ", ".join(_as_text(f"c{index}", found_type) for index, found_type in enumerate(found))
            cursor.execute(f"{cut} SELECT {cells} FROM cut ORDER BY c0")  # noqa: S608  as above
            read = cursor.fetch_arrow_table()
    except DatabaseError as error:
        raise _refused(error, name, where) from None
    names = [_IDENTIFIER, *(column.name for column in columns)]
    return Cells(
        pa.table(dict(zip(names, [column.cast(pa.string()) for column in read.columns], strict=True))),
        _IDENTIFIER,
        np.arange(1, read.num_rows + 1),
    )


def read_day(url: str | None, name: str, query: str, *, where: str) -> date:
    """Run the owner's own query for the day that a table describes.

    Raises DataError when the database cannot be reached or gives no single day.
    """
    if url is None:
        raise DataError(
            where, f"the node does not know the database '{name}'", "name it in the node's configuration"
        )
    try:
        with dbapi.connect(_with_timeout(url)) as connection, connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute(query)
            rows = cursor.fetchall()
    except DatabaseError as error:
        raise _refused(error, name, where) from None
    match rows:
        case [(datetime() as moment,)]:
            return moment.date()
        case [(date() as day,)]:
            return day
    raise DataError(where, "as_of.query gives no single day", "let it select one date")


def _source(column: Column, expressions: Mapping[str, OwnExpression]) -> str:
    own = expressions.get(column.name)
    return own.sql if own else _quote(column.name)


def _as_text(cell: str, found_type: str) -> str:
    # 12.00 is an integer to its owner: a numeric loses the zeros behind its point, and nothing else.
    return f"trim_scale({cell})::text" if found_type == _NUMERIC else f"{cell}::text"


def _with_timeout(url: str) -> str:
    """The URL with a limit on the time to connect, unless it has one."""
    if "connect_timeout=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}connect_timeout={_CONNECT_SECONDS}"


def _refused(error: DatabaseError, name: str, where: str) -> DataError | CatalogError:
    """Our words for the database's error; SQLSTATE classes as in PostgreSQL's appendix A."""
    match (error.sqlstate or "")[:2]:
        case "42":  # syntax and names: the message quotes the catalog's SQL, there is no row yet
            said = re.search(r"ERROR: +([^\n]*)", str(error))
            return ExpressionError(
                where,
                f"the database '{name}' refuses the query",
                "correct the catalog's table, columns and expressions",
                detail=said[1] if said else f"SQLSTATE {error.sqlstate}",
            )
        case "22":  # data
            return DataError(
                where,
                f"an expression fails on a row in the database '{name}'",
                "let the expression give NULL where it cannot give a value",
                detail=f"SQLSTATE {error.sqlstate}",
            )
        case "" | "08" | "28" | "3D" | "57":
            return DataError(
                where,
                f"the database '{name}' cannot be reached",
                "check its URL, its account and that it runs",
            )
        case _:
            return DataError(
                where,
                f"the database '{name}' cannot answer",
                "look into its log",
                detail=f"SQLSTATE {error.sqlstate}",
            )


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _quote_table(name: str) -> str:
    """A table's name, or ``schema.table``."""
    return ".".join(map(_quote, name.split(".", 1)))
