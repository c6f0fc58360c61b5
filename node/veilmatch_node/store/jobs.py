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

    def take_product(self, digest: bytes, outcome: int, chunk: int, sha256: bytes) -> None:
        """Record which product is about to be opened at a place.

        Raises JobRefusedError where it was another before.
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
        if before not in {None, sha256}:
            raise JobRefusedError(
                "job", "a product came that is not the one of before", "check the coordinator's release"
            )

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

    def close_job(self, digest: bytes) -> None:
        """Erase a job's keys, answers and ciphertexts; that it ran stays known."""
        with self._transaction() as connection:
            self._erase(connection, _jobs.c.manifest_sha256 == digest)
        forget_erased(self._engine)

    def close_expired(self, now: datetime) -> None:
        """Close every job whose manifest has expired, should nobody have closed it."""
        expired = and_(_jobs.c.state != State.CLOSED.value, _jobs.c.expires <= sortable(now))
        with self._transaction() as connection:
            erased = self._erase(connection, expired)
        if erased:
            forget_erased(self._engine)

    @staticmethod
    def _move(connection: Connection, digest: bytes, to: State) -> State:
        this = _jobs.c.manifest_sha256 == digest
        before = connection.scalar(select(_jobs.c.state).where(this))
        if before is None or to not in AFTER[State(before)]:
            raise JobRefusedError(
                "job",
                f"is {before or 'unknown'} here, and does not go on to {to}",
                "submit it again for a new manifest",
            )
        if before != to:
            connection.execute(update(_jobs).where(this).values(state=to.value))
        return State(before)

    @staticmethod
    def _erase(connection: Connection, which: ColumnElement[bool]) -> int:
        these = select(_jobs.c.manifest_sha256).where(which)
        connection.execute(delete(_chunks).where(_chunks.c.manifest_sha256.in_(these)))
        connection.execute(delete(_products).where(_products.c.manifest_sha256.in_(these)))
        erased = {"state": State.CLOSED.value, "secrets": None, "answers": None}
        return connection.execute(update(_jobs).where(which).values(erased)).rowcount

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
