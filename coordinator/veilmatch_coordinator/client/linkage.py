"""The coordinator's side of a linkage, message by message (protocol.md, 3)."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from veilmatch_coordinator.client.line import Line, Parts
from veilmatch_coordinator.errors import NodeFailedError
from veilmatch_coordinator.slots import LARGEST, VALUE_BYTES, RegisterLists
from veilmatch_policy.epoch import Confirmation, RegisterStatement
from veilmatch_wire.v1 import linkage_pb2, node_pb2

Batch = linkage_pb2.OprfBatch  # relayed as it is: only nodes and trustees read it

_SLOT_BYTES = 1 << 20  # a message of slots: 262,144 people
_LIST_BYTES = 1 << 20  # a message of the register's list: 32,768 people


class LinkTask:
    """A node's linkage (protocol.md, 3), message by message."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._first_part: node_pb2.NodeMessage | None = None

    def ready(self) -> int:
        """Wait until the node has read its data; how many distinct people it has."""
        people = self._line.receive("link_ready").link_ready.people
        if people >= LARGEST:
            raise NodeFailedError(f"{self._line.name}: says that it has {people} people; check its release")
        return people

    def deliver_keys(self, sealed: bytes) -> Confirmation:
        """Deliver the sealed keys; the node's confirmation of them."""
        message = linkage_pb2.SealedMessage(receiver=self._line.name, sealed=sealed)
        self._line.send(node_pb2.CoordinatorMessage(epoch_keys=linkage_pb2.EpochKeys(sealed=message)))
        confirmation = self._line.receive("confirmation").confirmation
        return Confirmation(confirmation.name, confirmation.digest, confirmation.signature)

    def send_confirmations(self, confirmations: Sequence[Confirmation]) -> None:
        """Show the node what all nodes confirmed."""
        every = [
            linkage_pb2.EpochKeyConfirmation(name=each.name, digest=each.digest, signature=each.signature)
            for each in confirmations
        ]
        message = linkage_pb2.EpochKeyConfirmations(confirmations=every)
        self._line.send(node_pb2.CoordinatorMessage(confirmations=message))

    def batches(self, *, last: str) -> Iterator[Batch]:
        """Yield blinded batches, each to be answered, until the message named ``last`` ends them.

        That is "pseudonyms" in union mode and "people_evaluated" in register mode.
        """
        while True:
            message = self._line.receive("batch", last)
            if message.WhichOneof("body") == last:
                self._first_part = message
                return
            yield message.batch

    def answer(self, batch: Batch) -> None:
        """Give an evaluated batch back; where the node has ended the task, who takes its batches finds out why."""
        self._line.send_unless_ended(node_pb2.CoordinatorMessage(batch=batch))

    def break_off(self) -> None:
        """End the task at once: who waits for its batches is woken."""
        self._line.break_off()

    def pseudonyms(self, size: int) -> bytes:
        """Return the node's pseudonyms, after ``batches`` has ended; at most ``size`` bytes are taken."""
        parts = Parts(self._line.name, size)
        message = self._first_part or self._line.receive("pseudonyms")
        parts.add(message.pseudonyms.pseudonyms)
        while not message.pseudonyms.last:
            message = self._line.receive("pseudonyms")
            parts.add(message.pseudonyms.pseudonyms)
        return bytes(parts.data)

    def send_slots(self, slots: bytes, padded: int) -> None:
        """Tell the node its slots (uint32, little-endian) and wait until it kept them."""
        for start in range(0, max(len(slots), 1), _SLOT_BYTES):
            part, last = slots[start : start + _SLOT_BYTES], start + _SLOT_BYTES >= len(slots)
            self._line.send(
                node_pb2.CoordinatorMessage(slots=linkage_pb2.Slots(slots=part, padded=padded, last=last))
            )
        self._line.receive("done")

    def draw_slots(self, people: int) -> RegisterLists:
        """Have the register of ``people`` draw the epoch's slots; its list and claims."""
        self._line.send(node_pb2.CoordinatorMessage(draw_slots=linkage_pb2.DrawSlots()))
        said = self._line.receive("register_statement").register_statement
        values, claims = (
            Parts(self._line.name, VALUE_BYTES * people),
            Parts(self._line.name, VALUE_BYTES * people),
        )
        last = False
        while not last:
            listed = self._line.receive("register_list").register_list
            values.add(listed.values)
            last = listed.last
        last = False
        while not last:
            claimed = self._line.receive("register_claims").register_claims
            claims.add(claimed.claims)
            last = claimed.last
        self._line.receive("done")
        statement = RegisterStatement(said.count, said.digest, said.signature)
        return RegisterLists(statement, bytes(values.data), bytes(claims.data))

    def send_register(self, statement: RegisterStatement, values: bytes) -> None:
        """Relay the register's list to the node and wait until it found its people."""
        signed = linkage_pb2.RegisterStatement(
            count=statement.count, digest=statement.digest, signature=statement.signature
        )
        self._line.send(node_pb2.CoordinatorMessage(register_statement=signed))
        for start in range(0, max(len(values), 1), _LIST_BYTES):
            part, last = values[start : start + _LIST_BYTES], start + _LIST_BYTES >= len(values)
            message = linkage_pb2.RegisterList(values=part, last=last)
            self._line.send(node_pb2.CoordinatorMessage(register_list=message))
        self._line.receive("done")


class TrusteeTask:
    """A trustee's evaluations (protocol.md, 3 step 2), several at once."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._sending = threading.Lock()
        self._sent = 0
        self._answers = Places()

    def evaluate(self, batch: Batch) -> Batch:
        """Have one batch evaluated, from any thread: the trustee has the next one in hand when it is done with this.

        Where the trustee fails, all who wait for it get that first failure.
        """
        with self._sending:
            self._line.send_unless_ended(node_pb2.CoordinatorMessage(batch=batch))
            place = self._sent
            self._sent += 1
        with self._answers.turn(place):
            return self._line.receive("batch").batch


class Places:
    """Hands out turns by number, from 0: what was begun side by side ends in order."""

    def __init__(self) -> None:
        self._next = 0
        self._failure: BaseException | None = None
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, place: int) -> Iterator[None]:
        """Wait for all turns before this one, each of which must come; raises the first failure of any of them."""
        with self._changed:
            self._changed.wait_for(lambda: self._next == place)
        try:
            self._require_whole()
            yield
        except BaseException as error:
            self._failure = self._failure or error
            raise
        finally:
            with self._changed:
                self._next += 1
                self._changed.notify_all()

    def _require_whole(self) -> None:
        if self._failure is not None:
            raise self._failure
