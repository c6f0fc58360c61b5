"""The coordinator's end of work streams: typed conversations with nodes, one class a task.

Whether a node listens or dials out is decided here and nowhere else.  Every failure comes out as
a NodeFailedError that names the node, with the node's own public line.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import grpc
import structlog

from veilmatch_coordinator.errors import NodeFailedError
from veilmatch_coordinator.slots import LARGEST, VALUE_BYTES, RegisterLists
from veilmatch_policy.declarations import DepartmentEntry
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import Confirmation, RegisterStatement
from veilmatch_policy.manifest import PartyKeys
from veilmatch_transport import (
    Code,
    PeerError,
    StreamEnded,
    TlsIdentity,
    WorkStream,
    open_channel,
    open_stream,
)
from veilmatch_wire.v1 import job_pb2, linkage_pb2, node_pb2, node_pb2_grpc

_log = structlog.get_logger(__name__)

Stream = WorkStream[node_pb2.CoordinatorMessage, node_pb2.NodeMessage]
Batch = linkage_pb2.OprfBatch  # relayed as it is: only nodes and trustees read it

_EXIT_CODES = {Code.POLICY_REFUSED: 3, Code.DATA_REFUSED: 4}  # of the command that asked (policies.md)
_LAST = frozenset({"done", "refused"})  # after these a task's stream has nothing more to say
_SLOT_BYTES = 1 << 20  # a message of slots: 262,144 people
_LIST_BYTES = 1 << 20  # a message of the register's list: 32,768 people
_ATTACHED_WITHIN = 15.0  # seconds that a node has to dial in before work for it fails: a restart takes less
_CLOSED_WITHIN = 2.0  # the same where a job is over: it need not wait for a node that is gone
_END_SECONDS = 10.0  # that a node has to end a stream after its task is done


class Contribution(NamedTuple):
    """A chunk as a contributor sent it."""

    outcome: int
    chunk: int
    ciphertexts: bytes
    signature: bytes


class Traffic(NamedTuple):
    """Bytes by node: what it sent and what it received."""

    sent: Mapping[str, int]
    received: Mapping[str, int]


class AttachedNodes(Protocol):
    """Nodes that dialled in and wait for work (service.Attachments)."""

    def open(self, name: str, within: float) -> Stream:
        """Have a node open a work stream.  Raises PeerError where it is not attached in ``within`` seconds."""

    def release(self, stream: Stream) -> None:
        """Let a stream that ``open`` gave end."""


class Nodes:
    """Opens work streams to the federation's nodes."""

    def __init__(self, directory: Directory, tls: TlsIdentity, attached: AttachedNodes) -> None:
        self._directory = directory
        self._tls = tls
        self._attached = attached
        self._channels: dict[str, grpc.Channel] = {}
        self._opening = threading.Lock()

    def conversation(self) -> "Conversation":
        """Begin a set of work streams that end together."""
        return Conversation(self)

    def open(self, name: str, *, within: float = _ATTACHED_WITHIN) -> Stream:
        """Open a work stream to a node, dialling it or asking it to dial, which it can for ``within`` seconds."""
        address = self._directory.member(name).address
        if not address:
            return self._attached.open(name, within)
        with self._opening:
            if name not in self._channels:
                self._channels[name] = open_channel(address, name, self._tls)
            stub = node_pb2_grpc.NodeStub(self._channels[name])
        return open_stream(stub.Work, name)

    def release(self, stream: Stream) -> None:
        """Let a stream end that the node dialled."""
        if not self._directory.member(stream.peer).address:
            self._attached.release(stream)

    def close(self) -> None:
        """Close all channels."""
        for channel in self._channels.values():
            channel.close()


class Conversation:
    """Work streams of one linkage or job: left together, cancelled together."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._streams: list[Stream] = []
        self._changing = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._streams:
            if kind is None:
                stream.close()
            else:
                stream.cancel()
            self._nodes.release(stream)
        if kind is None:
            for stream in self._streams:
                _finish(stream)

    def abort(self, _error: BaseException) -> None:
        """Break all streams off: whoever waits for one of them is woken."""
        with self._changing:
            for stream in self._streams:
                stream.cancel()

    def traffic(self) -> Traffic:
        """Return the bytes of all messages so far, by node."""
        sent: dict[str, int] = {}
        received: dict[str, int] = {}
        for stream in self._streams:
            sent[stream.peer] = sent.get(stream.peer, 0) + stream.bytes_received
            received[stream.peer] = received.get(stream.peer, 0) + stream.bytes_sent
        return Traffic(sent, received)

    def link(self, name: str, statement: bytes, signature: bytes) -> "LinkTask":
        """Begin a node's linkage."""
        task = linkage_pb2.LinkTask(statement=statement, signature=signature)
        return LinkTask(self._begin(name, node_pb2.CoordinatorMessage(link=task)))

    def draw_keys(self, name: str, statement: bytes, signature: bytes) -> dict[str, bytes]:
        """Have the first trustee draw the epoch's keys; sealed messages by receiver."""
        task = linkage_pb2.EpochKeysTask(statement=statement, signature=signature)
        line = self._begin(name, node_pb2.CoordinatorMessage(epoch_keys_task=task))
        drawn = line.receive("epoch_keys_drawn").epoch_keys_drawn
        line.receive("done")
        return {message.receiver: message.sealed for message in drawn.sealed}

    def trustee(self, name: str, statement: bytes, signature: bytes) -> "TrusteeTask":
        """Begin a trustee's evaluations."""
        task = linkage_pb2.TrusteeTask(statement=statement, signature=signature)
        return TrusteeTask(self._begin(name, node_pb2.CoordinatorMessage(trustee=task)))

    def prepare(self, name: str, policies: Sequence[bytes], epoch: bytes) -> "PrepareTask":
        """Send policies to one that may have a part in them; ``epoch`` is the epoch's context."""
        task = job_pb2.PrepareTask(policies=policies, epoch=epoch)
        return PrepareTask(self._begin(name, node_pb2.CoordinatorMessage(prepare=task)))

    def households(self, name: str, digest: bytes, size: int) -> bytes:
        """Ask the registrar who lives with whom: labels by slot, uint32, little-endian, at most ``size`` bytes."""
        task = job_pb2.HouseholdsTask(manifest_sha256=digest)
        line = self._begin(name, node_pb2.CoordinatorMessage(households=task))
        parts, last = _Parts(name, size), False
        while not last:
            message = line.receive("household_labels").household_labels
            parts.add(message.labels)
            last = message.last
        line.receive("done")
        return bytes(parts.data)

    def deal(self, name: str, digest: bytes, households: int, presented: Sequence[int]) -> "DealTask":
        """Ask the dealer for a manifest's randomness."""
        task = job_pb2.DealTask(manifest_sha256=digest, households=households, presented=presented)
        return DealTask(self._begin(name, node_pb2.CoordinatorMessage(deal=task)))

    def contribute(self, name: str, digest: bytes) -> "ContributeTask":
        """Ask for a contributor's chunks."""
        task = job_pb2.ContributeTask(manifest_sha256=digest)
        return ContributeTask(self._begin(name, node_pb2.CoordinatorMessage(contribute=task)))

    def open(self, name: str, digest: bytes) -> "OpenTask":
        """Begin the recipient's opening."""
        task = job_pb2.OpenTask(manifest_sha256=digest)
        return OpenTask(self._begin(name, node_pb2.CoordinatorMessage(open=task)))

    def close_job(self, name: str, digest: bytes) -> None:
        """Have a node erase a job's keys and ciphertexts."""
        task = job_pb2.CloseTask(manifest_sha256=digest)
        message = node_pb2.CoordinatorMessage(close=task)
        self._begin(name, message, within=_CLOSED_WITHIN).receive("done")

    def _begin(
        self, name: str, first: node_pb2.CoordinatorMessage, *, within: float = _ATTACHED_WITHIN
    ) -> "_Line":
        with _named():
            stream = self._nodes.open(name, within=within)
        with self._changing:
            self._streams.append(stream)
        line = _Line(stream, self._nodes)
        line.send(first)
        return line


class _Line:
    """A stream whose failures are NodeFailedErrors."""

    def __init__(self, stream: Stream, nodes: Nodes) -> None:
        self.name = stream.peer
        self._stream = stream
        self._nodes = nodes

    def send(self, message: node_pb2.CoordinatorMessage) -> None:
        """Send a message; where the node has ended the task already, its reason is raised."""
        try:
            with _named():
                self._stream.send(message)
        except StreamEnded:
            self.receive()

    def send_unless_ended(self, message: node_pb2.CoordinatorMessage) -> None:
        """Send a message; where the node has ended the task, the thread that receives finds out why."""
        with _named(), suppress(StreamEnded):
            self._stream.send(message)

    def receive(self, *expected: str) -> node_pb2.NodeMessage:
        """Return the next message, which must be one of those expected."""
        try:
            with _named():
                message = self._stream.receive()
        except StreamEnded:
            raise NodeFailedError(f"{self.name}: ended before it was done; look at its log") from None
        body = message.WhichOneof("body")
        if body in _LAST:
            self._nodes.release(self._stream)
        if body == "refused":
            code = Code(message.refused.code) if message.refused.code in set(Code) else Code.INTERNAL
            raise NodeFailedError(f"{self.name}: {message.refused.text}", _EXIT_CODES.get(code, 5))
        if body not in expected:
            raise NodeFailedError(
                f"{self.name}: sent another message than {' or '.join(expected)}; check its release"
            )
        return message


class LinkTask:
    """A node's linkage (protocol.md, 3), message by message."""

    def __init__(self, line: _Line) -> None:
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
        """Give an evaluated batch back."""
        self._line.send(node_pb2.CoordinatorMessage(batch=batch))

    def pseudonyms(self, size: int) -> bytes:
        """Return the node's pseudonyms, after ``batches`` has ended; at most ``size`` bytes are taken."""
        parts = _Parts(self._line.name, size)
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
            _Parts(self._line.name, VALUE_BYTES * people),
            _Parts(self._line.name, VALUE_BYTES * people),
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
    """A trustee's evaluations (protocol.md, 3 step 2)."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def evaluate(self, batch: Batch) -> Batch:
        """Have one batch evaluated."""
        self._line.send(node_pb2.CoordinatorMessage(batch=batch))
        return self._line.receive("batch").batch


class PrepareTask:
    """A party's part in the manifest (protocol.md, 7)."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def declaration(self) -> DepartmentEntry:
        """Return what the party's catalog says of what it is asked."""
        declared = DepartmentEntry.decode(self._line.receive("declared").declared.declaration)
        if declared.department != self._line.name:
            raise NodeFailedError(f"{self._line.name}: declares for another department; check its release")
        return declared

    def keys(self, draft: bytes) -> PartyKeys:
        """Send the draft; the keys that the party gives for it."""
        self._line.send(node_pb2.CoordinatorMessage(draft=job_pb2.DraftDelivery(draft=draft)))
        keys = self._line.receive("job_keys").job_keys
        return PartyKeys(
            name=self._line.name,
            agreement=keys.agreement.hex(),
            paillier=keys.paillier.hex(),
            signature=keys.signature.hex(),
        )

    def accept(self, manifest: bytes) -> bytes:
        """Deliver the manifest; the hash that the party accepted."""
        self._line.send(node_pb2.CoordinatorMessage(manifest=job_pb2.ManifestDelivery(manifest=manifest)))
        digest = self._line.receive("accepted").accepted.manifest_sha256
        self._line.receive("done")
        return digest


class ContributeTask:
    """A contributor's chunks (protocol.md, 4.3)."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def contributions(self) -> Iterator[Contribution]:
        """Yield the chunks as they come, until the contributor is done."""
        while True:
            message = self._line.receive("contribution", "done")
            if message.WhichOneof("body") == "done":
                return
            part = message.contribution
            yield Contribution(part.outcome, part.chunk, part.ciphertexts, part.signature)


class OpenTask:
    """The recipient's opening (protocol.md, 4.6)."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def presented(self, policy: int, size: int, claims: int) -> tuple[bytes, bytes]:
        """Return the bitmap of the slots that a policy asks about, and their claims in register mode.

        At most ``size`` and ``claims`` bytes are taken.
        """
        bitmap, claimed = _Parts(self._line.name, size), _Parts(self._line.name, claims)
        while True:
            message = self._line.receive("presented").presented
            if message.policy != policy:
                raise NodeFailedError(
                    f"{self._line.name}: presents another policy's slots; check its release"
                )
            bitmap.add(message.bitmap)
            claimed.add(message.claims)
            if message.last:
                return bytes(bitmap.data), bytes(claimed.data)

    def send_combined(self, outcome: int, chunk: int, ciphertexts: bytes) -> None:
        """Send one product chunk."""
        combined = job_pb2.CombinedChunk(outcome=outcome, chunk=chunk, ciphertexts=ciphertexts)
        self._line.send_unless_ended(node_pb2.CoordinatorMessage(combined=combined))

    def opened(self) -> tuple[int, int]:
        """Wait until the recipient has opened the next chunk: its outcome and number."""
        opened = self._line.receive("opened").opened
        return opened.outcome, opened.chunk

    def begin_circuits(self, seed: bytes, households: int) -> None:
        """Say that the circuits begin; ``seed`` is the dealer's, sealed to the recipient."""
        sealed = linkage_pb2.SealedMessage(receiver=self._line.name, sealed=seed)
        begin = job_pb2.BeginCircuits(seed=sealed, households=households)
        self._line.send(node_pb2.CoordinatorMessage(begin_circuits=begin))

    def round(self, body: bytes) -> bytes:
        """Send this party's message of a round; the recipient's of the same round."""
        self._line.send(node_pb2.CoordinatorMessage(round=job_pb2.Round(body=body)))
        return self._line.receive("round").round.body

    def conclude(self, seconds: Mapping[str, float], traffic: Traffic) -> None:
        """Say that all chunks were sent, and wait until the result is written."""
        report = job_pb2.JobReport(seconds=seconds, bytes_sent=traffic.sent, bytes_received=traffic.received)
        self._line.send(node_pb2.CoordinatorMessage(conclude=job_pb2.Conclude(report=report)))
        self._line.receive("done")


class DealTask:
    """The dealer's part (protocol.md, 5.4)."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def seeds(self) -> tuple[bytes, bytes]:
        """Return the sealed seeds: the coordinator's and the recipient's."""
        seeds = self._line.receive("seeds").seeds
        return seeds.coordinator.sealed, seeds.recipient.sealed

    def corrections(self) -> Iterator[bytes]:
        """Yield the corrections as they come, until the dealer is done."""
        while True:
            message = self._line.receive("corrections", "done")
            if message.WhichOneof("body") == "done":
                return
            yield message.corrections.corrections


class _Parts:
    """What a node sends in parts, up to the size that it can have: a node must not fill our memory."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self.data = bytearray()

    def add(self, part: bytes) -> None:
        """Append a part.  Raises NodeFailedError beyond the size."""
        if len(self.data) + len(part) > self._size:
            raise NodeFailedError(f"{self._name}: sent more than was asked for; check its release")
        self.data += part


def _finish(stream: Stream) -> None:
    try:
        stream.finish(_END_SECONDS)
    except PeerError as error:  # all that the task was for has come: the node's end changes nothing
        _log.warning("work stream not ended", node=stream.peer, reason=str(error))


@contextmanager
def _named() -> Iterator[None]:
    """A peer's failure, in this package's terms; the text names the peer already."""
    try:
        yield
    except PeerError as error:
        raise NodeFailedError(str(error)) from None
