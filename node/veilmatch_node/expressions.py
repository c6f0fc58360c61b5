"""The owner's own SQL for a column: one scalar expression over the table's own columns.

The owner signs the catalog and means no harm; the checks here keep an expression from being more
than it looks: a second statement, another table, a file, the clock.  The text that passes is run
as it was written; sqlglot only reads it.
"""

from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Literal

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.dialects.dialect import Dialect

from veilmatch_policy.errors import CatalogError

SqlDialect = Literal["duckdb", "postgres", "mysql"]  # as sqlglot calls them

_PARAMETER = "reference_date"

# What an expression may not hold, and what it is called in a refusal.
_REFUSED: tuple[tuple[tuple[type[exp.Expr], ...], str], ...] = (
    ((exp.Query, exp.Table), "a subquery"),
    ((exp.Window,), "a window function"),
    ((exp.AggFunc,), "an aggregate"),
    ((exp.UDTF, exp.Explode, exp.GenerateSeries, exp.ReadCSV, exp.ReadParquet), "a table function"),
    ((exp.Star,), "a star"),
    (
        (
            exp.CurrentDate,
            exp.CurrentTime,
            exp.CurrentTimestamp,
            exp.Localtime,
            exp.Localtimestamp,
            exp.UtcDate,
            exp.UtcTime,
            exp.UtcTimestamp,
        ),
        "the clock",
    ),
    (
        (exp.Placeholder, exp.Parameter, exp.SessionParameter, exp.PropertyEQ),
        "a parameter other than :reference_date",
    ),
)

# The same by name, of MariaDB's and MySQL's functions that sqlglot has no class for.
_REFUSED_NAMES = {
    "now": "the clock",
    "sysdate": "the clock",
    "unix_timestamp": "the clock",
    "load_file": "a file",
}


@dataclass(frozen=True, slots=True)
class OwnExpression:
    """``sql``: the owner's text with the reference date filled in; ``columns``: those it reads."""

    sql: str
    columns: tuple[str, ...]


def own_expression(text: str, *, dialect: SqlDialect, reference_date: date, where: str) -> OwnExpression:
    """Check that ``text`` is one scalar expression; raises CatalogError naming what it holds instead."""
    try:
        sql = _fill_in(text, dialect, reference_date)
        trees = sqlglot.parse(sql, read=dialect)
    except sqlglot.errors.SqlglotError as error:
        raise CatalogError(where, "the expression is not SQL", f"write it as {dialect} reads it") from error
    if len(trees) != 1 or not isinstance(tree := trees[0], exp.Condition):
        raise CatalogError(where, "this is not one expression", "write what could stand behind SELECT, once")
    for kinds, called in _REFUSED:
        if next(tree.find_all(*kinds), None) is not None:
            raise CatalogError(
                where,
                f"the expression holds {called}",
                "use only the columns of its own row and :reference_date",
            )
    if dialect == "mysql":
        _refuse_what_only_mysql_reads(sql, tree, where)
    columns = list(tree.find_all(exp.Column))
    if any(column.table for column in columns):
        raise CatalogError(where, "the expression names a table", "write the columns without their table")
    return OwnExpression(sql, tuple(dict.fromkeys(column.name for column in columns)))


def quoted_name(name: str, dialect: SqlDialect) -> str:
    """A column's name as the dialect quotes it."""
    return exp.to_identifier(name, quoted=True).sql(dialect=dialect)


def as_text(sql: str, dialect: SqlDialect) -> str:
    """An expression's value as text."""
    return f"CAST(({sql}) AS {'CHAR' if dialect == 'mysql' else 'VARCHAR'})"


def _refuse_what_only_mysql_reads(sql: str, tree: exp.Expr, where: str) -> None:
    # /*! ... */ is a comment to sqlglot and SQL to the servers.
    if any(token.comments for token in Dialect.get_or_raise("mysql").tokenize(sql)):
        raise CatalogError(where, "the expression holds a comment", "say what it means in the column's means")
    for function in tree.find_all(exp.Anonymous):
        called = _REFUSED_NAMES.get(function.name.lower())
        if called is not None:
            raise CatalogError(
                where,
                f"the expression holds {called}",
                "use only the columns of its own row and :reference_date",
            )


def _fill_in(text: str, dialect: SqlDialect, reference_date: date) -> str:
    """``:reference_date`` as a literal; by tokens, so that a string that spells it stays."""
    tokens = Dialect.get_or_raise(dialect).tokenize(text)
    literal = f"DATE '{reference_date.isoformat()}'"
    for colon, name in reversed(list(pairwise(tokens))):
        if colon.token_type is TokenType.COLON and name.text == _PARAMETER and name.start == colon.end + 1:
            text = text[: colon.start] + literal + text[name.end + 1 :]
    return text
