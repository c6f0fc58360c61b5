"""How long a service serves: until a signal ends it, it breaks, or it begins anew with what its files say now.

SIGTERM and SIGINT end it.  SIGHUP has everything that was read at the start read again: where that is
refused nothing changes, otherwise what runs is finished first.  Where the service cannot be put together from
what was read, it goes on with what it had.
"""

from __future__ import annotations

import queue
import signal
import time
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar

import structlog

from veilmatch_transport import limits
from veilmatch_transport.boundary import reason_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from types import FrameType, TracebackType

_log = structlog.get_logger("veilmatch.transport")
_END: Final = (signal.SIGTERM, signal.SIGINT)
_Read = TypeVar("_Read")
_LOOK: Final = 0.1  # seconds between looks for a signal


class End(Enum):
    """Why a service stops serving."""

    STOPPED = auto()  # a signal says so
    BROKEN = auto()  # it can do nothing more
    ANEW = auto()  # it begins again with another configuration


class Anew(Generic[_Read]):
    """What SIGHUP asks for: everything is read again, and where it is refused the old stays."""

    def __init__(self, read: Callable[[], _Read]) -> None:
        """Take what reads and checks; it raises where something is refused."""
        self._read = read
        self.found: _Read | None = None

    def __call__(self) -> bool:
        """Read; whether all was well.  ``found`` has what was read last and was well, and stands."""
        try:
            self.found = self._read()
        except Exception as error:  # noqa: BLE001  whatever is wrong with the new files, the service goes on with the old
            if self.found is None:
                _log.error("not begun anew, nothing changed", reason=reason_of(error))
            else:
                _log.error("begins anew with what was read before, not with this", reason=reason_of(error))
            return False
        return True


class Lifetime:
    """The signals of this process, as a context manager in its main thread."""

    def __init__(self) -> None:
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._before: dict[int, object] = {}
        self.waited = False
        """Whether `wait` was called: a service that waits for its end serves."""

    def __enter__(self) -> Self:
        def keep(number: int, _frame: FrameType | None) -> None:
            self._signals.put(number)

        self._before = {number: signal.signal(number, keep) for number in (*_END, signal.SIGHUP)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal gave

    def wait(
        self,
        broken: threading.Event | None = None,
        *,
        again: Callable[[], bool] = lambda: False,
        idle: Callable[[], bool] = lambda: True,
    ) -> End:
        """Wait for the end.

        SIGHUP calls ``again``: where it returns True, the end comes as soon as ``idle`` does, and after
        ``limits.RELOAD_WAIT`` seconds in any case.  ``broken`` ends at once.
        """
        self.waited = True
        due: float | None = None
        # A wait without end would not do: now and then the kernel gives the signal to a thread that DuckDB
        # keeps busy, and then nothing wakes this one, where Python runs the handler.
        while True:
            if broken is not None and broken.is_set():
                return End.BROKEN
            number = self._next()
            if number in _END:
                _log.info("stopping", signal=signal.Signals(number).name)
                return End.STOPPED
            if number == signal.SIGHUP and again():
                _log.info("begins anew when nothing runs", within=limits.RELOAD_WAIT)
                due = due or time.monotonic() + limits.RELOAD_WAIT
            if due is not None and (idle() or time.monotonic() >= due):
                return End.ANEW
            if number is None:
                time.sleep(_LOOK)

    def told_to_end(self) -> bool:
        """Whether a signal to end came since the last look: whoever is stopping already stops at once."""
        number = self._next()
        return number in _END

    def _next(self) -> int | None:
        try:
            return self._signals.get_nowait()
        except queue.Empty:
            return None


def live(read: Callable[[_Read | None], _Read], serve: Callable[[_Read, Lifetime, Anew[_Read]], End]) -> None:
    """Serve until a signal says that it is over, or the service breaks; on SIGHUP with what is read then.

    ``read`` is given what the service has, None at first.  ``serve`` waits for its end and says why it came.  Where
    it fails before it waits, a busy port say, with what SIGHUP had read, the service goes on with what it had before,
    and a line says why.  Otherwise raises whatever the two do.
    """
    with Lifetime() as lifetime:
        now, before = read(None), None
        while True:
            anew, lifetime.waited = Anew(partial(read, now)), False
            try:
                end = serve(now, lifetime, anew)
            except Exception as error:
                if before is None or lifetime.waited:
                    raise
                _log.error("not begun anew, goes on as before", reason=reason_of(error))
                now, before = before, None
                continue
            if end is not End.ANEW or anew.found is None:
                return
            now, before = anew.found, now
