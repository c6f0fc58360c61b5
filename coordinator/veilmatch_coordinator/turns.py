"""Turns among the office's work: jobs side by side, a linkage alone, in the order in which they ask.

A readers-writer lock in which nobody overtakes: a linkage waits for the jobs that run, jobs that ask
later wait for it, and a second linkage waits for those.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from veilmatch_coordinator.errors import RequestError

_LOOK = 0.5  # seconds between looks whether a turn is still wanted


class Turns:
    """Hands out turns, first come, first served."""

    def __init__(self) -> None:
        self._waiting: deque[object] = deque()
        self._shared = 0
        self._alone = False
        self._changed = threading.Condition()

    def taken(self) -> bool:
        """Whether somebody has a turn, or a linkage waits for one."""
        with self._changed:
            return bool(self._shared or self._alone or self._waiting)

    @contextmanager
    def shared(self) -> Iterator[None]:
        """A turn beside others of this kind; waits for it."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            self._changed.wait_for(lambda: self._waiting[0] is ticket and not self._alone)
            self._waiting.popleft()
            self._shared += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._shared -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self, wanted: Callable[[], bool]) -> Iterator[None]:
        """A turn beside nobody; waits for it while it is ``wanted``, and raises RequestError when it is not."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._shared or self._alone or self._waiting[0] is not ticket:
                    if not wanted():
                        raise RequestError("office: nobody waits for this linkage any more; ask again")
                    self._changed.wait(_LOOK)
                self._alone = True
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()
