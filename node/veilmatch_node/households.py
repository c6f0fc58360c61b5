"""Who lives with whom, at the department that keeps the household register (protocol.md, 3 step 6).

The register's households are numbered here; the coordinator is told a label a slot, drawn afresh
for each job, and nothing else.  A collective household, larger than the catalog's ``at_most``, is
so many households of one.
"""

import os
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from veilmatch_crypto import permutation
from veilmatch_node.errors import DataError
from veilmatch_node.people import UNKNOWN
from veilmatch_node.source import HOUSEHOLD, Department

_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True)
class Households:
    """The register's households, numbered from 0.

    ``labels``: by slot, shape (padded,), equal for people of one household, 0 where the register knows
    nobody.  ``first``: the lowest slot of each household, ``UNKNOWN`` where none of its members has one.
    ``strangers``: the slots that the register does not know.  ``collective``: how many households were
    larger than the catalog's ``at_most``, and are taken as single persons.
    """

    labels: NDArray[np.uint32]
    first: NDArray[np.uint32]
    strangers: NDArray[np.bool_]
    collective: int

    def __repr__(self) -> str:
        return f"Households({self.count})"

    @property
    def count(self) -> int:
        """How many households there are."""
        return len(self.first)

    def spread(self, values: NDArray[_T], *, others: object) -> NDArray[_T]:
        """Put a value a household, shape (count + 1,), into its first slot: shape (padded,).

        The last value is for people whom the register does not know; ``others`` is for all other slots.
        """
        spread = np.full(len(self.strangers), others, dtype=values.dtype)
        spread[self.strangers] = values[-1]
        placed = self.first != UNKNOWN
        spread[self.first[placed]] = values[:-1][placed]
        return spread


def read_households(department: Department, slots: NDArray[np.uint32], padded: int) -> Households:
    """Number the households of a department loaded with its register, and make the table ``members``.

    ``slots`` are its people's.  Raises DataError for a person without a household.
    """
    register = department.connection.sql(
        f'SELECT person, household FROM "{HOUSEHOLD}"'  # noqa: S608  a name of our own
    ).to_arrow_table()
    values = register["household"].combine_chunks()
    if values.null_count:
        raise DataError(
            f"{department.report.department}: household",
            "the household column is empty for somebody",
            "fill it in; a person alone is a household of one",
            detail=f"{values.null_count} rows",
        )
    registered = register["person"].to_numpy().astype(np.int64)
    written = np.asarray(values.dictionary_encode().indices.to_numpy(zero_copy_only=False), dtype=np.int64)
    sizes = np.bincount(written)
    collective = sizes > department.household_at_most
    # Whom the department knows from its other tables alone has a household of their own (3, step 6).
    numbers = len(sizes) + department.people + np.arange(department.people, dtype=np.int64)
    numbers[registered] = _apart(written, collective)
    numbers = _without_gaps(numbers)
    persons = np.arange(department.people, dtype=np.int64)
    members = pa.table({"person": pa.array(persons, pa.int32()), "household": pa.array(numbers, pa.int32())})
    department.connection.register("members_read", members)
    department.connection.execute("CREATE TEMPORARY TABLE members AS SELECT * FROM members_read")
    department.connection.unregister("members_read")

    count = int(numbers.max()) + 1 if len(numbers) else 0
    first = np.full(count, UNKNOWN, dtype=np.uint32)
    placed = slots[persons] != UNKNOWN
    np.minimum.at(first, numbers[placed], slots[persons[placed]])
    labels = np.zeros(padded, dtype=np.uint32)
    # Fresh for the job, or the coordinator could follow a household from job to job by its label.
    drawn = permutation(os.urandom(32), count).astype(np.uint32) + np.uint32(1)
    labels[slots[persons[placed]]] = drawn[numbers[placed]]
    return Households(labels, first, labels == 0, int(np.count_nonzero(collective)))


def _without_gaps(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number anew, in the same order, so that every number is somebody's."""
    taken = np.zeros(numbers.max(initial=-1) + 1, np.bool_)
    taken[numbers] = True
    return (np.cumsum(taken) - 1)[numbers]


def _apart(numbers: NDArray[np.int64], collective: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number every member of a collective household apart, beyond the numbers that there are."""
    alone = collective[numbers]
    return np.where(alone, len(collective) + np.cumsum(alone), numbers)
