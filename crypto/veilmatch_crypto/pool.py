"""Where chunks are worked on: in this process, or in worker processes.

Both are ``concurrent.futures`` executors, so a cluster's client takes their place (veilmatch_transport.cluster).
"""

import threading
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Pool(Executor):
    """An executor that says how much work it can have in hand."""

    @property
    @abstractmethod
    def at_once(self) -> int:
        """How many calls run side by side, at least 1: who submits chunks keeps a few times as many under way."""


class InlineExecutor(Pool):
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


class WorkerProcesses(Pool):
    """A pool of spawned processes that outlives the death of its workers.

    What a killed worker had in hand fails with BrokenProcessPool; the next call gets new workers.
    Workers are spawned: a fork would copy gRPC's threads' locks in whatever state.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool = self._start()
        self._replacing = threading.Lock()

    @property
    def at_once(self) -> int:
        """The number of processes."""
        return self._workers

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run ``fn`` in a worker."""
        with self._replacing:
            try:
                return self._pool.submit(fn, *args, **kwargs)
            except BrokenProcessPool:
                self._pool = self._start()
                return self._pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers."""
        self._pool.shutdown(wait, cancel_futures=cancel_futures)

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self._workers, mp_context=get_context("spawn"))


def make_executor(workers: int) -> Pool:
    """An executor with ``workers`` processes; with one, the work stays in this process."""
    return InlineExecutor() if workers == 1 else WorkerProcesses(workers)
