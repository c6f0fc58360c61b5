"""Where chunks are worked on: in this process, or in worker processes.

Every pool is an executor of ``concurrent.futures``, and any of these is a pool: the standard library's, a
cluster's client (veilmatch_transport.cluster), or one of those below.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from typing import Final, ParamSpec, TypeAlias, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

_TRIES: Final = 4  # of a call whose worker dies: it may be the call that kills it

Pool: TypeAlias = Executor


def at_once(pool: Pool) -> int:
    """How many calls a pool runs side by side: its own ``at_once``, or one for each of this process's processors.

    Who submits chunks keeps a few times as many under way.
    """
    return getattr(pool, "at_once", None) or processors()


def processors() -> int:
    """How many processors this process may use: a container or ``taskset`` may leave it fewer than there are."""
    return len(os.sched_getaffinity(0))


class InlineExecutor(Executor):
    """Runs each call when it is submitted, in the caller's thread."""

    at_once = 1

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run ``fn`` and return a future that is done."""
        future: Future[_T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  an executor hands every failure to its future
            future.set_exception(error)
        return future


class WorkerProcesses(Executor):
    """A pool of spawned processes; what a killed worker had in hand is done again.

    Randomness is drawn within a call, so what is done again is a new call, and nobody saw the one that was lost.
    A call whose workers die four times fails with BrokenProcessPool.
    Workers are spawned: a fork would copy gRPC's threads' locks in whatever state.
    """

    def __init__(self, workers: int) -> None:
        self.at_once = workers
        self._pool = self._start()
        self._replacing = threading.Lock()
        # Each carries one call to the workers, and again; one call more than there are workers waits for the first.
        self._carriers = ThreadPoolExecutor(workers + 1, thread_name_prefix="carrier")

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run ``fn`` in a worker."""
        return self._carriers.submit(self._carry, partial(fn, *args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers once they have done what was submitted; without ``wait`` they end when that is done."""
        self._carriers.shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            self._pool.shutdown()

    def _carry(self, call: Callable[[], _T]) -> _T:
        for left in reversed(range(_TRIES)):
            pool = self._pool
            try:
                future = pool.submit(call)
                failure = future.exception()
            except (
                BrokenProcessPool,
                OSError,
                ValueError,
            ) as error:  # it breaks while it starts another worker
                failure = error
            else:
                if not isinstance(failure, BrokenProcessPool):
                    return future.result()
            if not left:
                raise failure
            with self._replacing:
                if self._pool is pool:
                    self._pool = self._start()
        raise AssertionError

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self.at_once, mp_context=get_context("spawn"))


def make_executor(workers: int) -> Pool:
    """An executor with ``workers`` processes; with one, the work stays in this process."""
    return InlineExecutor() if workers == 1 else WorkerProcesses(workers)
