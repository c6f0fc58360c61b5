"""Threads that share the work of one call, where a library lets go of the interpreter's lock meanwhile."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from veilmatch_crypto.pool import InlineExecutor, Pool, processors


class WorkerThreads(ThreadPoolExecutor):
    """A pool of threads of this process, by default one for each of its processors; they start when work comes."""

    def __init__(self, count: int | None = None) -> None:
        self.at_once = count or processors()
        super().__init__(self.at_once, thread_name_prefix="worker")


@contextmanager
def all_processors(pool: Pool) -> Iterator[Pool]:
    """The pool itself; in the place of this process alone, threads of it, which end with the context."""
    if isinstance(pool, InlineExecutor):
        with WorkerThreads() as threads:
            yield threads
    else:
        yield pool
