"""What the coordinator must remember after a crash, in one SQLite file (SQLAlchemy).

protocol.md, 3 step 4 and 4.7: an epoch's slots are drawn once; the recipient presents its slots once
a manifest; the bytes of B are kept and resent, never made again.  SQLite runs with
``synchronous=FULL``: a committed transaction survives a power cut.  There is nothing here about
any person but pseudonymous slots, claims and ciphertexts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import IntegrityError

from veilmatch_coordinator.errors import JobError, StoreError
from veilmatch_transport import durable_engine, forget_erased

_STARTED, _CLOSED = "started", "closed"  # states of a job

_metadata = MetaData()
_settings = Table(
    "settings", _metadata, Column("name", String, primary_key=True), Column("value", Integer, nullable=False)
)
_epochs = Table(
    "epochs",
    _metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("statement", LargeBinary, nullable=False, unique=True),
    Column("padded", Integer, nullable=False),
    Column("seconds", String, nullable=False),
    Column("claims", LargeBinary),  # in register mode only
)
_slots = Table(
    "slots",
    _metadata,
    Column("epoch", Integer, primary_key=True),
    Column("node", String, primary_key=True),
    Column("people", Integer, nullable=False),
    Column("slots", LargeBinary),  # in union mode only
)
_jobs = Table(
    "jobs",
    _metadata,
    Column("manifest_sha256", LargeBinary, primary_key=True),
    Column("manifest", LargeBinary, nullable=False),
    Column("state", String, nullable=False),
    # The recipient's Paillier modulus, hashed: one seen before is refused (protocol.md, 4.1).
    Column("key", LargeBinary, nullable=False, unique=True),
    Column("presented", LargeBinary),
)
_counts = Table(
    "counts",
    _metadata,
    # A policy that reveals a count is counted once an epoch (protocol.md, 5.5).
    Column("epoch", LargeBinary, primary_key=True),
    Column("content", LargeBinary, primary_key=True),
    Column("result", LargeBinary, nullable=False),
)
_combined = Table(
    "combined",
    _metadata,
    Column("manifest_sha256", LargeBinary, primary_key=True),
    Column("outcome", Integer, primary_key=True),
    Column("chunk", Integer, primary_key=True),
    Column("blank", LargeBinary, nullable=False),
    Column("product", LargeBinary, nullable=False),
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
class StoredChunk:
    """A combined chunk: the coordinator's own ciphertexts B and the product that the recipient gets."""

    blank: bytes
    product: bytes


class CoordinatorStore:
    """The coordinator's one store.  Every method is one transaction."""

    def __init__(self, path: Path) -> None:
        self._engine = durable_engine(path)
        _metadata.create_all(self._engine)

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()

    def directory_version(self) -> int:
        """Return the highest directory version seen, 1 at first."""
        with self._engine.begin() as connection:
            return connection.scalar(select(_settings.c.value).where(_settings.c.name == "directory")) or 1

    def set_directory_version(self, version: int) -> None:
        """Record the directory version in use."""
        statement = upsert(_settings).values(name="directory", value=version)
        with self._engine.begin() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=["name"], set_={"value": version})
            )

    def save_epoch(self, epoch: StoredEpoch) -> None:
        """Keep an epoch whose slots are drawn, before any node hears of them."""
        row = {
            "statement": epoch.statement,
            "padded": epoch.padded,
            "seconds": repr(epoch.seconds),
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

    def start_job(self, digest: bytes, manifest: bytes, key: bytes) -> None:
        """Record a manifest as started; ``key`` is the hash of the recipient's Paillier modulus.

        Raises JobError where either was used before.
        """
        row = {"manifest_sha256": digest, "manifest": manifest, "state": _STARTED, "key": key}
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(_jobs).values(row))
        except IntegrityError:
            raise JobError(
                "job: its manifest or its Paillier key was used before; submit the job again for new ones"
            ) from None

    def present(self, digest: bytes, bitmap: bytes) -> None:
        """Keep whom the recipient asks about; the first answer stands.

        Raises JobError where the recipient presents other slots under the same manifest: two
        sets would show it the difference (protocol.md, 4.6).
        """
        this = _jobs.c.manifest_sha256 == digest
        with self._engine.begin() as connection:
            connection.execute(
                update(_jobs).where(this, _jobs.c.presented.is_(None)).values(presented=bitmap)
            )
            kept = connection.scalar(select(_jobs.c.presented).where(this))
        if kept != bitmap:
            raise JobError("job: the recipient presents other slots than before; submit the job again")

    def keep_chunk(self, digest: bytes, outcome: int, chunk: int, made: StoredChunk) -> None:
        """Keep a combined chunk before the recipient gets it.  Raises StoreError where there is one already."""
        row = {
            "manifest_sha256": digest,
            "outcome": outcome,
            "chunk": chunk,
            "blank": made.blank,
            "product": made.product,
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(_combined).values(row))
        except IntegrityError:
            raise StoreError("job: a chunk was combined twice; submit the job again") from None

    def keep_counts(self, epoch: bytes, results: Mapping[bytes, bytes]) -> None:
        """Keep the results of counts, by the hash of what each policy asks; ``epoch`` is its context."""
        rows = [{"epoch": epoch, "content": content, "result": result} for content, result in results.items()]
        if rows:
            with self._engine.begin() as connection:
                connection.execute(insert(_counts), rows)

    def counted(self, epoch: bytes, content: bytes) -> bytes | None:
        """Return the result of a count that is kept for an epoch, or None."""
        this = (_counts.c.epoch == epoch, _counts.c.content == content)
        with self._engine.begin() as connection:
            result: bytes | None = connection.scalar(select(_counts.c.result).where(*this))
        return result

    def close_job(self, digest: bytes) -> None:
        """Erase a job's presented slots and ciphertexts; that it ran stays known."""
        self._close(_jobs.c.manifest_sha256 == digest)

    def close_interrupted(self) -> None:
        """Close the jobs of a coordinator that was killed: their keys died with its process."""
        self._close(_jobs.c.state == _STARTED)

    def _close(self, which: ColumnElement[bool]) -> None:
        these = select(_jobs.c.manifest_sha256).where(which)
        with self._engine.begin() as connection:
            connection.execute(delete(_combined).where(_combined.c.manifest_sha256.in_(these)))
            connection.execute(update(_jobs).where(which).values(state=_CLOSED, presented=None))
        forget_erased(self._engine)
