"""What a service keeps for so many days and then gives up: looked at when it begins, and every day."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from veilmatch_policy.clock import Clock, utc_now
from veilmatch_transport.boundary import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

_log = structlog.get_logger("veilmatch.transport")
_EVERY: Final = 24 * 3600.0  # seconds


@contextmanager
def retaining(
    kept: Mapping[str, tuple[int | None, Callable[[datetime], None]]], clock: Clock = utc_now
) -> Iterator[None]:
    """Give up what is old, now and every day, while the context is open.

    ``kept`` has, by what it is, the days that it is kept (None: for good), and what gives up all from before a moment.
    What fails is a line in the log, and is tried again the next day.
    """
    stopped = threading.Event()

    def sweep() -> None:
        for kind, (days, give_up) in kept.items():
            if days is not None:
                try:
                    give_up(clock() - timedelta(days=days))
                except Exception as error:  # noqa: BLE001  a service goes on whose disk does not let go of something
                    _log.warning("not given up yet", kind=kind, reason=reason_of(error))

    def watch() -> None:
        sweep()
        while not stopped.wait(_EVERY):
            sweep()

    thread = threading.Thread(target=watch, name="retention", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
