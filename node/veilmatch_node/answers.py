"""What this node's data says of a policy: one frozen bit a slot (protocol.md, 4.3, 4.6 and 4.7).

The data is read once, when a job starts; the job then works from these bits, so that a file that
changes under it changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from veilmatch_policy.catalog import Catalog
from veilmatch_policy.check import DepartmentTask
from veilmatch_policy.evaluate import truth
from veilmatch_policy.expression import Expression

from veilmatch_node.errors import JobRefusedError
from veilmatch_node.people import UNKNOWN, SlotTable
from veilmatch_node.source import load


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
    data: DataFolder, task: DepartmentTask, table: SlotTable, padded: int, *, reference_date: date, asks: bool
) -> FrozenAnswers:
    """Read the data and answer a policy for every slot.

    ``asks`` is true at the recipient.  Raises DataError where the data is refused and
    JobRefusedError where the recipient would ask about more people than the policy allows.
    """
    department = load(
        data.catalog,
        data.folder,
        needed={column.name for column in task.columns},
        reference_date=reference_date,
        databases=data.databases,
    )
    slots = table.find(department.inputs)
    known = slots != UNKNOWN

    def by_slot(bound: Expression, unknown: bool, others: bool | None) -> NDArray[np.bool_]:
        values = truth(
            department.connection,
            bound,
            people=department.people,
            reference_date=reference_date,
            unknown=unknown,
        )
        bits = np.full(padded, values[-1] if others is None else others, dtype=np.bool_)
        bits[slots[known]] = values[:-1][known]
        return bits

    # The recipient asks about its own people only; a contributor answers for everybody.
    others = False if asks else None
    holds = np.full(padded, not asks, dtype=np.bool_)
    if asks:
        holds[slots[known]] = True
    for bound, unknown in zip(task.conditions, task.unknowns, strict=True):
        holds &= by_slot(bound, unknown, others)
    presented = np.zeros(padded, dtype=np.bool_)
    if asks:
        presented[slots[known]] = True
        if task.among is not None:
            presented &= by_slot(task.among, unknown=False, others=False)
        if task.among_at_most is not None and np.count_nonzero(presented) > task.among_at_most:
            raise JobRefusedError(
                "among",
                f"selects more people than among_at_most allows ({task.among_at_most})",
                "narrow it, or have a higher ceiling approved",
            )
    return FrozenAnswers(holds, presented)
