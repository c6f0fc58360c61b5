"""Work streams to nodes, opened and ended together.

Whether a node listens or dials out is decided here and nowhere else.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self
from weakref import WeakSet

import grpc
import structlog

from veilmatch_coordinator.client.job import ContributeTask, DealTask, OpenTask, PrepareTask, Traffic
from veilmatch_coordinator.client.line import Line, Parts, Stream, named
from veilmatch_coordinator.client.linkage import LinkTask, TrusteeTask
from veilmatch_evidence.records import Head
from veilmatch_policy.directory import Directory
from veilmatch_transport import TlsIdentity, TransportError, open_channel, open_stream
from veilmatch_transport.metrics import Metrics
from veilmatch_wire.v1 import job_pb2, linkage_pb2, node_pb2, node_pb2_grpc

_log = structlog.get_logger(__name__)

_ATTACHED_WITHIN = 15.0  # seconds that a node has to dial in before work for it fails: a restart takes less
_CLOSED_WITHIN = 2.0  # the same where a job is over: it need not wait for a node that is gone
# What a node may have recorded of one job, and withheld of others meanwhile: 100,000 records.
_LOG_BYTES = 64 << 20
_END_SECONDS = 10.0  # that a node has to end a stream after its task is done


class AttachedNodes(Protocol):
    """Nodes that dialled in and wait for work (service.Attachments)."""

    def open(self, name: str, within: float) -> Stream:
        """Have a node open a work stream.  Raises PeerError where it is not attached in ``within`` seconds."""

    def release(self, stream: Stream) -> None:
        """Let a stream that ``open`` gave end."""


class Nodes:
    """Opens work streams to the federation's nodes."""

    def __init__(
        self,
        directory: Directory,
        tls: TlsIdentity,
        attached: AttachedNodes,
        metrics: Metrics | None = None,
    ) -> None:
        self._metrics = metrics or Metrics()
        self._directory = directory
        self._tls = tls
        self._attached = attached
        self._channels: dict[str, grpc.Channel] = {}
        self._opening = threading.Lock()
        self._conversations: WeakSet[Conversation] = WeakSet()
        self._broken = False
        self._changing = threading.Lock()

    def conversation(self) -> "Conversation":
        """Begin a set of work streams that end together."""
        conversation = Conversation(self, self._metrics.streamed)
        with self._changing:
            self._conversations.add(conversation)
            broken = self._broken
        if broken:
            conversation.abort()
        return conversation

    def break_off(self) -> None:
        """Break all conversations off, also those that are begun later: whoever waits for a node is woken."""
        with self._changing:
            self._broken = True
            begun = list(self._conversations)
        for conversation in begun:
            conversation.abort()

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

    def __init__(self, nodes: Nodes, ended: Callable[[Sequence[Stream]], None] = lambda _: None) -> None:
        """Take who opens streams, and whom to tell of them when they have ended."""
        self._nodes = nodes
        self._ended = ended
        self._streams: list[Stream] = []
        self._broken = threading.Event()
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
        self._ended(self._streams)

    def abort(self, _error: BaseException | None = None) -> None:
        """Break all streams off, also those that are opened later: whoever waits for one of them is woken."""
        with self._changing:
            self._broken.set()
            for stream in self._streams:
                stream.cancel()

    def broken_within(self, seconds: float) -> bool:
        """Wait so long, and return whether the conversation was broken off by then."""
        return self._broken.wait(seconds)

    def traffic(self) -> Traffic:
        """Return the bytes of all messages so far, by node."""
        sent: dict[str, int] = {}
        received: dict[str, int] = {}
        for stream in self._streams:
            sent[stream.peer] = sent.get(stream.peer, 0) + stream.bytes_received
            received[stream.peer] = received.get(stream.peer, 0) + stream.bytes_sent
        return Traffic(sent, received)

    def link(self, name: str, statement: bytes, signature: bytes, now: datetime) -> LinkTask:
        """Begin a node's linkage."""
        task = linkage_pb2.LinkTask(statement=statement, signature=signature, sent=_milliseconds(now))
        return LinkTask(self._begin(name, node_pb2.CoordinatorMessage(link=task)))

    def draw_keys(self, name: str, statement: bytes, signature: bytes) -> dict[str, bytes]:
        """Have the first trustee draw the epoch's keys; sealed messages by receiver."""
        task = linkage_pb2.EpochKeysTask(statement=statement, signature=signature)
        line = self._begin(name, node_pb2.CoordinatorMessage(epoch_keys_task=task))
        drawn = line.receive("epoch_keys_drawn").epoch_keys_drawn
        line.receive("done")
        return {message.receiver: message.sealed for message in drawn.sealed}

    def trustee(self, name: str, statement: bytes, signature: bytes) -> TrusteeTask:
        """Begin a trustee's evaluations."""
        task = linkage_pb2.TrusteeTask(statement=statement, signature=signature)
        return TrusteeTask(self._begin(name, node_pb2.CoordinatorMessage(trustee=task)))

    def prepare(self, name: str, policies: Sequence[bytes], epoch: bytes, now: datetime) -> PrepareTask:
        """Send policies to one that may have a part in them; ``epoch`` is the epoch's context."""
        task = job_pb2.PrepareTask(policies=policies, epoch=epoch, sent=_milliseconds(now))
        return PrepareTask(self._begin(name, node_pb2.CoordinatorMessage(prepare=task)))

    def households(self, name: str, digest: bytes, size: int) -> bytes:
        """Ask the registrar who lives with whom: labels by slot, uint32, little-endian, at most ``size`` bytes."""
        task = job_pb2.HouseholdsTask(manifest_sha256=digest)
        line = self._begin(name, node_pb2.CoordinatorMessage(households=task))
        parts, last = Parts(name, size), False
        while not last:
            message = line.receive("household_labels").household_labels
            parts.add(message.labels)
            last = message.last
        line.receive("done")
        return bytes(parts.data)

    def deal(self, name: str, digest: bytes, households: int, presented: Sequence[int]) -> DealTask:
        """Ask the dealer for a manifest's randomness."""
        task = job_pb2.DealTask(manifest_sha256=digest, households=households, presented=presented)
        return DealTask(self._begin(name, node_pb2.CoordinatorMessage(deal=task)))

    def contribute(self, name: str, digest: bytes, have: int) -> ContributeTask:
        """Ask for a contributor's chunks but for the first ``have``, which came already."""
        task = job_pb2.ContributeTask(manifest_sha256=digest, have=have)
        return ContributeTask(self._begin(name, node_pb2.CoordinatorMessage(contribute=task)))

    def open(self, name: str, digest: bytes) -> OpenTask:
        """Begin the recipient's opening, or take it up again."""
        task = job_pb2.OpenTask(manifest_sha256=digest)
        return OpenTask(self._begin(name, node_pb2.CoordinatorMessage(open=task)))

    def close_job(self, name: str, digest: bytes, heads: Sequence[Head]) -> tuple[Head, bytes]:
        """Have a node erase a job's keys and ciphertexts; its log's head, and what it recorded of the job.

        ``heads`` are the newest that the coordinator knows.
        """
        task = job_pb2.CloseTask(manifest_sha256=digest, heads=map(_head_out, heads))
        message = node_pb2.CoordinatorMessage(close=task)
        line = self._begin(name, message, within=_CLOSED_WITHIN)
        head = _head_in(line.receive("head").head)
        recorded, last = Parts(name, _LOG_BYTES), False
        while not last:
            part = line.receive("log").log
            recorded.add(part.lines)
            last = part.last
        line.receive("done")
        return head, bytes(recorded.data)

    def exchange_heads(self, name: str, heads: Sequence[Head]) -> Head:
        """Show a node the newest heads that the coordinator knows; its own."""
        task = job_pb2.HeadsTask(heads=map(_head_out, heads))
        line = self._begin(name, node_pb2.CoordinatorMessage(heads=task))
        head = _head_in(line.receive("head").head)
        line.receive("done")
        return head

    def _begin(
        self, name: str, first: node_pb2.CoordinatorMessage, *, within: float = _ATTACHED_WITHIN
    ) -> Line:
        with named():
            stream = self._nodes.open(name, within=within)
        with self._changing:
            self._streams.append(stream)
            if self._broken.is_set():
                stream.cancel()
        line = Line(stream, self._nodes)
        line.send(first)
        return line


def _milliseconds(now: datetime) -> int:
    """A time as messages state it: since 1970, UTC."""
    return round(now.timestamp() * 1000)


def _head_out(head: Head) -> job_pb2.LogHead:
    return job_pb2.LogHead(
        party=head.party, sequence=head.sequence, digest=head.digest, signature=head.signature
    )


def _head_in(message: job_pb2.LogHead) -> Head:
    return Head(message.party, message.sequence, message.digest, message.signature)


def _finish(stream: Stream) -> None:
    try:
        stream.finish(_END_SECONDS)
    # All that the tasks were for has come: neither the node's end nor a line that was broken off changes anything.
    except TransportError as error:
        _log.warning("work stream not ended", node=stream.peer, reason=str(error))
