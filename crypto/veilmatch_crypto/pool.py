"""Where chunks are worked on: in this process, or in worker processes.

Both are ``concurrent.futures`` executors, so a cluster's client can take their place.
"""

from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class InlineExecutor(Executor):
    """Runs each call when it is submitted, in the caller's thread."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run ``fn`` and return a future that is done."""
        future: Future[_T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  an executor hands every failure to its future
            future.set_exception(error)
        return future


def make_executor(workers: int) -> Executor:
    """An executor with ``workers`` processes; with one, the work stays in this process.

    Worker processes are spawned: a fork would copy gRPC's threads' locks in whatever state.
    """
    if workers == 1:
        return InlineExecutor()
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
