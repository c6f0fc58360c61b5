"""A work stream whose failures name the node, with the node's own public line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from veilmatch_coordinator.errors import ApprovalNeededError, NodeFailedError, NodeLostError
from veilmatch_transport import (
    Code,
    PeerError,
    PeerTimeoutError,
    PeerUnavailableError,
    StreamEnded,
    WorkStream,
    limits,
)
from veilmatch_transport.errors import one_line
from veilmatch_wire.v1 import node_pb2

Stream = WorkStream[node_pb2.CoordinatorMessage, node_pb2.NodeMessage]

_EXIT_CODES = {Code.POLICY_REFUSED: 3, Code.DATA_REFUSED: 4}  # of the command that asked (policies.md)
# A disk that is full, a database that is away, a restart.
_MAY_HEAL = frozenset({Code.MACHINE_FAILED, Code.STOPPING})
_LAST = frozenset({"done", "refused"})  # after these a task's stream has nothing more to say


class Releases(Protocol):
    """Whoever lets a stream end that a node dialled."""

    def release(self, stream: Stream) -> None:
        """Let it end."""


class Line:
    """A stream whose failures are NodeFailedErrors."""

    def __init__(self, stream: Stream, nodes: Releases) -> None:
        self.name = stream.peer
        self._stream = stream
        self._nodes = nodes

    def send(self, message: node_pb2.CoordinatorMessage) -> None:
        """Send a message; where the node has ended the task already, its reason is raised."""
        try:
            with named():
                self._stream.send(message)
        except StreamEnded:
            self.receive()

    def send_unless_ended(self, message: node_pb2.CoordinatorMessage) -> None:
        """Send a message; where the stream is over, ended or lost, the thread that receives finds out why.

        What the node said last may still wait there: a refusal explains a lost line, not the reverse.  Raises
        NodeLostError where the stream stands and the node takes nothing.
        """
        with named():
            try:
                self._stream.send(message)
            except PeerTimeoutError:
                raise
            except (StreamEnded, PeerError):
                return

    def break_off(self) -> None:
        """End the stream at once."""
        self._stream.cancel()
        self._nodes.release(self._stream)

    def receive(self, *expected: str) -> node_pb2.NodeMessage:
        """Return the next message, which must be one of those expected."""
        try:
            with named():
                message = self._stream.receive(limits.SILENCE)
        except StreamEnded:
            raise NodeFailedError(f"{self.name}: ended before it was done; look at its log") from None
        body = message.WhichOneof("body")
        if body in _LAST:
            self._nodes.release(self._stream)
        if body == "refused":
            code = Code(message.refused.code) if message.refused.code in set(Code) else Code.INTERNAL
            text = f"{self.name}: {one_line(message.refused.text)}"
            if code is Code.APPROVAL_NEEDED:
                raise ApprovalNeededError(text)
            if code in _MAY_HEAL:
                raise NodeLostError(text)
            raise NodeFailedError(text, _EXIT_CODES.get(code, 5))
        if body not in expected:
            raise NodeFailedError(
                f"{self.name}: sent another message than {' or '.join(expected)}; check its release"
            )
        return message


class Parts:
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


@contextmanager
def named() -> Iterator[None]:
    """A peer's failure, in this package's terms; the text names the peer already."""
    try:
        yield
    except PeerUnavailableError as error:
        raise NodeLostError(str(error)) from None
    except PeerError as error:
        raise NodeFailedError(str(error)) from None
