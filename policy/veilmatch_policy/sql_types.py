"""Types and values of the SQL subset, as DuckDB gets them.

Every number is a DECIMAL(38, scale) from the column to the result, an integer one of scale 0.  DuckDB then
adds and multiplies in 128-bit integers; where it may choose a common type itself it rounds (two DECIMALs
of 38 digits) or turns to floating point (a HUGEINT, and a decimal).

An overflow would fail the query, and so tell whoever wrote it that a person with such a value exists.  So
there is none: sql_binder.py knows how large every part can become before it sees any data.  Magnitudes are
in units of the last digit, the integers that DuckDB's DECIMALs are: 12.50 is 1250 of scale 2.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from sqlglot import exp

from veilmatch_policy.column_types import LARGEST_PRECISION, CellValue, ColumnType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from veilmatch_policy.catalog import Column

INTEGER = ColumnType("integer")
TEXT = ColumnType("text")
BOOLEAN = ColumnType("boolean")
DATE = ColumnType("date")

# What is left of 38 digits beside the 19 of a 64-bit integer: an integer column can meet any number.
FINEST_SCALE = LARGEST_PRECISION - 19

# What bounds the numbers that no column or constant does.
MOST_ROWS = 10**10  # of one person in one table
LONGEST = {"years": date.max.year - date.min.year, "days": (date.max - date.min).days}


class Part(NamedTuple):
    """A bound part of an expression.

    ``largest`` is how far from 0 it can be, in units of its type's last digit; ``declared`` says that
    this rests on columns' declared ranges alone, not on how many digits a type has or how many rows
    there could be.  ``optional`` says that it can be NULL; where that is not plain to see, it is so.
    """

    sql: exp.Expr
    type: ColumnType
    largest: int = 0
    declared: bool = True
    optional: bool = False


def part_of(parts: Sequence[Part], sql: exp.Expr, result: ColumnType = BOOLEAN, largest: int = 0) -> Part:
    """A part that is computed from all of these: NULL where one of them is."""
    return Part(
        sql,
        result,
        largest,
        declared=all(part.declared for part in parts),
        optional=any(part.optional for part in parts),
    )


def number_of_scale(scale: int, *, whole: bool = False) -> ColumnType:
    """The type of a number with that many digits behind the point; ``whole``: scale 0, an integer."""
    return INTEGER if whole else ColumnType("decimal", scale)


def common_type(left: ColumnType, right: ColumnType) -> ColumnType | None:
    """The type that holds values of both exactly; None where they cannot be compared."""
    if left.numeric and right.numeric:
        return number_of_scale(max(left.scale, right.scale), whole=left == right == INTEGER)
    return left if left == right else None


def type_of(value: CellValue) -> ColumnType:
    """The type of a literal or parameter: a Decimal has the scale that it is written with."""
    match value:
        case bool():
            return BOOLEAN
        case int():
            return INTEGER
        case str():
            return TEXT
        case date():
            return DATE
        case Decimal():
            exponent = value.as_tuple().exponent
            if not isinstance(exponent, int):
                raise ValueError("a number that is not finite")  # noqa: TRY004  its type is right
            return ColumnType("decimal", -exponent) if exponent < 0 else INTEGER


def magnitude(value: CellValue, scale: int) -> int:
    """How far a value is from 0, in units of the last of ``scale`` digits; 0 for other than numbers."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return 0
    # Not Decimal's own arithmetic, which rounds to its context's 28 digits.
    return int(abs(Fraction(value)) * 10**scale)


def largest(column: Column) -> int:
    """How far from 0 a column can be as a condition sees it: by its range, else its type, and its defaults.

    The node's reader lets no cell pass beyond either.
    """
    scale = column.type.scale
    cells = [magnitude(end, scale) for end in column.range] if column.range else [column.type.largest]
    defaults = (column.missing.no_row, column.missing.no_value)
    return max(*cells, *(magnitude(default, scale) for default in defaults if default is not None), 0)


def literal(value: CellValue, column_type: ColumnType) -> exp.Expr:
    """A constant of that type.

    Numbers are cast from text: DuckDB would read a numeral of more than 38 digits as a floating-point number.
    """
    match value:
        case bool():
            return exp.Boolean(this=value)
        case int():
            return cast(exp.Literal.string(str(value)), column_type)
        case Decimal():
            return cast(exp.Literal.string(f"{value:f}"), column_type)
        case str():
            return exp.Literal.string(value)
        case date():
            return cast(exp.Literal.string(value.isoformat()), column_type)


def cast(sql: exp.Expr, column_type: ColumnType) -> exp.Cast:
    """Convert to a type; `exp.cast` would leave a DECIMAL of another scale as it is."""
    return exp.Cast(this=sql, to=sql_type(column_type))


def convert(sql: exp.Expr, source: ColumnType, target: ColumnType) -> exp.Expr:
    """The same number with more digits behind the point; anything else as it is.

    Nothing is left to DuckDB here: DECIMAL(38, 0) and DECIMAL(38, 3) meet in a CASE as DECIMAL(38, 0).
    """
    return cast(sql, target) if source.scale != target.scale else sql


def sql_type(column_type: ColumnType) -> exp.DataType:
    """DuckDB's type for values of a type of the subset."""
    return _built(column_type).copy()


@cache
def _built(column_type: ColumnType) -> exp.DataType:
    # sqlglot parses the type's name, which for a list of thousands of constants takes seconds.
    match column_type.kind:
        case "integer" | "decimal":
            return exp.DataType.build(f"DECIMAL({LARGEST_PRECISION}, {column_type.scale})", dialect="duckdb")
        case "text":
            return exp.DataType.build("VARCHAR", dialect="duckdb")
        case "boolean":
            return exp.DataType.build("BOOLEAN", dialect="duckdb")
        case "date":
            return exp.DataType.build("DATE", dialect="duckdb")
