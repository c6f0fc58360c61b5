"""A bounded queue between two threads that can also end, with a reason, and wakes whoever waits."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Mailbox(Generic[_T]):
    """Holds at most ``capacity`` items.  Once ended it takes no more and gives out what it still holds.

    The end is an exception, raised in every later ``put`` and in every ``get`` that finds nothing.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[_T] = deque()
        self._end: Exception | None = None
        self._drained = False
        self._changed = threading.Condition()

    def put(self, item: _T, timeout: float | None) -> None:
        """Wait for room.  Raises TimeoutError when there is none in ``timeout`` seconds, or the end."""
        with self._changed:
            self._wait(lambda: self._end is not None or len(self._items) < self._capacity, timeout)
            if self._end is not None:
                raise self._end.with_traceback(None)
            self._items.append(item)
            self._changed.notify_all()

    def get(self, timeout: float | None) -> _T:
        """Wait for an item.  Raises TimeoutError when none comes in ``timeout`` seconds, or the end."""
        with self._changed:
            self._wait(lambda: self._end is not None or bool(self._items), timeout)
            if self._items or self._end is None:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            self._drained = True
            self._changed.notify_all()
            raise self._end.with_traceback(None)

    def end(self, reason: Exception, *, discard: bool = False) -> None:
        """End it; the first reason counts.  ``discard`` drops what it holds."""
        with self._changed:
            if self._end is None:
                self._end = reason
            if discard:
                self._items.clear()
                self._drained = True
            self._changed.notify_all()

    def wait_drained(self, timeout: float) -> bool:
        """Wait until the end was given out or the items were dropped.  False after ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._drained, timeout)

    def _wait(self, ready: Callable[[], bool], timeout: float | None) -> None:
        if not self._changed.wait_for(ready, timeout):
            raise TimeoutError
