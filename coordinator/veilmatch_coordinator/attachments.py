"""Nodes whose network lets nothing in: they dial, wait for offers of work, and open the streams themselves."""

import queue
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import structlog

from veilmatch_coordinator.client import Stream
from veilmatch_transport import Code, PeerUnavailableError, RefusalError

_log = structlog.get_logger(__name__)

_OPENED_WITHIN = 10.0  # seconds from an offer to its work stream
_LOOK = 0.5  # seconds between looks whether a waiting call is still wanted


class Attachments:
    """Nodes that dialled in: offers go out on their Attach calls, work streams come back."""

    def __init__(self) -> None:
        self._offers: dict[str, queue.SimpleQueue[str | None]] = {}  # None: a newer call took over
        self._open: dict[str, tuple[str, Future[Stream]]] = {}
        self._released: dict[int, threading.Event] = {}
        self._changed = threading.Condition()

    def waits(self, name: str) -> bool:
        """Whether a node has dialled in and waits for offers."""
        with self._changed:
            return name in self._offers

    def count(self) -> int:
        """How many nodes do."""
        with self._changed:
            return len(self._offers)

    def open(self, name: str, within: float) -> Stream:
        """Offer work to a node, which has ``within`` seconds to dial in, and wait for its stream.

        Raises PeerUnavailableError.
        """
        offer, stream = secrets.token_hex(16), Future[Stream]()
        with self._changed:
            if not self._changed.wait_for(lambda: name in self._offers, within):
                raise PeerUnavailableError(
                    name, "has not dialled in", "start it, or see in its log why it cannot"
                )
            self._open[offer] = (name, stream)
            self._offers[name].put(offer)
        try:
            return stream.result(min(within, _OPENED_WITHIN))
        except TimeoutError:
            with self._changed:
                self._open.pop(offer, None)
            if stream.done():  # at the last moment: somebody must use it and release it
                return stream.result()
            raise PeerUnavailableError(name, "did not open a work stream", "look at its log") from None

    def release(self, stream: Stream) -> None:
        """Let the call of a stream end; a second time does nothing."""
        with self._changed:
            released = self._released.get(id(stream))
        if released is not None:
            released.set()

    def attach(self, name: str, wanted: Callable[[], bool]) -> Iterator[str]:
        """Yield the offers for a node while its call is wanted; a newer call of the node ends this one."""
        offers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        with self._changed:
            # What the node's last call did not bring through, because the node or its connection died.
            for offer, (node, _) in self._open.items():
                if node == name:
                    offers.put(offer)
            if name in self._offers:
                self._offers[name].put(None)
            self._offers[name] = offers
            self._changed.notify_all()
        _log.info("attached", node=name)
        try:
            while wanted():
                try:
                    made = offers.get(timeout=_LOOK)
                except queue.Empty:
                    continue
                if made is None:
                    return
                yield made
        finally:
            with self._changed:
                if self._offers.get(name) is offers:
                    del self._offers[name]

    def accept(self, offer: str, stream: Stream) -> None:
        """Take a node's stream for an offer, and hold its call until ``release``.

        Raises RefusalError for an offer that was not made to this node or is used.
        """
        with self._changed:
            name, waiting = self._open.pop(offer, ("", None))
            if waiting is None or name != stream.peer:
                raise RefusalError(Code.NOT_FOUND, f"{stream.peer} opened a stream that nobody asked for")
            released = self._released[id(stream)] = threading.Event()
            waiting.set_result(stream)  # in one step with the offer's end: `open` must not miss it
        released.wait()
        with self._changed:
            del self._released[id(stream)]
