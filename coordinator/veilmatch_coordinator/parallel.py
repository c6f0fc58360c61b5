"""Runs one conversation a node, side by side; the first failure ends them all."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")


def in_parallel(
    calls: Mapping[str, Callable[[], _T]], *, on_failure: Callable[[BaseException], None]
) -> dict[str, _T]:
    """Run every call in a thread of its own and return the results by name.

    When one raises, ``on_failure`` is called with it, once, to end what the others wait for; when
    all have ended, that exception is raised: the first in time, since those that follow from it
    would blame the wrong party.
    """
    if not calls:
        return {}
    failures: list[BaseException] = []
    failing = threading.Lock()

    def run(call: Callable[[], _T]) -> _T:
        try:
            return call()
        except BaseException as error:
            with failing:
                failures.append(error)
                first = len(failures) == 1
            if first:
                on_failure(error)
            raise

    with ThreadPoolExecutor(len(calls), thread_name_prefix="conversation") as pool:
        futures = {name: pool.submit(run, call) for name, call in calls.items()}
    if failures:
        raise failures[0]
    return {name: future.result() for name, future in futures.items()}
