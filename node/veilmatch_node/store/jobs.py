"""What a node remembers of jobs (protocol.md, 4.7): manifests, frozen answers, ciphertexts, counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
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

from veilmatch_node.errors import JobRefusedError, StoreError
from veilmatch_node.states import AFTER, State
from veilmatch_node.store.base import VaultStore, metadata, sortable
from veilmatch_transport import forget_erased, insert_once

_jobs = Table(
    "jobs",
    metadata,
    Column("manifest_sha256", LargeBinary, primary_key=True),
    Column("manifest", LargeBinary, nullable=False),
    Column("state", String, nullable=False),  # states.State
    # The modulus of the recipient's Paillier key, hashed: a key seen before is refused (protocol.md, 4.1).
    Column("key", LargeBinary, nullable=False, unique=True),
    Column("expires", String, nullable=False),
    Column("secrets", LargeBinary),
    Column("answers", LargeBinary),
    Column("results", LargeBinary),  # of a recipient that delivers, until they are in its files
)
_counts = Table(
    "counts",
    metadata,
    # What was counted in which epoch: a second count of it would take the noise off the first (protocol.md, 5.5).
    Column("epoch", LargeBinary, primary_key=True),
    Column("content", LargeBinary, primary_key=True),
)
_products = Table(
    "products",
    metadata,
    # What the recipient opened, or is about to: under the same masks nothing else is ever opened (protocol.md, 4.7).
    Column("manifest_sha256", LargeBinary, primary_key=True),
    Column("outcome", Integer, primary_key=True),
    Column("chunk", Integer, primary_key=True),
    Column("sha256", LargeBinary, nullable=False),
)
_chunks = Table(
    "chunks",
    metadata,
    Column("manifest_sha256", LargeBinary, primary_key=True),
    Column("outcome", Integer, primary_key=True),
    Column("chunk", Integer, primary_key=True),
    Column("ciphertexts", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)


@dataclass(frozen=True)
class StoredJob:
    """A started job.  ``secrets`` and ``answers`` are as they were frozen at its start."""

    manifest: bytes
    secrets: bytes
    answers: bytes

    def __repr__(self) -> str:
        return "StoredJob(...)"


@dataclass(frozen=True)
class StoredChunk:
    """A contribution as it left, or will leave, this node."""

    ciphertexts: bytes
    signature: bytes


class JobState(VaultStore):
    """The part of the store that jobs use."""

    # Jobs (protocol.md, 4.7).

    def start_job(self, digest: bytes, job: StoredJob, *, key: bytes, expires: datetime) -> None:
        """Record a manifest as started, with everything that it froze, until it is closed or ``expires``.

        ``key`` is the hash of the recipient's Paillier modulus.  Raises JobRefusedError where the
        manifest ever started here before, or the key served another one.
        """
        row = {
            "manifest_sha256": digest,
            "manifest": job.manifest,
            "state": State.STARTED.value,
            "key": key,
            "expires": sortable(expires),
            "secrets": self._vault.lock(("jobs", digest, "secrets"), job.secrets),
            "answers": self._vault.lock(("jobs", digest, "answers"), job.answers),
        }
        try:
            with self._transaction() as connection:
                connection.execute(insert(_jobs).values(row))
        except IntegrityError:
            raise JobRefusedError(
                "job",
                "its manifest or its Paillier key was used here before",
                "submit the job again for new ones",
            ) from None

    def state(self, digest: bytes) -> State | None:
        """Return where a manifest is, None where it never started here."""
        with self._transaction() as connection:
            state = connection.scalar(select(_jobs.c.state).where(_jobs.c.manifest_sha256 == digest))
        return None if state is None else State(state)

    def move(self, digest: bytes, to: State) -> State:
        """Take a manifest into a state, and return where it was.

        Raises JobRefusedError where that does not follow where it is (states.AFTER).
        """
        with self._transaction() as connection:
            return self._move(connection, digest, to)

    def require(self, digest: bytes, to: State) -> None:
        """Raise JobRefusedError where a manifest cannot go on to a state."""
        with self._transaction() as connection:
            self._following(connection, digest, to)

    def take_product(self, digest: bytes, outcome: int, chunk: int, sha256: bytes) -> bool:
        """Record which product is about to be opened at a place; False where it was another before.

        Raises JobRefusedError where the manifest is not being opened.
        """
        row = {"manifest_sha256": digest, "outcome": outcome, "chunk": chunk, "sha256": sha256}
        place = (
            _products.c.manifest_sha256 == digest,
            _products.c.outcome == outcome,
            _products.c.chunk == chunk,
        )
        with self._transaction() as connection:
            self._move(connection, digest, State.OPENING)
            before = connection.scalar(select(_products.c.sha256).where(*place))
            if before is None:
                connection.execute(insert(_products).values(row))
        return before in {None, sha256}

    def deliver(self, digest: bytes, results: bytes) -> None:
        """Keep a recipient's results, which are then delivered, whatever happens to their files."""
        locked = self._vault.lock(("jobs", digest, "results"), results)
        with self._transaction() as connection:
            self._move(connection, digest, State.DELIVERED)
            kept = update(_jobs).where(_jobs.c.manifest_sha256 == digest).values(results=locked)
            connection.execute(kept)

    def to_write(self) -> dict[bytes, bytes]:
        """Return delivered results that are not said to be in their files yet, by manifest."""
        kept = select(_jobs.c.manifest_sha256, _jobs.c.results).where(_jobs.c.results.is_not(None))
        with self._transaction() as connection:
            rows = connection.execute(kept).all()
        return {
            row.manifest_sha256: self._vault.unlock(("jobs", row.manifest_sha256, "results"), row.results)
            for row in rows
        }

    def written(self, digest: bytes) -> None:
        """Results are in their files."""
        with self._transaction() as connection:
            connection.execute(update(_jobs).where(_jobs.c.manifest_sha256 == digest).values(results=None))

    def start_circuits(self, digest: bytes, epoch: bytes, contents: Sequence[bytes]) -> None:
        """Record that the circuits begin, and what they count in an epoch, by the hash of what each policy asks.

        Raises JobRefusedError where one was counted before, whether or not that ended well, and where the
        circuits of this manifest began before.
        """
        rows = [{"epoch": epoch, "content": content} for content in contents]
        try:
            with self._transaction() as connection:
                self._move(connection, digest, State.DECIDING)
                if rows:
                    connection.execute(insert(_counts), rows)
        except IntegrityError:
            raise JobRefusedError(
                "job", "counts what was counted in this epoch before", "read that count, or open a new epoch"
            ) from None

    def job(self, digest: bytes) -> StoredJob | None:
        """Return a started job, or None where it never started here or is closed."""
        with self._transaction() as connection:
            row = connection.execute(select(_jobs).where(_jobs.c.manifest_sha256 == digest)).one_or_none()
        if row is None or row.state == State.CLOSED.value:
            return None
        secrets = self._vault.unlock(("jobs", digest, "secrets"), row.secrets)
        return StoredJob(row.manifest, secrets, self._vault.unlock(("jobs", digest, "answers"), row.answers))

    def manifest(self, digest: bytes) -> bytes | None:
        """Return a manifest that started here, also of a job that is closed; None where it never did."""
        with self._transaction() as connection:
            data: bytes | None = connection.scalar(
                select(_jobs.c.manifest).where(_jobs.c.manifest_sha256 == digest)
            )
        return data

    def close_job(self, digest: bytes) -> None:
        """Erase a job's keys, answers and ciphertexts; that it ran stays known."""
        with self._transaction() as connection:
            self._erase(connection, _jobs.c.manifest_sha256 == digest)
        forget_erased(self._engine)

    def close_expired(self, now: datetime) -> list[bytes]:
        """Close every job whose manifest has expired, should nobody have closed it; those manifests' bytes."""
        expired = and_(_jobs.c.state != State.CLOSED.value, _jobs.c.expires <= sortable(now))
        with self._transaction() as connection:
            manifests = list(connection.scalars(select(_jobs.c.manifest).where(expired)))
            self._erase(connection, expired)
        if manifests:
            forget_erased(self._engine)
        return manifests

    @classmethod
    def _move(cls, connection: Connection, digest: bytes, to: State) -> State:
        before = cls._following(connection, digest, to)
        if before is not to:
            this = _jobs.c.manifest_sha256 == digest
            connection.execute(update(_jobs).where(this).values(state=to.value))
        return before

    @staticmethod
    def _following(connection: Connection, digest: bytes, to: State) -> State:
        """Return where a manifest is, from where it may go on."""
        this = _jobs.c.manifest_sha256 == digest
        before = connection.scalar(select(_jobs.c.state).where(this))
        if before is None or to not in AFTER[State(before)]:
            raise JobRefusedError(
                "job",
                f"is {before or 'unknown'} here, and does not go on to {to}",
                "submit it again for a new manifest",
            )
        return State(before)

    @staticmethod
    def _erase(connection: Connection, which: ColumnElement[bool]) -> None:
        these = select(_jobs.c.manifest_sha256).where(which)
        connection.execute(delete(_chunks).where(_chunks.c.manifest_sha256.in_(these)))
        connection.execute(delete(_products).where(_products.c.manifest_sha256.in_(these)))
        erased = {"state": State.CLOSED.value, "secrets": None, "answers": None, "results": None}
        connection.execute(update(_jobs).where(which).values(erased))

    def chunk(self, digest: bytes, outcome: int, chunk: int) -> StoredChunk | None:
        """Return a chunk that was made under this manifest, or None."""
        place = (_chunks.c.manifest_sha256 == digest, _chunks.c.outcome == outcome, _chunks.c.chunk == chunk)
        with self._transaction() as connection:
            row = connection.execute(select(_chunks).where(*place)).one_or_none()
        return None if row is None else StoredChunk(row.ciphertexts, row.signature)

    def keep_chunk(self, digest: bytes, outcome: int, chunk: int, made: StoredChunk) -> StoredChunk:
        """Keep a chunk before it leaves, and return the one to send: the first ever kept, whoever made it.

        Raises StoreError where the job was closed meanwhile: what it erased is not made afresh.
        """
        row = {
            "manifest_sha256": digest,
            "outcome": outcome,
            "chunk": chunk,
            "ciphertexts": made.ciphertexts,
            "signature": made.signature,
        }
        still_open = select(_jobs.c.state).where(
            _jobs.c.manifest_sha256 == digest, _jobs.c.state != State.CLOSED.value
        )
        with self._transaction() as connection:
            if connection.scalar(still_open) is not None:
                insert_once(connection, _chunks, row)
        kept = self.chunk(digest, outcome, chunk)
        if kept is None:
            raise StoreError("job", "was closed while it contributed", "submit the job again")
        return kept
