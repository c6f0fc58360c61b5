"""Text cells to values of the catalog's declared types: exactly, or not at all.

A cell that cannot be read is never guessed, rounded or zero: its row is unreadable, and the reason
names the column.  DuckDB's own casts are guarded, because they round ('12.7' to 13) and read more
than people write ('1e3', '0x1F', '1_000').
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from duckdb import DuckDBPyConnection
from numpy.typing import NDArray

from veilmatch_node.cells import BLANKS, Cells
from veilmatch_node.errors import DataError, ExpressionError
from veilmatch_node.expressions import OwnExpression
from veilmatch_policy.catalog import Column
from veilmatch_policy.column_types import LARGEST_WHOLE, ColumnType
from veilmatch_policy.errors import CatalogError

_CELLS = "cells"  # the text cells, as DuckDB sees them while a table is read

_INTEGERS = frozenset(
    {
        "tinyint",
        "smallint",
        "integer",
        "bigint",
        "hugeint",
        "utinyint",
        "usmallint",
        "uinteger",
        "ubigint",
        "uhugeint",
    }
)
_FLOATS = frozenset({"float", "double"})
_PLAIN = {"integer": b"0123456789", "decimal": b"0123456789."}
_TRUE = "('true', '1', 'yes')"
_FALSE = "('false', '0', 'no')"


@dataclass(frozen=True, slots=True, repr=False)
class Values:
    """The columns of one table with their types, row by row as in its ``Cells``.

    ``table``: BIGINT, DECIMAL(18+s,s), VARCHAR, BOOLEAN or DATE, NULL where empty or unreadable.
    ``unreadable``: masks of the rows with a cell that could not be read, with the reason.
    """

    table: pa.Table
    unreadable: tuple[tuple[NDArray[np.bool_], str], ...]


def read_values(
    connection: DuckDBPyConnection,
    cells: Cells,
    columns: Sequence[Column],
    *,
    expressions: Mapping[str, OwnExpression],
    codes: Mapping[str, Mapping[str, str]],
    where: str,
) -> Values:
    """Read ``columns`` from text cells; ``expressions`` by column, over the cells' own columns.

    A column without an expression is the cells' column of the same name.  ``codes`` translates a
    column's local codes before they are read; one that it does not list is unreadable.

    Integers are digits with an optional sign; decimals have at most 18 digits before the point and the
    declared ones behind it, zeros aside; booleans are true/false, 1/0 or yes/no in any case; dates are
    YYYY-MM-DD, years 1 to 9999; blanks around any of these do not count.  Raises CatalogError for an
    expression that DuckDB refuses or whose type is not exact, DataError for a value outside its
    column's declared range.
    """
    read = {
        column.name: (values, np.zeros(len(cells.rows), np.bool_))
        for column in columns
        if column.name not in expressions.keys() | codes.keys()
        and (values := _plain(cells.table[column.name], column.type)) is not None
    }
    if others := [column for column in columns if column.name not in read]:
        connection.register(_CELLS, cells.table)
        try:
            found = _evaluate(connection, others, expressions, codes, where)
        finally:
            connection.unregister(_CELLS)
        for index, column in enumerate(others):
            read[column.name] = found[f"v{index}"], _numpy(found[f"f{index}"])
    table: dict[str, pa.ChunkedArray] = {}
    unreadable = []
    for column in columns:
        values, failed = read[column.name]
        own = expressions.get(column.name)
        garbled = [
            cells.garbled[name] for name in (own.columns if own else (column.name,)) if name in cells.garbled
        ]
        if garbled:
            not_text = np.logical_or.reduce(garbled)
            unreadable.append((not_text, f"column {column.name} is not {cells.encoding}"))
            failed &= ~not_text
        if failed.any():
            what = "a code that the catalog lists" if column.name in codes else _called(column.type)
            unreadable.append((failed, f"column {column.name} is not {what}"))
        _check_range(column, values, where)
        table[column.name] = values
    return Values(pa.table(table), tuple(unreadable))


def _plain(cells: pa.ChunkedArray, column_type: ColumnType) -> pa.ChunkedArray | None:
    """The values of cells that hold nothing but digits, and a point in a decimal; None where DuckDB must look.

    Most batches' cells are such, and Arrow reads them in a tenth of the time: what does not fit exactly it refuses.
    """
    if column_type.kind == "text":
        return cells
    if column_type.kind not in _PLAIN:
        return None
    allowed = np.zeros(256, np.bool_)
    allowed[list(_PLAIN[column_type.kind])] = True
    if not all(allowed[np.frombuffer(chunk.buffers()[2] or b"", np.uint8)].all() for chunk in cells.chunks):
        return None
    scale = column_type.scale
    target = pa.int64() if column_type.kind == "integer" else pa.decimal128(LARGEST_WHOLE + scale, scale)
    try:
        return cells.cast(target)
    except pa.ArrowInvalid:
        return None


def _evaluate(
    connection: DuckDBPyConnection,
    columns: Sequence[Column],
    expressions: Mapping[str, OwnExpression],
    codes: Mapping[str, Mapping[str, str]],
    where: str,
) -> pa.Table:
    """Columns ``v<i>``, the values, and ``f<i>``, whether the cell was there and could not be read."""
    sources, cells, values, results = [], [], [], []
    for index, column in enumerate(columns):
        own, listed = expressions.get(column.name), codes.get(column.name)
        cell, result = f"c{index}", "varchar"
        if own is None:
            sources.append(f"{_quote(column.name)} AS s{index}")
            cells.append(f"s{index} AS {cell}, false AS t{index}")
        else:
            # One evaluation tells an empty result, {v: NULL}, from a failing row, NULL.
            sources.append(f"TRY({{'v': (\n{own.sql}\n)}}) AS s{index}")
            cells.append(f"s{index}.v AS {cell}, s{index} IS NULL AS t{index}")
            result = _result_type(connection, own, column, where)
        if listed is None:
            value = _conversion(cell, result, column, where)
        elif result == "varchar":
            value = _reading(_translation(cell, listed), column.type)
        else:
            what = f"the column has codes, which are text, and its expression gives {result}"
            raise CatalogError(f"{where}.{column.name}", what, "let the expression give the local code")
        values.append(f"{cell}, t{index}, {value} AS v{index}")
        results.append(f"v{index}, t{index} OR ({cell} IS NOT NULL AND v{index} IS NULL) AS f{index}")
    query = f"SELECT {', '.join(sources)} FROM {_CELLS}"  # noqa: S608  quoted names and checked expressions
    for layer in (cells, values, results):
        query = f"SELECT {', '.join(layer)} FROM ({query})"  # noqa: S608  same
    try:
        return connection.sql(query).to_arrow_table()
    except duckdb.OutOfMemoryException:
        raise  # no fault of the expressions: source.load says so
    except duckdb.Error:
        # Not DuckDB's own words, also not as a cause: they quote cells.
        raise CatalogError(
            where, "DuckDB cannot evaluate the table's expressions", "try each one alone over text cells"
        ) from None


def _reading(cell: str, column_type: ColumnType) -> str:
    """SQL for the value that the text ``cell`` writes, NULL where it writes none."""
    scale = column_type.scale
    match column_type.kind:
        case "text":
            return cell
        case "integer":
            return _guarded(cell, r"[+-]?[0-9]+", "BIGINT")
        case "decimal":
            fraction = rf"\.[0-9]{{0,{scale}}}0*"
            return _guarded(cell, rf"[+-]?([0-9]+({fraction})?|{fraction})", _decimal(scale))
        case "boolean":
            lower = f"lower({_trimmed(cell)})"
            return f"CASE WHEN {lower} IN {_TRUE} THEN true WHEN {lower} IN {_FALSE} THEN false END"
        case "date":
            # DuckDB reads year 0000 as 1 BC.
            return _guarded(
                cell, r"(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})-[0-9]{2}-[0-9]{2}", "DATE"
            )


def _translation(cell: str, codes: Mapping[str, str]) -> str:
    """SQL for the standard code, NULL where the local one is not listed."""
    cases = " ".join(f"WHEN {_literal(local)} THEN {_literal(standard)}" for local, standard in codes.items())
    return f"CASE {_trimmed(cell)} {cases} END"


def _decimal(scale: int) -> str:
    # No wider: what a condition can make of a cell rests on it (sql_binder.py).
    return f"DECIMAL({LARGEST_WHOLE + scale},{scale})"


def _trimmed(cell: str) -> str:
    # DuckDB's trim takes a list of characters, and a hundred times as long for it; what has no blank in it
    # takes a third of the replacement.
    replaced = f"regexp_replace({cell}, '^{BLANKS}|{BLANKS}$', '', 'g')"
    return f"CASE WHEN regexp_full_match({cell}, '[!-~]*') THEN {cell} ELSE {replaced} END"


def _guarded(cell: str, pattern: str, target: str) -> str:
    """SQL for a cell of this pattern, blanks around it aside, as the target's value."""
    guards = [
        f"WHEN regexp_full_match({text}, {_literal(pattern)}) THEN TRY_CAST({text} AS {target})"
        for text in (cell, _trimmed(cell))  # most have no blanks
    ]
    return f"CASE {' '.join(guards)} END"


def _result_type(connection: DuckDBPyConnection, own: OwnExpression, column: Column, where: str) -> str:
    """DuckDB's name for the type of the owner's expression, in lower case."""
    try:
        return connection.sql(f"SELECT (\n{own.sql}\n) FROM {_CELLS}").types[0].id  # noqa: S608  a checked expression
    except duckdb.Error as error:
        raise ExpressionError(
            f"{where}.{column.name}",
            "DuckDB refuses the expression",
            "correct it",
            detail=str(error).partition("\n")[0],
        ) from error


def _conversion(cell: str, result: str, column: Column, where: str) -> str:
    """SQL for the expression's result as the declared type, NULL where that would change it."""
    kind, scale = column.type.kind, column.type.scale
    if result == "varchar":
        return _reading(cell, column.type)
    target = {"integer": "BIGINT", "decimal": _decimal(scale), "date": "DATE"}.get(kind)
    exact = f"CAST({cell} AS {target}) = {cell}"
    if column.type.numeric and result in {*_INTEGERS, "decimal"}:
        return f"TRY(CASE WHEN {exact} THEN CAST({cell} AS {target}) END)"
    if kind == "date" and result in {"date", "timestamp"}:
        # DuckDB's dates reach further than those that years and days can count from.
        counted = f"{cell} BETWEEN DATE '{date.min}' AND DATE '{date.max}'"
        return f"TRY(CASE WHEN {counted} AND {exact} THEN CAST({cell} AS {target}) END)"
    if kind == result == "boolean":
        return cell
    what = (
        "is floating point, which is not exact"
        if result in _FLOATS
        else f"gives {result}, not {_called(column.type)}"
    )
    example = {"text": "VARCHAR", "boolean": "BOOLEAN"}.get(kind, target)
    raise CatalogError(
        f"{where}.{column.name}", f"the expression {what}", f"cast the parts that it is made of to {example}"
    )


def _check_range(column: Column, values: pa.ChunkedArray, where: str) -> None:
    if column.range is None:
        return
    low, high = column.range
    found: dict[str, Any] = pc.min_max(values).as_py()
    if found["min"] is not None and not low <= found["min"] <= found["max"] <= high:
        # Without the figure: protocol.md, 5.1.
        raise DataError(
            f"{where}.{column.name}",
            "a value is outside the range that the catalog declares",
            f"correct the data or the range [{low}, {high}]",
        )


def _called(column_type: ColumnType) -> str:
    article = "an" if column_type.kind == "integer" else "a"
    return "text" if column_type.kind == "text" else f"{article} {column_type}"


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _numpy(mask: pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.array(mask.to_numpy(zero_copy_only=False), np.bool_)
