"""Threads that share the work of one call, where a library lets go of the interpreter's lock meanwhile."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from veilmatch_crypto.pool import Pool

_P = ParamSpec("_P")
_T = TypeVar("_T")


class WorkerThreads(Pool):
    """A pool of threads of this process, by default one for each of its processors; they start when work comes."""

    def __init__(self, count: int | None = None) -> None:
        self._count = count or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._count, thread_name_prefix="worker")

    @property
    def at_once(self) -> int:
        """The number of threads."""
        return self._count

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run ``fn`` in a thread."""
        return self._pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads."""
        self._pool.shutdown(wait, cancel_futures=cancel_futures)
