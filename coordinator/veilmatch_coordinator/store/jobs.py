"""What the coordinator remembers of jobs (protocol.md, 4.7): manifests, presented slots, combined chunks, counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    Column,
    Integer,
    LargeBinary,
    String,
    Table,
    and_,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from veilmatch_coordinator.errors import JobError, StoreError
from veilmatch_coordinator.states import ManifestState
from veilmatch_coordinator.store.base import StorePart, metadata
from veilmatch_transport import forget_erased

_jobs = Table(
    "jobs",
    metadata,
    Column("manifest_sha256", LargeBinary, primary_key=True),
    Column("manifest", LargeBinary, nullable=False),
    Column("state", String, nullable=False),  # states.ManifestState
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
_closings = Table(
    "closings",
    metadata,
    # Parties that are still to be told that a job is over.
    Column("manifest_sha256", LargeBinary, primary_key=True),
    Column("node", String, primary_key=True),
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
        row = {
            "manifest_sha256": digest,
            "manifest": manifest,
            "state": ManifestState.STARTED.value,
            "key": key,
        }
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

    def product(self, digest: bytes, outcome: int, chunk: int) -> bytes:
        """Return a combined chunk's product.  Raises StoreError where there is none, or the job is over."""
        place = (
            _combined.c.manifest_sha256 == digest,
            _combined.c.outcome == outcome,
            _combined.c.chunk == chunk,
        )
        with self._engine.begin() as connection:
            product: bytes | None = connection.scalar(select(_combined.c.product).where(*place))
        if product is None:
            raise StoreError("job: a product is gone from the store; submit the job again")
        return product

    # The end of a job.

    def start_closing(self, digest: bytes, nodes: Sequence[str]) -> None:
        """Erase a job's presented slots and ciphertexts; ``nodes`` are to be told that it is over.

        That it ran stays known.  A second time does nothing.
        """
        this = and_(_jobs.c.manifest_sha256 == digest, _jobs.c.state == ManifestState.STARTED.value)
        rows = [{"manifest_sha256": digest, "node": node} for node in nodes]
        with self._engine.begin() as connection:
            over = update(_jobs).where(this).values(state=ManifestState.CLOSING.value, presented=None)
            if connection.execute(over).rowcount and rows:
                connection.execute(insert(_closings), rows)
            connection.execute(delete(_combined).where(_combined.c.manifest_sha256 == digest))
        forget_erased(self._engine)

    def unfinished(self) -> list[bytes]:
        """Return the manifests, as they were delivered, of jobs that are not closed."""
        open_still = select(_jobs.c.manifest).where(_jobs.c.state != ManifestState.CLOSED.value)
        with self._engine.begin() as connection:
            return list(connection.scalars(open_still))

    def to_close(self, digest: bytes) -> list[str]:
        """Return the nodes that are still to be told that a job is over."""
        waiting = select(_closings.c.node).where(_closings.c.manifest_sha256 == digest)
        with self._engine.begin() as connection:
            return list(connection.scalars(waiting.order_by(_closings.c.node)))

    def closed_at(self, digest: bytes, node: str) -> None:
        """A node has closed a job."""
        this = and_(_closings.c.manifest_sha256 == digest, _closings.c.node == node)
        with self._engine.begin() as connection:
            connection.execute(delete(_closings).where(this))

    def close_job(self, digest: bytes) -> None:
        """A job is over at all parties, or its time is; what an auditor gets is signed."""
        closing = and_(_jobs.c.manifest_sha256 == digest, _jobs.c.state == ManifestState.CLOSING.value)
        with self._engine.begin() as connection:
            connection.execute(update(_jobs).where(closing).values(state=ManifestState.CLOSED.value))
            connection.execute(delete(_closings).where(_closings.c.manifest_sha256 == digest))
