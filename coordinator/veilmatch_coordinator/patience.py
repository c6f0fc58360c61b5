"""How long a job waits for a node whose line was lost (protocol.md, 4.7: what comes again are the same bytes).

And as long for the coordinator's own workers, where these are a cluster.
"""

import time

import structlog

from veilmatch_coordinator.client import Conversation
from veilmatch_coordinator.errors import NodeLostError
from veilmatch_transport import WorkersError

_log = structlog.get_logger(__name__)

RECONNECT_WAIT = 120  # seconds: a service that is restarted is back by then
_FIRST, _LONGEST = 0.1, 2.0  # seconds between tries
_MOST = 20  # tries in a row without anything new


class Patience:
    """One node's: it is given up when nothing came from it for so many seconds, or too often nothing new."""

    def __init__(self, conversation: Conversation, seconds: float) -> None:
        """Take the conversation that the node is part of: where that is broken off, nobody is waited for."""
        self._conversation = conversation
        self._seconds = seconds
        self._lost: float | None = None
        self._pause = _FIRST
        self._heard = False
        self._again = 0  # tries in which it was there, and nothing new came

    def progress(self) -> None:
        """Something new came."""
        self._again = 0
        self.heard()

    def heard(self) -> None:
        """Something came that had come before: it is there, and catches up."""
        self._heard = True
        self._lost = None
        self._pause = _FIRST

    def wait(self, error: NodeLostError | WorkersError) -> None:
        """Wait before the next try; raises ``error``, which ended the last one, where there is to be none."""
        self._again += self._heard
        self._heard = False
        now = time.monotonic()
        if self._lost is None:
            self._lost = now
            _log.warning("waiting for what was lost", reason=str(error), seconds=self._seconds)
        given_up = now - self._lost >= self._seconds or self._again > _MOST
        if given_up or self._conversation.broken_within(self._pause):
            raise error
        self._pause = min(2 * self._pause, _LONGEST)
