"""What an expression says of each person, or of each household, in the node's embedded DuckDB.

One query an expression: each table is reduced to one row a person (by the expression's aggregates
where it has many), the reduced tables are joined to the persons' numbers, and the expression is
computed over that; where it reads a single table, over its rows and once for somebody without any.
Logic is SQL's, with NULL for what is missing and has no default in the catalog;
so an aggregate passes over an empty cell without a default.  For an expression of households the
households stand in the persons' place, and aggregates range over the rows of all their members; a
member without a row in a table adds nothing to what is aggregated there.

The tables are the node's: for a catalog's table T a DuckDB table ``t_T`` with ``person INTEGER``
(0 <= person < people; at most one row each where the catalog says ``rows: one``), ``unreadable BOOLEAN``
(a cell of the row could not be read) and the catalog's columns, NULL where a cell is empty.  Numbers are
within their column's range, or its type's; dates within the years 1 to 9999.  For expressions of households
also a table ``members`` with ``person INTEGER``, each at most once, and ``household INTEGER`` from 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TypeVar

import duckdb
import numpy as np
from sqlglot import exp

from veilmatch_policy.sql_types import DATE, INTEGER, cast, literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    import pyarrow as pa
    from numpy.typing import NDArray

    from veilmatch_policy.catalog import Column, Table
    from veilmatch_policy.column_types import CellValue
    from veilmatch_policy.expression import Expression
    from veilmatch_policy.sql_scope import Grain

_Scalar = TypeVar("_Scalar", bound=np.generic)


class EvaluationError(Exception):
    """A defect: an expression that was bound could not be computed.

    Not a PolicyError, whose text a node tells the coordinator.  Nothing in a department's data leads
    here: sql_binder.py refuses what could overflow, and the loader keeps the module's description.
    """


def truth(
    connection: duckdb.DuckDBPyConnection,
    expression: Expression,
    *,
    people: int,
    reference_date: date,
    unknown: bool,
) -> NDArray[np.bool_]:
    """Whether a condition holds, for every person at once.

    Returns shape (people + 1,): entry i is person i's answer, the last that of a person without any
    row.  ``unknown`` is the answer where the condition is neither true nor false.  Whoever has an
    unreadable row in a table that the condition reads fails it, whatever it says.  For a condition of
    households ``people`` is their number, entry i is household i's answer, the last that of a household
    without any member that is known; one member's unreadable row fails all.  Raises
    EvaluationError where the tables are not what the module describes, or DuckDB fails.
    """
    answer = exp.and_(
        exp.func("coalesce", exp.column("value"), exp.Boolean(this=unknown)), exp.column("readable")
    )
    found = _run(connection, expression, [exp.alias_(answer, "answer")], people, reference_date)
    return _by_person(found, found["answer"].to_numpy(), people)


@dataclass(frozen=True)
class Amounts:
    """An amount of every person and of somebody without any row, or of every household likewise.

    ``values`` (int64, shape (people + 1,)) are in units of 10**-``scale``, and 0 where ``known``, of that shape,
    is false; ``readable`` is false for whoever has an unreadable row in a table that was read.
    """

    values: NDArray[np.int64] = field(repr=False)
    known: NDArray[np.bool_] = field(repr=False)
    readable: NDArray[np.bool_] = field(repr=False)
    scale: int

    def at(self, places: NDArray[np.integer]) -> Self:
        """The amounts at these places, in their order and as often as they occur."""
        return type(self)(self.values[places], self.known[places], self.readable[places], self.scale)


def amounts(
    connection: duckdb.DuckDBPyConnection, expression: Expression, *, people: int, reference_date: date
) -> Amounts:
    """An amount, for every person at once; the arguments are those of `truth`.

    One that does not fit into 64 bits (never where ``expression.largest`` says that all do) is not known: a
    refusal would tell how large it is.  Raises EvaluationError as `truth` does.
    """
    shown = [exp.column("value"), exp.column("readable")]
    found = _run(connection, expression, shown, people, reference_date)
    # A DECIMAL(38, scale) is a 128-bit number of units, in two's complement; NULL leaves any bits.
    decimals = found["value"].combine_chunks().fill_null(0)
    units = np.frombuffer(decimals.buffers()[1], np.dtype("<i8"), count=2 * len(decimals)).reshape(-1, 2)
    low, high = units.T
    fits = high == low >> 63
    return Amounts(
        values=_by_person(found, np.where(fits, low, 0), people),
        known=_by_person(found, fits & found["value"].is_valid().to_numpy(), people),
        readable=_by_person(found, found["readable"].to_numpy(), people),
        scale=expression.type.scale,
    )


def _run(
    connection: duckdb.DuckDBPyConnection,
    expression: Expression,
    shown: Sequence[exp.Expr],
    people: int,
    reference_date: date,
) -> pa.Table:
    """``person`` and what is shown of the expression's values: the persons, each at most once, and a stranger.

    Who is not among them has no row, as the stranger, whose number is ``people``.
    """
    if len(expression.tables) == 1:
        # No join: it would take memory for every row, and most of the time.
        rows = _values(expression, reference_date, persons=None)
        stranger = _values(expression, reference_date, persons=_persons(people, people + 1))
        values: exp.Query = exp.union(rows, stranger, distinct=False)
    else:
        values = person_values(expression, people=people, reference_date=reference_date)
    query = exp.select("person", *shown).from_(values.subquery())
    try:
        found = connection.sql(query.sql(dialect="duckdb")).to_arrow_table()
    except duckdb.Error as error:
        # DuckDB's message quotes values: it is neither passed on nor chained.
        raise EvaluationError(f"{expression.where}: {type(error).__name__}") from None
    times = np.bincount(found["person"].to_numpy(), minlength=people + 1)
    if len(times) != people + 1 or times.max() > 1:
        raise EvaluationError(f"{expression.where}: the tables are not one row a person")
    return found


def _by_person(found: pa.Table, values: NDArray[_Scalar], people: int) -> NDArray[_Scalar]:
    """A column of what was found, in the order of the persons' numbers, then the stranger's."""
    persons = found["person"].to_numpy()
    [stranger] = values[persons == people]
    ordered = np.full(people + 1, stranger)
    ordered[persons] = values
    return ordered


def person_values(expression: Expression, *, people: int, reference_date: date) -> exp.Select:
    """The query for an expression's value: ``person`` (0 to ``people`` inclusive), ``value``, ``readable``.

    ``value`` is NULL where it is unknown; a number is a DECIMAL(38, the expression's scale).  ``readable``
    is false for a person with an unreadable row in a table that the expression reads.  For an expression
    of households a household's number stands under ``person``.
    """
    return _values(expression, reference_date, persons=_persons(0, people + 1))


def _values(expression: Expression, reference_date: date, *, persons: exp.Expr | None) -> exp.Select:
    """The same for other ``persons``, as a table ``p``; None: those in the expression's only table."""
    value = exp.paren(expression.tree)  # a copy, and a parent for whatever is replaced below
    columns = {column.name: column for column in expression.columns}
    reductions = {
        table.name: _Reduction(table, f"t{i}", expression.scope) for i, table in enumerate(expression.tables)
    }

    for call in list(value.find_all(exp.Anonymous)):
        call.replace(_completed(call, reference_date))
    for aggregate in list(value.find_all(exp.AggFunc)):
        inside = list(aggregate.find_all(exp.Column))
        aggregate.replace(reductions[inside[0].table].aggregate(aggregate, columns))
    for column in list(value.find_all(exp.Column)):
        if reduction := reductions.get(column.table):
            column.replace(reduction.cell(columns[column.name]))

    if persons is None:
        [only] = reductions.values()
        query = exp.select(exp.column("person", table=only.alias)).from_(only.query())
    else:
        query = exp.select("p.person").from_(persons)
        for reduction in reductions.values():
            query = query.join(reduction.query(), on=f"p.person = {reduction.alias}.person", join_type="left")
    readable = exp.and_(exp.true(), *(reduction.readable() for reduction in reductions.values()))
    return query.select(exp.alias_(value, "value"), exp.alias_(readable, "readable"))


class _Reduction:
    """A table as one row a person or household: what the expression needs of it, under names of our own."""

    def __init__(self, table: Table, alias: str, scope: Grain) -> None:
        self.alias = alias
        self._table = table
        self._scope = scope
        self._outputs: list[exp.Expr] = []

    def cell(self, column: Column) -> exp.Expr:
        """A column of a table with one row a person, as the outer query sees it."""
        default = column.missing.no_row
        return self._output(
            _filled(column), without_row=None if default is None else literal(default, column.type)
        )

    def aggregate(self, aggregate: exp.AggFunc, columns: Mapping[str, Column]) -> exp.Expr:
        """An aggregate over a person's or household's rows, as the outer query sees it."""
        used = [columns[column.name] for column in aggregate.find_all(exp.Column) if column.name in columns]
        filled = _substitute(aggregate, {column.name: _filled(column) for column in used})
        if isinstance(aggregate, exp.Count):
            counted = exp.Count(this=exp.Star()) if isinstance(aggregate.this.this, exp.Star) else filled
            return self._output(cast(counted, INTEGER), without_row=literal(0, INTEGER))
        if isinstance(aggregate, exp.Sum):
            return self._output(filled, without_row=exp.Cast(this=exp.Literal.string("0"), to=aggregate.type))
        defaults = {
            column.name: literal(column.missing.no_row, column.type)
            for column in used
            if column.missing.no_row is not None
        }
        known = len(defaults) == len({column.name for column in used})
        return self._output(filled, without_row=_substitute(aggregate, defaults).this if known else None)

    def readable(self) -> exp.Expr:
        """Whether the person or household has no unreadable row in this table."""
        return exp.not_(exp.func("coalesce", exp.column("unreadable", table=self.alias), exp.false()))

    def query(self) -> exp.Subquery:
        """The table's reduction, one row a person or household."""
        source = exp.alias_(exp.table_(f"t_{self._table.name}", quoted=True), "s")
        person: exp.Expr = exp.column("person", table="s")
        unreadable: exp.Expr = exp.column("unreadable", table="s")
        if self._scope == "household":
            whose: exp.Expr = exp.column("household", table="m")
            members = exp.alias_(exp.table_("members"), "m")
            select = exp.select(exp.alias_(whose, "person")).from_(source)
            select = select.join(members, on=person.eq(exp.column("person", table="m")))
        else:
            whose = person
            select = exp.select(whose).from_(source)
        if self._scope == "household" or self._table.rows == "many":
            unreadable = exp.LogicalOr(this=unreadable)
            select = select.group_by(whose)
        return select.select(exp.alias_(unreadable, "unreadable"), *self._outputs).subquery(self.alias)

    def _output(self, sql: exp.Expr, *, without_row: exp.Expr | None) -> exp.Expr:
        name = f"v{len(self._outputs)}"
        self._outputs.append(exp.alias_(sql, name))
        seen = exp.column(name, table=self.alias)
        if without_row is None:
            return seen  # the join leaves NULL
        no_row = exp.column("person", table=self.alias).is_(exp.null())
        return exp.Case(ifs=[exp.If(this=no_row, true=without_row)], default=seen)


def _persons(start: int, end: int) -> exp.Expr:
    """The persons' numbers from ``start`` up to ``end`` as a table ``p(person)``."""
    bounds = [exp.Literal.number(start), exp.Literal.number(end)]
    numbers = exp.Table(this=exp.Anonymous(this="range", expressions=bounds))
    return exp.alias_(numbers, "p", table=["person"])


def _filled(column: Column) -> exp.Expr:
    """A cell with its default for an empty value; numbers become DECIMAL(38, scale) here."""
    cell: exp.Expr = exp.column(column.name, table="s", quoted=True)
    if column.type.numeric:
        cell = cast(cell, column.type)
    default: CellValue | None = column.missing.no_value
    return cell if default is None else exp.func("coalesce", cell, literal(default, column.type))


def _substitute(sql: exp.Expr, columns: Mapping[str, exp.Expr]) -> exp.Expr:
    return sql.transform(
        lambda node: (
            columns[node.name].copy() if isinstance(node, exp.Column) and node.name in columns else node
        )
    )


def _completed(call: exp.Anonymous, reference_date: date) -> exp.Expr:
    """Completed years, or days, from a date to the reference date; negative from a later one.

    Somebody born on 29 February completes a year on 28 February (DuckDB's date_sub).
    """
    function, unit = {"years": ("date_sub", "year"), "days": ("date_diff", "day")}[call.name]
    until = literal(reference_date, DATE)
    counted = exp.Anonymous(this=function, expressions=[exp.Literal.string(unit), call.expressions[0], until])
    return cast(counted, INTEGER)
