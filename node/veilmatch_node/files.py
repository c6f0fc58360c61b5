"""Files of text cells, batch by batch: CSV in any encoding that Python knows, and Parquet.

Nothing is guessed: a cell is text until the catalog's type reads it (guessed types eat 18-digit
identifiers).  What is wrong with a row (too many cells, bytes that are not in the encoding) is told
by its number; what is wrong with the file is a DataError.  Neither quotes the file.
"""

import codecs
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv, parquet

from veilmatch_node.cells import BATCH_ROWS, Cells
from veilmatch_node.errors import DataError
from veilmatch_policy.catalog import FileSource

# One block holds at least one row; a row of 1 MiB is a quotation mark that was never closed.
_BLOCK_BYTES = 1 << 20
_READ_BYTES = 256 << 10
_FIRST_VISIBLE, _LAST_VISIBLE = b"!~"
_REPLACEMENT = "\ufffd"  # what a decoder puts where the bytes are no character


def header(folder: Path, source: FileSource, *, where: str) -> tuple[str, ...]:
    """The names of the file's columns, in order.

    Raises DataError, about ``where``, when the file is missing, unreadable or empty.
    """
    path = folder / source.file
    if _is_parquet(path):
        return tuple(_open_parquet(path, where).schema_arrow.names)
    with _open(path, where) as raw:
        reader, _, _ = _open_csv(path, raw, source, columns=None, where=where)
        return tuple(reader.schema.names)


def batches(
    folder: Path, source: FileSource, columns: Sequence[str], *, identifier: str, where: str
) -> Iterator[Cells]:
    """Read these columns of the file as text, NULL for the source's spellings of "nothing".

    Yields at least one batch of rows.  ``columns`` are different names from the header, among them the
    ``identifier`` column's.

    Raises DataError, about ``where``, when the file is missing, empty, or cannot be cut into rows and cells.  A quoted
    cell that is never closed shows at the file's end: it is told in the place of the last batch, after all others.
    """
    path = folder / source.file
    if _is_parquet(path):
        return _parquet_batches(path, source, columns, identifier, where)
    return _csv_batches(path, source, columns, identifier, where)


def _csv_batches(
    path: Path, source: FileSource, columns: Sequence[str], identifier: str, where: str
) -> Iterator[Cells]:
    with _open(path, where) as raw:
        reader, text, ragged = _open_csv(path, raw, source, columns, where)
        blocks: list[pa.RecordBatch] = []
        first, told = 1, 0
        while True:
            block = _next_block(reader, path, where)
            if block is None and text.quotation_marks % 2:
                # A cell that is opened and never closed would swallow the rest of the file without a word.
                raise DataError(
                    where,
                    "the number of quotation marks is odd, so a quoted cell is not closed",
                    "close it, and double every quotation mark inside a quoted cell",
                    detail=str(path),
                )
            # The last batch waits for the end of the file, which may say that all of it is wrong.
            if block is None or sum(block.num_rows for block in blocks) >= BATCH_ROWS:
                table = pa.Table.from_batches(blocks, reader.schema)
                rows = _numbers(first, table.num_rows, ragged)
                garbled = _garbled(table) if text.replaced else {}
                cells = _without_nulls(table, source, garbled)
                # The reader may be ahead: some of the ragged rows may be behind these.
                new, told = tuple(ragged[told:]), len(ragged)
                yield Cells(cells, identifier, rows, new, garbled, source.encoding)
                first, blocks = int(rows[-1]) + 1 if len(rows) else first, []
            if block is None:
                return
            blocks.append(block)


def _numbers(first: int, count: int, ragged: Sequence[int]) -> NDArray[np.int64]:
    """The numbers of so many rows from ``first`` on that are not ragged."""
    candidates = np.arange(first, first + count + len(ragged))
    return np.setdiff1d(candidates, ragged, assume_unique=True)[:count]


def _next_block(reader: csv.CSVStreamingReader, path: Path, where: str) -> pa.RecordBatch | None:
    try:
        return reader.read_next_batch()
    except StopIteration:
        return None
    except (pa.ArrowInvalid, UnicodeError) as error:
        raise _malformed(path, where) from error


class _Utf8Stream(io.RawIOBase):
    """A file in some encoding as a stream of UTF-8, closed by a line break.

    ``quotation_marks`` counts them, ``replaced`` is whether there was a character that stands for bytes
    that are none.
    """

    def __init__(self, raw: io.BufferedReader, encoding: str) -> None:
        self._raw = raw
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self._decoded = bytearray()
        self._ended = False
        self.quotation_marks = 0
        self.replaced = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        # Arrow takes a short read for the end of a block, so only the last one may be short.
        while not self._ended and not 0 <= size <= len(self._decoded):
            data = self._raw.read(_READ_BYTES)
            self._ended = not data
            text = self._decoder.decode(data, final=self._ended) + ("\n" if self._ended else "")
            self.quotation_marks += text.count('"')
            self.replaced = self.replaced or _REPLACEMENT in text
            self._decoded += text.encode()
        size = len(self._decoded) if size < 0 else size
        piece = bytes(self._decoded[:size])
        del self._decoded[:size]
        return piece


def _open(path: Path, where: str) -> io.BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise DataError(
            where, "there is no such file", "put it there or correct the catalog's source", detail=str(path)
        ) from None
    except OSError as error:
        raise DataError(
            where,
            "the file cannot be read",
            "give the node's user access to it",
            detail=f"{path}: {error.strerror}",
        ) from error


def _open_csv(
    path: Path, raw: io.BufferedReader, source: FileSource, columns: Sequence[str] | None, where: str
) -> tuple[csv.CSVStreamingReader, _Utf8Stream, list[int]]:
    """Open the file; the list fills with the numbers of the ragged rows as the reader reads."""
    text = _Utf8Stream(raw, source.encoding)
    ragged: list[int] = []

    def skip(row: csv.InvalidRow) -> str:
        ragged.append(row.number - 1)  # Arrow counts the header as row 1
        return "skip"

    try:
        reader = csv.open_csv(
            pa.PythonFile(text, mode="r"),
            # Without threads, or Arrow does not know a ragged row's number.
            read_options=csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            parse_options=csv.ParseOptions(
                delimiter=source.delimiter, newlines_in_values=True, invalid_row_handler=skip
            ),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(columns or (), pa.string()),
                include_columns=columns,
                strings_can_be_null=False,
            ),
        )
    except (pa.ArrowInvalid, UnicodeError) as error:
        raise _malformed(path, where) from error
    return reader, text, ragged


def _malformed(path: Path, where: str) -> DataError:
    # Arrow's own message quotes the row.
    if path.stat().st_size == 0:
        return DataError(
            where,
            "the file is empty",
            "export it again, with a first line of column names",
            detail=str(path),
        )
    return DataError(
        where,
        "the file cannot be cut into rows and cells",
        "check its encoding, delimiter and quotation marks against the catalog's source",
        detail=str(path),
    )


def _is_parquet(path: Path) -> bool:
    return path.suffix == ".parquet"


def _open_parquet(path: Path, where: str) -> parquet.ParquetFile:
    with _open(path, where):  # the errors of a missing file are the same for both formats
        pass
    try:
        return parquet.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise DataError(where, "this is not a Parquet file", "export it again", detail=str(path)) from error


def _parquet_batches(
    path: Path, source: FileSource, columns: Sequence[str], identifier: str, where: str
) -> Iterator[Cells]:
    file = _open_parquet(path, where)
    schema = pa.schema([file.schema_arrow.field(name) for name in columns])
    for field in schema:
        if pa.types.is_floating(field.type):
            raise DataError(
                where,
                f"column {field.name} is floating point, which cannot be exact",
                "export it as a decimal or as text",
                detail=str(path),
            )
    first = 1
    for batch in _parquet_record_batches(file, path, columns, where):
        texts = {name: _as_text(batch[name], name, path, where) for name in columns}
        rows = np.arange(first, first + len(batch))
        first += len(batch)
        yield Cells(_without_nulls(pa.table(texts), source, {}), identifier, rows)
    if first == 1:
        texts = {field.name: _as_text(pa.array([], field.type), field.name, path, where) for field in schema}
        yield Cells(pa.table(texts), identifier, np.arange(0))


def _parquet_record_batches(
    file: parquet.ParquetFile, path: Path, columns: Sequence[str], where: str
) -> Iterator[pa.RecordBatch]:
    try:
        yield from file.iter_batches(BATCH_ROWS, columns=list(columns), use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(where, "the file is damaged", "export it again", detail=str(path)) from error


def _as_text(cells: pa.Array, name: str, path: Path, where: str) -> pa.StringArray:
    try:
        return cells.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            where, f"column {name} has no form as text", "export it as text", detail=str(path)
        ) from error


def _garbled(table: pa.Table) -> dict[str, NDArray[np.bool_]]:
    """Which cells are not in the encoding, for the columns that have any."""
    garbled = {}
    for name in table.column_names:
        mask = _numpy(pc.match_substring(table[name], _REPLACEMENT))
        if mask.any():
            garbled[name] = mask
    return garbled


def _without_nulls(table: pa.Table, source: FileSource, garbled: dict[str, NDArray[np.bool_]]) -> pa.Table:
    """NULL where a cell, blanks around it aside, spells "nothing", and where it is garbled."""
    nothing = pa.array(source.null, pa.string())
    columns = {}
    for name in table.column_names:
        null = pc.is_in(_trimmed(table[name]), value_set=nothing)
        if name in garbled:
            null = pc.or_(null, pa.array(garbled[name]))
        columns[name] = pc.if_else(null, None, table[name]) if pc.any(null).as_py() else table[name]
    return pa.table(columns)


def _trimmed(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    data = [np.frombuffer(chunk.buffers()[2] or b"", np.uint8) for chunk in cells.chunks]
    # No need to look into each cell where all bytes are visible ASCII.
    if all((each >= _FIRST_VISIBLE).all() and (each <= _LAST_VISIBLE).all() for each in data):
        return cells
    return pc.utf8_trim_whitespace(cells)


def _numpy(mask: pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(mask.to_numpy(), np.bool_)
