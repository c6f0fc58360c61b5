"""One work stream a task: the same messages and the same object whichever side dialled (protocol.md, 1).

Who dialled gets a ``WorkStream`` from ``open_stream``; who was dialled gets one in the task that it
gives to ``serve_stream``.  Back-pressure holds both ways: at most ``limits.QUEUED_MESSAGES`` wait to be
sent and as many to be received, and behind them gRPC's flow control stops the peer.

A stream ends in one of three ways, and every wait notices each: the peer's clean end (``StreamEnded``), a
failure (``PeerError``, never gRPC's exception), or our own ``cancel``.  What this module leaves to the
caller: whether an end comes at the right step of the protocol, and how long a task may take.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

import grpc

from veilmatch_transport import limits
from veilmatch_transport._mailbox import Mailbox
from veilmatch_transport.boundary import boundary, report
from veilmatch_transport.channel import our_words
from veilmatch_transport.errors import (
    MessageTooLargeError,
    PeerError,
    PeerTimeoutError,
    PeerUnavailableError,
    RefusalError,
    StreamEnded,
    TransportError,
    peer_error,
)
from veilmatch_transport.roles import caller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType


class Message(Protocol):
    """What is sent: a protobuf message, as far as a stream needs to know."""

    def ByteSize(self) -> int:  # noqa: N802  protobuf's name
        """Return the length of the message on the wire."""


_Sent = TypeVar("_Sent", bound=Message)
_Received = TypeVar("_Received", bound=Message)


class WorkStream(Generic[_Sent, _Received]):
    """Both directions of one task's stream.  One thread may send while another receives.

    As a context manager (of the side that dialled) it ends with ``finish``, or with ``cancel`` where
    the body raised.  ``bytes_sent`` and ``bytes_received`` count the messages as protobuf encodes
    them, without gRPC's framing and TLS.
    """

    def __init__(
        self,
        peer: str,
        outbox: Mailbox[_Sent],
        inbox: Mailbox[_Received],
        break_off: Callable[[], object],
    ) -> None:
        self.peer = peer
        self.bytes_sent = 0
        self.bytes_received = 0
        self._outbox = outbox
        self._inbox = inbox
        self._break_off = break_off

    def send(self, message: _Sent, timeout: float | None = limits.STALL) -> None:
        """Queue a message; waits while the queue is full.

        Raises PeerTimeoutError when the peer takes nothing for ``timeout`` seconds (the message was
        not queued, the stream still stands); StreamEnded or another PeerError when the stream is over;
        MessageTooLargeError for more than ``limits.MESSAGE_BYTES``.
        """
        size = message.ByteSize()
        if size > limits.MESSAGE_BYTES:
            raise MessageTooLargeError(
                f"a message of {size} bytes to {self.peer} is over the limit of {limits.MESSAGE_BYTES}; "
                f"send it in parts"
            )
        try:
            self._outbox.put(message, timeout)
        except TimeoutError:
            raise PeerTimeoutError(
                self.peer, f"took no message for {timeout:g} seconds", "look at its log"
            ) from None
        self.bytes_sent += size

    def receive(self, timeout: float | None = None) -> _Received:
        """Return the next message; by default waits as long as the peer's connection lives.

        Raises PeerTimeoutError when none comes in ``timeout`` seconds (the stream still stands),
        StreamEnded when the peer has ended, and another PeerError when it failed.
        """
        try:
            message = self._inbox.get(timeout)
        except TimeoutError:
            raise PeerTimeoutError(
                self.peer, f"said nothing for {timeout:g} seconds", "look at its log"
            ) from None
        self.bytes_received += message.ByteSize()
        return message

    def __iter__(self) -> Iterator[_Received]:
        """Yield messages until the peer ends; raises PeerError when it fails."""
        with suppress(StreamEnded):
            while True:
                yield self.receive()

    def close(self) -> None:
        """Send nothing more; what is queued still goes, and receiving goes on.  Never waits.

        A peer that dialled us sees it only when the task returns: gRPC cannot say it earlier.
        """
        self._outbox.end(TransportError(f"the stream to {self.peer} is already closed on this side"))

    def finish(self, timeout: float = limits.STALL) -> None:
        """Close, drop what still comes, and wait for the peer's end: its word that all went well.

        For the side that dialled.  Raises the PeerError with which the peer ended, or PeerTimeoutError
        after ``timeout`` seconds, and the call is broken off.
        """
        self.close()
        deadline = time.monotonic() + timeout
        try:
            while True:
                self.receive(max(0.0, deadline - time.monotonic()))
        except StreamEnded:
            return
        except PeerError:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Break the call off at once; both sides' waits end, messages under way are lost."""
        end = TransportError(f"the stream to {self.peer} was broken off on this side")
        self._inbox.end(end, discard=True)
        # Before the outbox ends: its end alone would tell the peer that all went well.
        self._break_off()
        self._outbox.end(end, discard=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.cancel()


def open_stream(
    method: grpc.StreamStreamMultiCallable[_Sent, _Received],
    peer: str,
    *,
    metadata: tuple[tuple[str, str | bytes], ...] = (),
    timeout: float | None = None,
) -> WorkStream[_Sent, _Received]:
    """Call ``method`` (a stub's attribute) of the member ``peer`` and return our end of the stream.

    Whoever opens a stream also ends it, by ``with``, ``finish`` or ``cancel``; a call that is left alone
    stays open.  ``timeout`` limits the whole stream, in seconds.  Never waits: that the peer cannot be
    reached, or refuses, is raised by the first ``send`` or ``receive`` that notices.  Raises
    PeerUnavailableError only when the channel was closed.
    """
    outbox: Mailbox[_Sent] = Mailbox(limits.QUEUED_MESSAGES)
    inbox: Mailbox[_Received] = Mailbox(limits.QUEUED_MESSAGES)
    with our_words(peer):  # the channel may have been closed
        call = method(_taken_from(outbox), timeout=timeout, metadata=metadata)

    def over() -> None:
        end = _ended(peer) if call.code() is grpc.StatusCode.OK else peer_error(peer, call)
        outbox.end(end, discard=True)

    if not call.add_callback(over):
        over()
    _start_reading(peer, call, inbox, lambda failure: peer_error(peer, failure))
    return WorkStream(peer, outbox, inbox, call.cancel)


def serve_stream(
    requests: Iterator[_Received],
    context: grpc.ServicerContext,
    task: Callable[[WorkStream[_Sent, _Received]], None],
) -> Iterator[_Sent]:
    """Run ``task`` with our end of a stream that a peer opened; yield what it sends.

    For a servicer's method: ``return serve_stream(requests, context, task)``.  The task runs in a
    thread of its own.  When it returns, the call ends well; when it raises, the call ends with the public
    text of that (``boundary.py``).  When the peer goes away, the task's next send or receive raises.
    """
    peer = caller(context)
    lost = PeerUnavailableError(peer, "broke the stream off, or its connection was lost", "look at its log")
    outbox: Mailbox[_Sent] = Mailbox(limits.QUEUED_MESSAGES)
    inbox: Mailbox[_Received] = Mailbox(limits.QUEUED_MESSAGES)
    stream = WorkStream(peer, outbox, inbox, context.cancel)
    outcome: Future[None] = Future()

    def run() -> None:
        try:
            task(stream)
        except Exception as error:  # noqa: BLE001  the boundary below re-raises and reports it
            if not context.is_active():  # nobody is left to be told
                report(error, f"work stream of {peer}")
            outcome.set_exception(error)
        else:
            outcome.set_result(None)
        inbox.end(StreamEnded("the task is over"), discard=True)  # what still comes is dropped
        stream.close()
        if not outbox.wait_drained(limits.STALL):  # a peer that stopped reading must not hold the call
            context.cancel()

    if not context.add_callback(lambda: outbox.end(lost, discard=True)):
        outbox.end(lost, discard=True)
    _start_reading(peer, _with_barrier(requests), inbox, lambda _failure: lost)
    threading.Thread(target=run, name=f"task for {peer}", daemon=True).start()
    with boundary(context, f"work stream of {peer}"):
        yield from _taken_from(outbox)
        if context.is_active():
            outcome.result()


def _taken_from(outbox: Mailbox[_Sent]) -> Iterator[_Sent]:
    while True:
        try:
            message = outbox.get(None)
        except TransportError:
            return
        yield message


def _start_reading(
    peer: str,
    messages: Iterator[_Received],
    inbox: Mailbox[_Received],
    explain: Callable[[grpc.RpcError], PeerError],
) -> None:
    def read() -> None:
        try:
            for message in messages:
                # After our own cancel the rest is dropped, but read to its end.
                with suppress(TransportError):
                    inbox.put(message, None)
        except grpc.RpcError as failure:
            inbox.end(explain(failure))
        except RefusalError as refusal:  # bytes that are no message (``roles.py``)
            inbox.end(PeerError(peer, refusal.public, "check its release"))
        else:
            inbox.end(_ended(peer))

    threading.Thread(target=read, name=f"messages of {peer}", daemon=True).start()


def _with_barrier(requests: Iterator[_Received]) -> Iterator[_Received]:
    """Yield the requests; raises grpc.RpcError where the caller broke off instead of ending.

    gRPC reports a broken connection as the end of the requests first and as a cancellation a moment
    later, and a killed peer must not look like one that was done.  Both reports go through one
    completion queue, so a second read comes back after the cancellation and tells the two apart.
    """
    yield from requests
    next(requests, None)


def _ended(peer: str) -> StreamEnded:
    return StreamEnded(f"{peer} has ended the stream")
