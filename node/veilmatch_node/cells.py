"""What a table's owner wrote, before anybody reads a number or a date into it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

BATCH_ROWS = 1 << 16  # of text that is in memory at once

# One or more blanks, for RE2 (Arrow and DuckDB): Unicode's White_Space and what str.split() takes for one.
BLANKS = r"[\s\x{0B}\x{1C}-\x{1F}\x{85}\p{Z}]+"


@dataclass(frozen=True, slots=True, repr=False)
class Cells:
    """The cells of one table as text.

    ``table``: one string column a column asked for, NULL where the cell is empty or garbled; ``id`` is
    the name of the one that holds the identifiers.
    ``rows``: int64, the number of each row, 1 for the first row of data; blank lines are not rows.
    ``ragged``: numbers of the rows with too few or too many cells; they are not in ``table``.
    ``garbled``: for the columns that have any, which cells are not in the source's ``encoding``.
    """

    table: pa.Table
    id: str
    rows: NDArray[np.int64]
    ragged: tuple[int, ...] = ()
    garbled: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    encoding: str = "utf-8"

    def keep(self, mask: NDArray[np.bool_]) -> "Cells":
        """The rows under ``mask``; the ragged ones were never rows of the table."""
        if mask.all():
            return self
        return Cells(
            self.table.filter(pa.array(mask)),
            self.id,
            self.rows[mask],
            self.ragged,
            {name: garbled[mask] for name, garbled in self.garbled.items()},
            self.encoding,
        )
