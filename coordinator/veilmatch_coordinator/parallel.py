"""Runs one conversation a node, side by side; the first failure ends them all."""

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

_T = TypeVar("_T")


def in_parallel(
    calls: Mapping[str, Callable[[], _T]], *, on_failure: Callable[[BaseException], None]
) -> dict[str, _T]:
    """Run every call in a thread of its own and return the results by name.

    When one raises, ``on_failure`` is called with it, to end what the others wait for; when all
    have ended, that first exception is raised.
    """
    if not calls:
        return {}
    with ThreadPoolExecutor(len(calls), thread_name_prefix="conversation") as pool:
        futures = {name: pool.submit(call) for name, call in calls.items()}
        done, _ = wait(futures.values(), return_when=FIRST_EXCEPTION)
        failures = [error for future in done if (error := future.exception()) is not None]
        if failures:
            on_failure(failures[0])
    if failures:
        raise failures[0]
    return {name: future.result() for name, future in futures.items()}
