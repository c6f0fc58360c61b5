"""One time for a whole federation, turned by hand, and each party's difference from it."""

import threading
from datetime import UTC, datetime, timedelta

from veilmatch_policy.clock import Clock

_TICK = timedelta(microseconds=100)  # a clock that is read twice has moved, so that records keep their order


class Time:
    """The true time, which passes only when it is told to, and every party's clock."""

    def __init__(self) -> None:
        self._now = datetime(2026, 3, 2, 9, tzinfo=UTC)
        self._ahead: dict[str, timedelta] = {}
        self._reading = threading.Lock()

    def of(self, party: str) -> Clock:
        """The clock on the wall of one party."""

        def now() -> datetime:
            with self._reading:
                self._now += _TICK
                return self._now + self._ahead.get(party, timedelta())

        return now

    def advance(self, span: timedelta) -> None:
        """Let time pass, for everybody."""
        with self._reading:
            self._now += span

    def set_ahead(self, party: str, span: timedelta) -> None:
        """Set one party's clock so far ahead of the true time, or behind it."""
        self._ahead[party] = span

    def furthest(self, *parties: str) -> timedelta:
        """How far apart the clocks of these parties are at most."""
        ahead = [self._ahead.get(party, timedelta()) for party in parties]
        return max(ahead) - min(ahead)
