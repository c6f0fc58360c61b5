"""One table of a department, from its source to typed rows, a batch of cells at a time.

A table's text is never in memory as a whole: each batch becomes identifiers in normal form and typed
columns before the next one is fetched.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from veilmatch_node import columns, files, identifiers
from veilmatch_node.cells import Cells
from veilmatch_node.databases import Databases
from veilmatch_node.databases.query import TableQuery
from veilmatch_node.errors import DataError
from veilmatch_node.expressions import OwnExpression, SqlDialect, as_text, own_expression, quoted_name
from veilmatch_node.report import RefusedRow
from veilmatch_policy.catalog import Column, FileSource, Table
from veilmatch_policy.column_types import ColumnType
from veilmatch_policy.errors import nearest, quoted

HOUSEHOLD_CELL = "household cell"  # a column of our own while the register is read


@dataclass(frozen=True, slots=True, repr=False)
class Rows:
    """The rows of one table whose identifier is valid: who they are about and what they say.

    ``numbers``: int64, each row's number in its source.  ``forms``: the normal form of its identifier.
    ``values``: the typed columns (columns.py).  ``unreadable``: whether a cell of it could not be read.
    ``read`` counts all rows, ``identifiers_refused`` those left out, by reason.
    """

    table: Table
    read: int
    numbers: NDArray[np.int64]
    forms: pa.ChunkedArray
    values: pa.Table
    unreadable: NDArray[np.bool_]
    identifiers_refused: Mapping[str, int]
    listed: list[RefusedRow]


@dataclass(frozen=True, slots=True)
class RowReader:
    """Reads tables of one department; ``needed`` are the columns to read, None for all."""

    department: str
    connection: duckdb.DuckDBPyConnection
    folder: Path
    databases: Databases
    needed: Collection[str] | None
    reference_date: date

    def read(self, table: Table, *, household: bool = False) -> Rows:
        """Read one table; with ``household`` its register's label too, as the column `HOUSEHOLD_CELL`.

        Raises what `veilmatch_node.source.load` raises of a table.
        """
        where = f"{self.department}.{table.name}"
        source = table.source
        dialect: SqlDialect = (
            "duckdb" if isinstance(source, FileSource) else self.databases.dialect(source.database, where)
        )
        wanted = [
            column for column in table.columns.values() if self.needed is None or column.name in self.needed
        ]
        if household:
            wanted.append(_household_label(table, dialect))
        expressions = {
            column.name: own_expression(
                column.expression,
                dialect=dialect,
                reference_date=self.reference_date,
                where=f"{where}.{column.name}",
            )
            for column in wanted
            if column.expression is not None
        }
        if isinstance(source, FileSource):
            batches = _read_file(self.folder, source, table, wanted, expressions, where)
        else:
            batches = self.databases.read_table(
                TableQuery(source.database, source.table, table.id, wanted, expressions, table.codes, where)
            )
            expressions = {}  # the database evaluates them
        return self._typed(table, batches, wanted, expressions, where)

    def _typed(
        self,
        table: Table,
        batches: Iterator[Cells],
        wanted: Sequence[Column],
        expressions: Mapping[str, OwnExpression],
        where: str,
    ) -> Rows:
        read = 0
        numbers, forms, values, unreadable = [], [], [], []
        refused: Counter[str] = Counter()
        listed: list[RefusedRow] = []
        for cells in batches:
            read += len(cells.rows) + len(cells.ragged)
            listed += [RefusedRow(row, "wrong number of cells") for row in cells.ragged]
            normal = identifiers.normalise(cells.table[cells.id].combine_chunks(), table.identifier)
            reasons = normal.reasons
            if cells.id in cells.garbled:
                reasons = pc.if_else(pa.array(cells.garbled[cells.id]), f"not {cells.encoding}", reasons)
            valid = np.asarray(reasons.is_null(), np.bool_)
            why = reasons.drop_null()
            listed += [
                RefusedRow(row, f"identifier: {reason}")
                for row, reason in zip(cells.rows[~valid].tolist(), why.to_pylist(), strict=True)
            ]
            refused.update({count["values"]: count["counts"] for count in why.value_counts().to_pylist()})

            kept = cells.keep(valid)
            typed = columns.read_values(
                self.connection, kept, wanted, expressions=expressions, codes=table.codes, where=where
            )
            failed = np.zeros(len(kept.rows), np.bool_)
            for mask, reason in typed.unreadable:
                failed |= mask
                listed += [RefusedRow(row, reason) for row in kept.rows[mask].tolist()]
            numbers.append(kept.rows)
            forms.append(normal.forms.filter(pa.array(valid)))
            values.append(typed.table)
            unreadable.append(failed)
        return Rows(
            table=table,
            read=read,
            numbers=np.concatenate(numbers),
            forms=pa.chunked_array(forms, pa.string()),
            values=pa.concat_tables(values),
            unreadable=np.concatenate(unreadable),
            identifiers_refused=dict(refused),
            listed=listed,
        )


def _household_label(table: Table, dialect: SqlDialect) -> Column:
    """The household's label as its source writes it, as a column of our own."""
    if table.household is None:
        raise DataError(table.name, "is no household register", "give it a household in the catalog")
    listed = table.columns.get(table.household.column)
    own = listed.expression if listed is not None else None
    return Column.model_construct(
        name=HOUSEHOLD_CELL,
        table=table.name,
        type=ColumnType("text", 0),
        release="never",
        expression=as_text(own or quoted_name(table.household.column, dialect), dialect),
    )


def _read_file(
    folder: Path,
    source: FileSource,
    table: Table,
    wanted: list[Column],
    expressions: Mapping[str, OwnExpression],
    where: str,
) -> Iterator[Cells]:
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
    return files.batches(folder, source, tuple(dict.fromkeys(read)), identifier=table.id, where=where)
