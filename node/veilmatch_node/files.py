"""Files of text cells: CSV in any encoding that Python knows, and Parquet.

Nothing is guessed: a cell is text until the catalog's type reads it (guessed types eat 18-digit
identifiers).  What is wrong with a row (too many cells, bytes that are not in the encoding) is told
by its number; what is wrong with the file is a DataError.  Neither quotes the file.
"""

import codecs
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv, parquet

from veilmatch_node.cells import Cells
from veilmatch_node.errors import DataError
from veilmatch_policy.catalog import FileSource

# One block holds at least one row; a row of 1 MiB is a quotation mark that was never closed.
_BLOCK_BYTES = 1 << 20
_READ_BYTES = 256 << 10
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


def read(folder: Path, source: FileSource, columns: Sequence[str], *, identifier: str, where: str) -> Cells:
    """Read these columns of the file as text, NULL for the source's spellings of "nothing".

    ``columns`` are different names from the header, among them the ``identifier`` column's.

    Raises DataError, about ``where``, when the file is missing, empty, or cannot be cut into rows and cells.
    """
    path = folder / source.file
    if _is_parquet(path):
        return _read_parquet(path, source, columns, identifier, where)
    with _open(path, where) as raw:
        reader, text, ragged = _open_csv(path, raw, source, columns, where)
        try:
            table = reader.read_all()
        except (pa.ArrowInvalid, UnicodeError) as error:
            raise _malformed(path, where) from error
    if text.quotation_marks % 2:
        # A cell that is opened and never closed would swallow the rest of the file without a word.
        raise DataError(
            where,
            "the number of quotation marks is odd, so a quoted cell is not closed",
            "close it, and double every quotation mark inside a quoted cell",
            detail=str(path),
        )
    rows = np.setdiff1d(np.arange(1, table.num_rows + len(ragged) + 1), ragged, assume_unique=True)
    garbled = {}
    for name in columns:
        mask = _numpy(pc.match_substring(table[name], _REPLACEMENT))
        if mask.any():
            garbled[name] = mask
    return Cells(
        _without_nulls(table, source, garbled), identifier, rows, tuple(ragged), garbled, source.encoding
    )


class _Utf8Stream(io.RawIOBase):
    """A file in some encoding as a stream of UTF-8, closed by a line break, quotation marks counted."""

    def __init__(self, raw: io.BufferedReader, encoding: str) -> None:
        self._raw = raw
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self._decoded = bytearray()
        self._ended = False
        self.quotation_marks = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        # Arrow takes a short read for the end of a block, so only the last one may be short.
        while not self._ended and not 0 <= size <= len(self._decoded):
            data = self._raw.read(_READ_BYTES)
            self._ended = not data
            text = self._decoder.decode(data, final=self._ended) + ("\n" if self._ended else "")
            self.quotation_marks += text.count('"')
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


def _read_parquet(
    path: Path, source: FileSource, columns: Sequence[str], identifier: str, where: str
) -> Cells:
    try:
        stored = _open_parquet(path, where).read(columns=list(columns), use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(where, "the file is damaged", "export it again", detail=str(path)) from error
    texts = []
    for name in columns:
        if pa.types.is_floating(stored[name].type):
            raise DataError(
                where,
                f"column {name} is floating point, which cannot be exact",
                "export it as a decimal or as text",
                detail=str(path),
            )
        try:
            texts.append(stored[name].cast(pa.string()))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(
                where, f"column {name} has no form as text", "export it as text", detail=str(path)
            ) from error
    table = pa.table(dict(zip(columns, texts, strict=True)))
    return Cells(_without_nulls(table, source, {}), identifier, np.arange(1, table.num_rows + 1))


def _without_nulls(table: pa.Table, source: FileSource, garbled: dict[str, NDArray[np.bool_]]) -> pa.Table:
    """NULL where a cell, blanks around it aside, spells "nothing", and where it is garbled."""
    nothing = pa.array(source.null, pa.string())
    columns = {}
    for name in table.column_names:
        null = pc.is_in(pc.utf8_trim_whitespace(table[name]), value_set=nothing)
        if name in garbled:
            null = pc.or_(null, pa.array(garbled[name]))
        columns[name] = pc.if_else(null, None, table[name])
    return pa.table(columns)


def _numpy(mask: pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(mask.to_numpy(), np.bool_)
