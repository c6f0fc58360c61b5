"""Combined chunks on their way from whoever multiplies to whoever sends them: in the store, in their order.

What waits for a recipient that is away waits on disk, not in memory, and goes out as often as it must: the
same bytes (protocol.md, 4.7).
"""

import threading
from collections.abc import Callable, Sequence

from veilmatch_coordinator.gathering import Place
from veilmatch_coordinator.store import CoordinatorStore, StoredChunk


class Products:
    """One job's: put in order by one thread, taken by another, from the first again where need be."""

    def __init__(self, store: CoordinatorStore, digest: bytes, places: Sequence[Place]) -> None:
        self._store = store
        self._digest = digest
        self._places = places
        self._made = 0
        self._failure: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, chunk: StoredChunk) -> None:
        """Keep the next chunk.  Raises StoreError where it is there already."""
        self._store.keep_chunk(self._digest, *self._places[self._made], chunk)
        with self._changed:
            self._made += 1
            self._changed.notify_all()

    def take(self, number: int, wanted: Callable[[], bool]) -> bytes | None:
        """Return the product of a place by its number in the order; waits until it is there.

        None where it is not ``wanted`` any more, which is asked after each ``wake``.  Raises whatever ``fail``
        was given.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None or not wanted() or number < self._made)
            if self._failure is not None:
                raise self._failure
            if not wanted():
                return None
        return self._store.product(self._digest, *self._places[number])

    def wake(self) -> None:
        """Have whoever waits look again whether it still wants to."""
        with self._changed:
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Wake whoever waits with this error; the first one stays."""
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()
