"""What the coordinator remembers of linkages (protocol.md, 3 step 4): statements, slots, claims."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Column, Integer, LargeBinary, String, Table, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from veilmatch_coordinator.errors import StoreError
from veilmatch_coordinator.store.base import StorePart, metadata
from veilmatch_transport import forget_erased

_epochs = Table(
    "epochs",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("statement", LargeBinary, nullable=False, unique=True),
    Column("padded", Integer, nullable=False),
    Column("seconds", String, nullable=False),
    Column("linked", String, nullable=False),  # when
    Column("claims", LargeBinary),  # in register mode only
)
_slots = Table(
    "slots",
    metadata,
    Column("epoch", Integer, primary_key=True),
    Column("node", String, primary_key=True),
    Column("people", Integer, nullable=False),
    Column("slots", LargeBinary),  # in union mode only
)


@dataclass(frozen=True)
class StoredEpoch:
    """A linked epoch: the signed statement, the number of slots, and how many distinct people each node brought.

    Union mode: ``slots`` by node (uint32, little-endian).  Register mode: the registered people's
    ``claims`` in the order of the slots, 32 bytes each, and no node's slots.
    """

    statement: bytes
    padded: int
    seconds: float
    people: Mapping[str, int]
    slots: Mapping[str, bytes]
    claims: bytes | None = None

    def own_slots(self, node: str) -> NDArray[np.bool_]:
        """Return where a node's people are, shape (padded,).

        Raises StoreError in register mode: there a node proves each slot that it presents
        (slots.check_claims).
        """
        if self.claims is not None:
            raise StoreError(f"epoch: whose slots are {node}'s is not known; link with union slots")
        own = np.zeros(self.padded, dtype=np.bool_)
        own[np.frombuffer(self.slots[node], "<u4")] = True
        return own


@dataclass(frozen=True)
class EpochFigures:
    """A linked epoch without its slots: what there is to tell about it, and when it was linked (UTC)."""

    statement: bytes
    padded: int
    seconds: float
    people: Mapping[str, int]
    linked: datetime


class EpochState(StorePart):
    """The part of the store that linkages use."""

    def save_epoch(self, epoch: StoredEpoch) -> None:
        """Keep an epoch whose slots are drawn, before any node hears of them."""
        row = {
            "statement": epoch.statement,
            "padded": epoch.padded,
            "seconds": repr(epoch.seconds),
            "linked": datetime.now(UTC).isoformat(timespec="seconds"),
            "claims": epoch.claims,
        }
        try:
            with self._engine.begin() as connection:
                number = connection.execute(insert(_epochs).values(row)).inserted_primary_key[0]  # type: ignore[index]  # an insert of one row has one
                rows = [
                    {"epoch": number, "node": node, "people": people, "slots": epoch.slots.get(node)}
                    for node, people in epoch.people.items()
                ]
                connection.execute(insert(_slots), rows)
        except IntegrityError:
            raise StoreError("epoch: its slots are drawn already; open a new epoch") from None

    def forget_epochs(self) -> None:
        """Erase every epoch, with its slots: the next linkage opens a new one."""
        with self._engine.begin() as connection:
            connection.execute(delete(_slots))
            connection.execute(delete(_epochs))
        forget_erased(self._engine)

    def newest_epoch(self) -> StoredEpoch | None:
        """Return the newest epoch, or None before the first."""
        with self._engine.begin() as connection:
            row = connection.execute(select(_epochs).order_by(_epochs.c.number.desc()).limit(1)).one_or_none()
            if row is None:
                return None
            nodes = connection.execute(select(_slots).where(_slots.c.epoch == row.number)).all()
            return StoredEpoch(
                row.statement,
                row.padded,
                float(row.seconds),
                {node.node: node.people for node in nodes},
                {node.node: node.slots for node in nodes if node.slots is not None},
                row.claims,
            )

    def newest_figures(self) -> EpochFigures | None:
        """Return the newest epoch's figures, or None before the first; unlike its slots, they are small."""
        newest = select(func.max(_epochs.c.number)).scalar_subquery()
        told = (_epochs.c.statement, _epochs.c.padded, _epochs.c.seconds, _epochs.c.linked)
        with self._engine.begin() as connection:
            row = connection.execute(select(*told).where(_epochs.c.number == newest)).one_or_none()
            if row is None:
                return None
            people = connection.execute(
                select(_slots.c.node, _slots.c.people).where(_slots.c.epoch == newest)
            ).all()
        return EpochFigures(
            row.statement,
            row.padded,
            float(row.seconds),
            {each.node: each.people for each in people},
            datetime.fromisoformat(row.linked),
        )
