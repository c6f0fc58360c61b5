"""What a node remembers of linkages: epochs, OPRF requests and outputs, the trustee's ledger, sealed messages."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    LargeBinary,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from veilmatch_crypto import BatchError, QuotaError
from veilmatch_node.errors import StoreError
from veilmatch_node.store.base import VaultStore, metadata, settings
from veilmatch_transport import forget_erased, upsert

OUTPUTS = "oprf-outputs"  # the setting in which release 0.1.0 kept the outputs of all identities
TAG_KEY = "linked-tag-key"  # the setting that holds the key of linked people's tags (linked.py)

epochs = Table(
    "epochs",
    metadata,
    Column("context", LargeBinary, primary_key=True),
    Column("statement", LargeBinary, nullable=False),
    Column("padded", Integer, nullable=False),
    Column("people", LargeBinary),  # of the newest epoch only
)
_linked = Table(
    "linked",
    metadata,
    # Who was linked, of every epoch: what is told of jobs long after the epoch's people are erased.
    Column("context", LargeBinary, primary_key=True),
    Column("tags", LargeBinary, nullable=False),
)
_requests = Table(
    "requests",
    metadata,
    # The order in which the requests were made, which is that of their numbers in an epoch.
    Column("number", Integer, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("request", LargeBinary, nullable=False),
)
_outputs = Table(
    "outputs",
    metadata,
    # Of all identities ever submitted, in pieces: a linkage adds its new ones and writes no other again.
    Column("number", Integer, primary_key=True),
    Column("outputs", LargeBinary, nullable=False),
)
_ledger = Table(
    "evaluations",
    metadata,
    Column("requester", String, primary_key=True),
    Column("epoch", LargeBinary, primary_key=True),
    Column("batch", Integer, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("count", Integer, nullable=False),
)
_AHEAD = 1_000_000  # messages that a node may have sent since a backup was made
_sequences = Table(
    "sequences",
    metadata,
    Column("direction", String, primary_key=True),
    Column("peer", String, primary_key=True),
    Column("last", Integer, nullable=False),
)


@dataclass(frozen=True)
class StoredEpoch:
    """A linked epoch: ``people`` is the serialised table of this node's people and their slots."""

    statement: bytes
    padded: int
    people: bytes


class LinkageState(VaultStore):
    """The part of the store that linkages use (protocol.md, 3)."""

    # Epochs (protocol.md, 3).

    def save_epoch(self, context: bytes, epoch: StoredEpoch, tags: bytes) -> None:
        """Keep a linked epoch and its people's ``tags``, and erase who had which slot in all earlier ones.

        An epoch is linked once, ever: saving it again raises StoreError.
        """
        people = self._vault.lock(("epochs", context), epoch.people)
        row = {"context": context, "statement": epoch.statement, "padded": epoch.padded, "people": people}
        linked = {"context": context, "tags": self._vault.lock(("linked", context), tags)}
        try:
            with self._transaction() as connection:
                connection.execute(update(epochs).values(people=None))
                connection.execute(insert(epochs).values(row))
                connection.execute(insert(_linked).values(linked))
        except IntegrityError:
            raise StoreError("epoch", "is already linked at this node", "open a new epoch") from None
        forget_erased(self._engine)

    def epoch(self, context: bytes) -> StoredEpoch | None:
        """Return the newest linked epoch, or None where ``context`` is another's."""
        with self._transaction() as connection:
            row = connection.execute(select(epochs).where(epochs.c.context == context)).one_or_none()
        if row is None or row.people is None:
            return None
        return StoredEpoch(row.statement, row.padded, self._vault.unlock(("epochs", context), row.people))

    def linked(self, context: bytes) -> bytes | None:
        """Return the tags of the people who were linked in an epoch, None where it is not remembered."""
        with self._transaction() as connection:
            tags = connection.scalar(select(_linked.c.tags).where(_linked.c.context == context))
        return None if tags is None else self._vault.unlock(("linked", context), tags)

    def forget_people(self) -> None:
        """Erase who has which slot, of every epoch: the next linkage opens a new one."""
        with self._transaction() as connection:
            connection.execute(update(epochs).values(people=None))
        forget_erased(self._engine)

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

    def outputs(self) -> Iterator[bytes]:
        """Yield what is kept of all identities ever submitted, in the pieces in which it came."""
        with self._transaction() as connection:
            numbers = connection.scalars(select(_outputs.c.number).order_by(_outputs.c.number)).all()
        for number in numbers:
            with self._transaction() as connection:
                locked = connection.scalar(select(_outputs.c.outputs).where(_outputs.c.number == number))
            if locked is None:
                raise StoreError("OPRF outputs", "went while they were read", "link again")
            yield self._vault.unlock(("outputs", number), locked)

    def finish_requests(self, outputs: Iterable[bytes], digests: Sequence[bytes]) -> None:
        """Keep further outputs, in pieces, and forget these requests: they are among them now."""
        with self._transaction() as connection:
            self._add_outputs(connection, outputs)
            for digest in digests:
                connection.execute(delete(_requests).where(_requests.c.digest == digest))
        forget_erased(self._engine)

    def divide_outputs(self, outputs: Iterable[bytes]) -> None:
        """Keep in pieces what was kept as the setting `OUTPUTS`."""
        with self._transaction() as connection:
            self._add_outputs(connection, outputs)
            connection.execute(delete(settings).where(settings.c.name == OUTPUTS))
        forget_erased(self._engine)

    def _add_outputs(self, connection: Connection, pieces: Iterable[bytes]) -> None:
        kept = connection.scalar(select(func.max(_outputs.c.number))) or 0
        for number, piece in enumerate(pieces, kept + 1):
            locked = self._vault.lock(("outputs", number), piece)
            connection.execute(insert(_outputs).values(number=number, outputs=locked))

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

    def jump_ahead(self) -> None:
        """Leave out numbers that messages may have had which this store does not know of."""
        with self._transaction() as connection:
            sent = update(_sequences).where(_sequences.c.direction == "sent")
            connection.execute(sent.values(last=_sequences.c.last + _AHEAD))

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
        upsert(connection, _sequences, {"direction": direction, "peer": peer, "last": last})
        return last
