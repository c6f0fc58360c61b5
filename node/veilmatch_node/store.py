"""What a node must remember after a crash, in one SQLite file (SQLAlchemy).

protocol.md, 4.7 shapes it: a manifest starts once, ever; the answers are frozen in the same
transaction; a ciphertext is on disk before it leaves and is resent from there, byte for byte;
closing a job erases its keys and bytes but not the fact that it ran.  SQLite runs with
``synchronous=FULL``: a committed transaction survives a power cut.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    and_,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import IntegrityError

from veilmatch_crypto import BatchError, QuotaError, Vault
from veilmatch_node.errors import JobRefusedError, StoreError
from veilmatch_transport import durable_engine, forget_erased

OUTPUTS = "oprf-outputs"  # the setting that holds the OPRF outputs of all identities ever submitted

_STARTED, _OPENING, _CLOSED = "started", "opening", "closed"  # states of a job, in their order

_metadata = MetaData()
_settings = Table(
    "settings",
    _metadata,
    Column("name", String, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
_epochs = Table(
    "epochs",
    _metadata,
    Column("context", LargeBinary, primary_key=True),
    Column("statement", LargeBinary, nullable=False),
    Column("padded", Integer, nullable=False),
    Column("people", LargeBinary),  # of the newest epoch only
)
_requests = Table(
    "requests",
    _metadata,
    # The order in which the requests were made, which is that of their numbers in an epoch.
    Column("number", Integer, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("request", LargeBinary, nullable=False),
)
_ledger = Table(
    "evaluations",
    _metadata,
    Column("requester", String, primary_key=True),
    Column("epoch", LargeBinary, primary_key=True),
    Column("batch", Integer, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("count", Integer, nullable=False),
)
_sequences = Table(
    "sequences",
    _metadata,
    Column("direction", String, primary_key=True),
    Column("peer", String, primary_key=True),
    Column("last", Integer, nullable=False),
)
_jobs = Table(
    "jobs",
    _metadata,
    Column("manifest_sha256", LargeBinary, primary_key=True),
    Column("manifest", LargeBinary, nullable=False),
    Column("state", String, nullable=False),
    # The modulus of the recipient's Paillier key, hashed: a key seen before is refused (protocol.md, 4.1).
    Column("key", LargeBinary, nullable=False, unique=True),
    Column("expires", String, nullable=False),
    Column("secrets", LargeBinary),
    Column("answers", LargeBinary),
)
_counts = Table(
    "counts",
    _metadata,
    # What was counted in which epoch: a second count of it would take the noise off the first (protocol.md, 5.5).
    Column("epoch", LargeBinary, primary_key=True),
    Column("content", LargeBinary, primary_key=True),
)
_chunks = Table(
    "chunks",
    _metadata,
    Column("manifest_sha256", LargeBinary, primary_key=True),
    Column("outcome", Integer, primary_key=True),
    Column("chunk", Integer, primary_key=True),
    Column("ciphertexts", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)


@dataclass(frozen=True)
class StoredEpoch:
    """A linked epoch: ``people`` is the serialised table of this node's people and their slots."""

    statement: bytes
    padded: int
    people: bytes


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


class NodeStore:
    """The node's one store.  Every method is one transaction."""

    def __init__(self, path: Path, vault: Vault) -> None:
        self._vault = vault
        self._engine = durable_engine(path)
        _metadata.create_all(self._engine)

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection

    # Settings: the directory's version, keys that this node drew, outputs that it keeps.

    def setting(self, name: str) -> bytes | None:
        """Return a setting, or None where it was never set."""
        with self._transaction() as connection:
            value = connection.scalar(select(_settings.c.value).where(_settings.c.name == name))
        return None if value is None else self._vault.unlock(("settings", name), value)

    def set_setting(self, name: str, value: bytes) -> None:
        """Set a setting, replacing what it was."""
        locked = self._vault.lock(("settings", name), value)
        statement = upsert(_settings).values(name=name, value=locked)
        with self._transaction() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=["name"], set_={"value": locked})
            )

    def setting_once(self, name: str, drawn: bytes) -> bytes:
        """Set a setting unless it was ever set, and return what it is: the same to all who ask at once."""
        locked = self._vault.lock(("settings", name), drawn)
        with self._transaction() as connection:
            connection.execute(
                upsert(_settings).values(name=name, value=locked).on_conflict_do_nothing(["name"])
            )
            value = connection.scalar(select(_settings.c.value).where(_settings.c.name == name))
        if value is None:
            raise StoreError(name, "cannot be kept", "look at the store's disk")
        return self._vault.unlock(("settings", name), value)

    # Epochs (protocol.md, 3).

    def save_epoch(self, context: bytes, epoch: StoredEpoch) -> None:
        """Keep a linked epoch, and erase who had which slot in all earlier ones.

        An epoch is linked once, ever: saving it again raises StoreError.
        """
        people = self._vault.lock(("epochs", context), epoch.people)
        row = {"context": context, "statement": epoch.statement, "padded": epoch.padded, "people": people}
        try:
            with self._transaction() as connection:
                connection.execute(update(_epochs).values(people=None))
                connection.execute(insert(_epochs).values(row))
        except IntegrityError:
            raise StoreError("epoch", "is already linked at this node", "open a new epoch") from None
        forget_erased(self._engine)

    def epoch(self, context: bytes) -> StoredEpoch | None:
        """Return the newest linked epoch, or None where ``context`` is another's."""
        with self._transaction() as connection:
            row = connection.execute(select(_epochs).where(_epochs.c.context == context)).one_or_none()
        if row is None or row.people is None:
            return None
        return StoredEpoch(row.statement, row.padded, self._vault.unlock(("epochs", context), row.people))

    # OPRF requests that are under way: their blinds are on disk before the elements leave, so that a crash
    # repeats the same request, which no trustee counts twice (protocol.md, 3.2).

    def keep_request(self, digest: bytes, request: bytes) -> None:
        """Keep a request before it leaves; ``digest`` is the SHA-256 of its elements."""
        locked = self._vault.lock(("requests", digest), request)
        with self._transaction() as connection:
            connection.execute(insert(_requests).values(digest=digest, request=locked))

    def requests(self) -> list[bytes]:
        """Return the requests that were kept and never finished, in the order in which they were kept."""
        with self._transaction() as connection:
            rows = connection.execute(select(_requests).order_by(_requests.c.number)).all()
        return [self._vault.unlock(("requests", row.digest), row.request) for row in rows]

    def finish_requests(self, outputs: bytes, digests: Sequence[bytes]) -> None:
        """Replace the outputs that this node keeps, and forget these requests: they are among them now."""
        locked = self._vault.lock(("settings", OUTPUTS), outputs)
        row = upsert(_settings).values(name=OUTPUTS, value=locked)
        with self._transaction() as connection:
            connection.execute(row.on_conflict_do_update(index_elements=["name"], set_={"value": locked}))
            for digest in digests:
                connection.execute(delete(_requests).where(_requests.c.digest == digest))
        forget_erased(self._engine)

    # The trustee's ledger: veilmatch_crypto.batches.QuotaLedger.

    def charge(
        self, *, requester: str, epoch: bytes, index: int, digest: bytes, count: int, limit: int
    ) -> None:
        """Count a batch against its requester, once, on disk before the trustee evaluates.

        Raises BatchError where the index of the epoch was used for another batch, QuotaError where
        the requester's total would pass ``limit``; both count nothing.
        """
        mine = _ledger.c.requester == requester
        with self._transaction() as connection:
            place = select(_ledger.c.digest).where(mine, _ledger.c.epoch == epoch, _ledger.c.batch == index)
            placed = connection.scalar(place)
            if placed is not None and placed != digest:
                raise BatchError(f"batch {index} of {requester} was another one before")
            if placed is not None:
                return
            counted = connection.scalar(select(_ledger.c.count).where(mine, _ledger.c.digest == digest))
            used = connection.scalar(select(func.coalesce(func.sum(_ledger.c.count), 0)).where(mine)) or 0
            if counted is None and used + count > limit:
                raise QuotaError(
                    f"{requester} asks for more evaluations than the {limit} that its officer signed"
                )
            row = {"requester": requester, "epoch": epoch, "batch": index, "digest": digest}
            # The same request in a later epoch takes a place there but is not counted again.
            connection.execute(insert(_ledger).values(**row, count=0 if counted is not None else count))

    # Sealed messages (protocol.md, 1): sequence numbers never repeat.

    def next_sequence(self, receiver: str) -> int:
        """Draw the next sequence number for a message to ``receiver``, from 1."""
        with self._transaction() as connection:
            return self._advance(connection, "sent", receiver, self._last(connection, "sent", receiver) + 1)

    def last_sequence(self, sender: str) -> int:
        """Return the sequence number of the last message opened from ``sender``, 0 before the first."""
        with self._transaction() as connection:
            return self._last(connection, "received", sender)

    def record_sequence(self, sender: str, sequence: int) -> None:
        """Record that a message from ``sender`` was opened.

        Raises StoreError unless its number is higher than that of every one before.
        """
        with self._transaction() as connection:
            if sequence <= self._last(connection, "received", sender):
                raise StoreError("message", f"from {sender} was opened before", "link again")
            self._advance(connection, "received", sender, sequence)

    @staticmethod
    def _last(connection: Connection, direction: str, peer: str) -> int:
        row = select(_sequences.c.last).where(_sequences.c.direction == direction, _sequences.c.peer == peer)
        return connection.scalar(row) or 0

    @staticmethod
    def _advance(connection: Connection, direction: str, peer: str, last: int) -> int:
        row = upsert(_sequences).values(direction=direction, peer=peer, last=last)
        connection.execute(
            row.on_conflict_do_update(index_elements=["direction", "peer"], set_={"last": last})
        )
        return last

    # Jobs (protocol.md, 4.7).

    def start_job(self, digest: bytes, job: StoredJob, *, key: bytes, expires: datetime) -> None:
        """Record a manifest as started, with everything that it froze, until it is closed or ``expires``.

        ``key`` is the hash of the recipient's Paillier modulus.  Raises JobRefusedError where the
        manifest ever started here before, or the key served another one.
        """
        row = {
            "manifest_sha256": digest,
            "manifest": job.manifest,
            "state": _STARTED,
            "key": key,
            "expires": _sortable(expires),
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

    def start_opening(self, digest: bytes) -> None:
        """Record that the recipient opens, before the first ciphertext.  Raises JobRefusedError the second time."""
        this = (_jobs.c.manifest_sha256 == digest, _jobs.c.state == _STARTED)
        with self._transaction() as connection:
            opened = connection.execute(update(_jobs).where(*this).values(state=_OPENING)).rowcount
        if opened != 1:
            raise JobRefusedError(
                "job", "was opened before, or is closed", "submit it again for a new manifest"
            )

    def start_counts(self, epoch: bytes, contents: Sequence[bytes]) -> None:
        """Record what is about to be counted in an epoch, by the hash of what each policy asks.

        Raises JobRefusedError where one was counted before, whether or not that ended well.
        """
        rows = [{"epoch": epoch, "content": content} for content in contents]
        try:
            with self._transaction() as connection:
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
        if row is None or row.state == _CLOSED:
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
        expired = and_(_jobs.c.state != _CLOSED, _jobs.c.expires <= _sortable(now))
        with self._transaction() as connection:
            erased = self._erase(connection, expired)
        if erased:
            forget_erased(self._engine)

    @staticmethod
    def _erase(connection: Connection, which: ColumnElement[bool]) -> int:
        these = select(_jobs.c.manifest_sha256).where(which)
        connection.execute(delete(_chunks).where(_chunks.c.manifest_sha256.in_(these)))
        erased = {"state": _CLOSED, "secrets": None, "answers": None}
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
        still_open = select(_jobs.c.state).where(_jobs.c.manifest_sha256 == digest, _jobs.c.state != _CLOSED)
        with self._transaction() as connection:
            if connection.scalar(still_open) is not None:
                connection.execute(upsert(_chunks).values(row).on_conflict_do_nothing())
        kept = self.chunk(digest, outcome, chunk)
        if kept is None:
            raise StoreError("job", "was closed while it contributed", "submit the job again")
        return kept


def _sortable(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
