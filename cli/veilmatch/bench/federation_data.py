"""Synthetic departments of any size, the same each time: the keyed generator with fixed keys.

Everybody has points (0 to 99) and an amount (whole euros below 100,000) at every department that knows
them.  Three people who follow each other in the register are a household.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from veilmatch_crypto import permutation, words40

# Which part of the people each department knows.
PARTS: Mapping[str, float] = MappingProxyType(
    {
        "register": 1.0,
        "social": 1.0,
        "tax": 0.9,
        "health": 0.6,
        "housing": 0.5,
        "civil": 0.4,
        "schools": 0.3,
        "labour": 0.5,
        "pensions": 0.3,
        "transport": 0.4,
        "land": 0.2,
        "courts": 0.1,
    }
)
RECIPIENT, REGISTER = "social", "register"
HOUSEHOLD_MEMBERS = 3
MEAN_AMOUNT = 50_000

_CATALOG = """
department: {name}
title: {name}
tables:
  people:
    source: people.csv
    id: id
    identifier: opaque
    columns:
      {name}_points: {{type: integer, missing: 0, range: [0, 99], alone: approval}}
      {name}_amount: {{type: decimal(2), missing: 0, range: [0, 100000], alone: approval}}
"""
_HOUSEHOLD = "    household: {column: home, at_most: 8, larger: single}\n"


@dataclass(frozen=True)
class Tables:
    """Departments' folders below ``folder``, in the order of PARTS, how many people there are, and are known."""

    folder: Path
    departments: tuple[str, ...]
    people: int
    known: Mapping[str, int]

    def file(self, department: str) -> Path:
        """A department's table."""
        return self.folder / department / "people.csv"


def write_tables(
    folder: Path, people: int, departments: int, *, gone: int = 0, of: int | None = None
) -> Tables:
    """Write ``departments`` departments that know parts of ``people`` people.

    With ``of`` they are ``people`` of so many, those after the first ``gone``: the same folder written again
    with other numbers has those who stay, unchanged, and new ones.
    """
    names = tuple(PARTS)[:departments]
    everybody = of or people
    # One in each of as many intervals: no two are equal.
    step = (1 << 40) // everybody
    numbers = words40(bytes(32), 0, 0, everybody) % step + step * np.arange(everybody, dtype=np.uint64)
    known = {}
    for number, name in enumerate(names, start=1):
        rows = permutation(bytes([number]) * 32, everybody)[: int(PARTS[name] * everybody)]
        draws = words40(bytes([number]) * 32, 1, 0, 2 * everybody).reshape(2, everybody)
        rows = rows[(gone <= rows) & (rows < gone + people)]
        known[name] = len(rows)
        home = folder / name
        home.mkdir(parents=True, exist_ok=True)
        pyarrow.csv.write_csv(_table(name, rows, numbers[rows], draws[:, rows]), home / "people.csv")
        household = "    columns:", (_HOUSEHOLD if name == REGISTER else "") + "    columns:"
        (home / "catalog.yaml").write_text(_CATALOG.format(name=name).replace(*household), encoding="utf-8")
    return Tables(folder, names, people, known)


def _table(
    name: str, rows: NDArray[np.int64], numbers: NDArray[np.uint64], draws: NDArray[np.uint64]
) -> pa.Table:
    euros = pa.array((draws[0] % (2 * MEAN_AMOUNT)).astype("i8")).cast(pa.decimal128(21, 0))
    home = {"home": pa.array((rows // HOUSEHOLD_MEMBERS).astype("i8"))} if name == REGISTER else {}
    return pa.table(
        {
            "id": pa.array(numbers).cast(pa.string()),
            **home,
            f"{name}_points": pa.array((draws[1] % 100).astype("i8")),
            f"{name}_amount": euros.cast(pa.decimal128(21, 2)),
        }
    )
