"""Work on several chunks at once, results in the order in which the work was given."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

_P = TypeVar("_P")
_T = TypeVar("_T")

_AHEAD = 16  # chunks under way: 10 MB at 3072 bits


def in_order(calls: Iterable[tuple[_P, Future[_T]]], at_once: int = 1) -> Iterator[tuple[_P, _T]]:
    """Yield each call's place and result, in the order of ``calls``, which are taken some way ahead.

    That is twice as many as run ``at_once``, so that no worker waits, and a few in any case.  Where a call is
    done as soon as it is submitted (one process), nothing is taken ahead.  What is left when the caller stops
    is cancelled as far as it has not begun.
    """
    ahead = max(_AHEAD, 2 * at_once)
    under_way: deque[tuple[_P, Future[_T]]] = deque()
    try:
        for place, call in calls:
            under_way.append((place, call))
            while under_way and (len(under_way) == ahead or under_way[0][1].done()):
                first, begun = under_way.popleft()
                yield first, begun.result()
        while under_way:
            first, begun = under_way.popleft()
            yield first, begun.result()
    finally:
        for _, call in under_way:
            call.cancel()
