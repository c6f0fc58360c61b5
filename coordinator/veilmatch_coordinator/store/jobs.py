"""What the coordinator remembers of jobs (protocol.md, 4.7): manifests, presented slots, combined chunks, counts."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    LargeBinary,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from veilmatch_coordinator.errors import JobError, StoreError
from veilmatch_coordinator.store.base import StorePart, metadata
from veilmatch_transport import forget_erased

_STARTED, _CLOSED = "started", "closed"  # states of a job

_jobs = Table(
    "jobs",
    metadata,
    Column("manifest_sha256", LargeBinary, primary_key=True),
    Column("manifest", LargeBinary, nullable=False),
    Column("state", String, nullable=False),
    # The recipient's Paillier modulus, hashed: one seen before is refused (protocol.md, 4.1).
    Column("key", LargeBinary, nullable=False, unique=True),
    Column("presented", LargeBinary),
)
_counts = Table(
    "counts",
    metadata,
    # A policy that reveals a count is counted once an epoch (protocol.md, 5.5).
    Column("epoch", LargeBinary, primary_key=True),
    Column("content", LargeBinary, primary_key=True),
    Column("result", LargeBinary, nullable=False),
)
_combined = Table(
    "combined",
    metadata,
    Column("manifest_sha256", LargeBinary, primary_key=True),
    Column("outcome", Integer, primary_key=True),
    Column("chunk", Integer, primary_key=True),
    Column("blank", LargeBinary, nullable=False),
    Column("product", LargeBinary, nullable=False),
)


@dataclass(frozen=True)
class StoredChunk:
    """A combined chunk: the coordinator's own ciphertexts B and the product that the recipient gets."""

    blank: bytes
    product: bytes


class JobState(StorePart):
    """The part of the store that jobs use while they run."""

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
