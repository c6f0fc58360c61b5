"""What this node's data says of a policy: one frozen bit a slot (protocol.md, 4.3, 4.6 and 4.7).

The data is read once, when a job starts; the job then works from these bits, so that a file that
changes under it changes nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from veilmatch_node.errors import JobRefusedError
from veilmatch_node.freshness import check_fresh
from veilmatch_node.people import UNKNOWN, SlotTable
from veilmatch_node.report import Report
from veilmatch_node.source import Department, TooManyRefusedError, load
from veilmatch_policy.catalog import Catalog
from veilmatch_policy.check import DepartmentTask
from veilmatch_policy.evaluate import truth
from veilmatch_policy.expression import Expression


@dataclass(frozen=True)
class DataFolder:
    """Where this department's data is: its catalog, the catalog's folder, and its databases by name."""

    catalog: Catalog
    folder: Path
    databases: Mapping[str, str]


@dataclass(frozen=True)
class FrozenAnswers:
    """Bits by slot, shape (padded,).

    ``holds``: a contributor's answer, for the slots that it does not know the one that missing rows
    get; at the recipient, where its own conditions hold.  ``presented``: the recipient's ``among``,
    nowhere at a contributor.
    """

    holds: NDArray[np.bool_]
    presented: NDArray[np.bool_]

    def __repr__(self) -> str:
        return f"FrozenAnswers({len(self.holds)} slots)"

    def encode(self) -> bytes:
        """Serialise: both bitmaps, one bit a slot, the lowest slot in the highest bit."""
        return np.packbits(self.holds).tobytes() + np.packbits(self.presented).tobytes()

    @classmethod
    def decode(cls, data: bytes, padded: int) -> "FrozenAnswers":
        """Read what ``encode`` wrote."""
        half = -(-padded // 8)
        bits = np.frombuffer(data, np.uint8)
        return cls(_bits(bits[:half], padded), _bits(bits[half:], padded))


def _bits(packed: NDArray[np.uint8], count: int) -> NDArray[np.bool_]:
    return np.unpackbits(packed, count=count).view(np.bool_)


def answer(
    data: DataFolder,
    task: DepartmentTask,
    table: SlotTable,
    padded: int,
    *,
    reference_date: date,
    asks: bool,
    tell_owner: Callable[[Report], None],
) -> FrozenAnswers:
    """Read the data and answer a policy for every slot.

    ``asks`` is true at the recipient; ``tell_owner`` is given what became of the rows, also where too many
    are refused.  Raises DataError where the data is refused and
    JobRefusedError where the recipient would ask about more people than the policy allows.
    """
    check_fresh(
        data.catalog,
        {column.table for column in task.columns},
        today=datetime.now(UTC).date(),
        databases=data.databases,
    )
    needed = {column.name for column in task.columns}
    try:
        department = load(
            data.catalog,
            data.folder,
            needed=needed,
            reference_date=reference_date,
            databases=data.databases,
        )
    except TooManyRefusedError as error:
        tell_owner(error.report)
        raise
    with department:
        tell_owner(department.report)
        slots = table.find(department.inputs)
        known = slots != UNKNOWN
        conditions = [
            _values(department, bound, reference_date, unknown=unknown)
            for bound, unknown in zip(task.conditions, task.unknowns, strict=True)
        ]
        among = [] if task.among is None else [_values(department, task.among, reference_date, unknown=False)]
        everybody = np.ones(department.people + 1, dtype=np.bool_)
    met = np.logical_and.reduce([everybody, *conditions])
    if not asks:
        # A contributor answers for everybody; whom it does not know gets the last value.
        return FrozenAnswers(_by_slot(met, slots, known, padded), np.zeros(padded, dtype=np.bool_))
    presented = _by_slot(_own_only(np.logical_and.reduce([everybody, *among])), slots, known, padded)
    if task.among_at_most is not None and np.count_nonzero(presented) > task.among_at_most:
        raise JobRefusedError(
            "among",
            f"selects more people than among_at_most allows ({task.among_at_most})",
            "narrow it, or have a higher ceiling approved",
        )
    return FrozenAnswers(_by_slot(_own_only(met), slots, known, padded), presented)


def _values(
    department: Department, bound: Expression, reference_date: date, *, unknown: bool
) -> NDArray[np.bool_]:
    """Evaluate for each person, then for somebody without a row: shape (people + 1,)."""
    return truth(
        department.connection, bound, people=department.people, reference_date=reference_date, unknown=unknown
    )


def _own_only(values: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The recipient asks about its own people only: whom it does not know, it does not ask about."""
    values[-1] = False
    return values


def _by_slot(
    values: NDArray[np.bool_], slots: NDArray[np.uint32], known: NDArray[np.bool_], padded: int
) -> NDArray[np.bool_]:
    """Spread values, shape (people + 1,), over all slots: shape (padded,)."""
    bits = np.full(padded, values[-1], dtype=np.bool_)
    bits[slots[known]] = values[:-1][known]
    return bits
