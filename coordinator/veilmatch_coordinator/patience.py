"""How long a job waits for a node whose line was lost (protocol.md, 4.7: what comes again are the same bytes)."""

import time

import structlog

from veilmatch_coordinator.client import Conversation
from veilmatch_coordinator.errors import NodeLostError

_log = structlog.get_logger(__name__)

RECONNECT_WAIT = 120  # seconds: a service that is restarted is back by then
_FIRST, _LONGEST = 0.1, 2.0  # seconds between tries


class Patience:
    """One node's: it is given up when nothing new came from it for so many seconds."""

    def __init__(self, conversation: Conversation, seconds: float) -> None:
        """Take the conversation that the node is part of: where that is broken off, nobody is waited for."""
        self._conversation = conversation
        self._seconds = seconds
        self._lost: float | None = None
        self._pause = _FIRST

    def progress(self) -> None:
        """Something new came."""
        self._lost = None
        self._pause = _FIRST

    def wait(self, error: NodeLostError) -> None:
        """Wait before the next try; raises ``error``, which ended the last one, where there is to be none."""
        now = time.monotonic()
        if self._lost is None:
            self._lost = now
            _log.warning("waiting for a node", reason=str(error), seconds=self._seconds)
        if now - self._lost >= self._seconds or self._conversation.broken_within(self._pause):
            raise error
        self._pause = min(2 * self._pause, _LONGEST)
