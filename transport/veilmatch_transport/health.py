"""Whether a service can do its work: named checks, looked at every few seconds and whenever somebody asks.

A check that *fails* says that the party must not be given work: gRPC's health then says NOT_SERVING, until
the check is well again.  One that is *degraded* only wants somebody's attention.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

import structlog

from veilmatch_transport.boundary import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_log = structlog.get_logger("veilmatch.transport")
_EVERY: Final = 10.0  # seconds between looks that nobody asked for
_END_SECONDS: Final = 1.0  # that an end waits for a look that is under way
_FRESH: Final = 1.0  # seconds that an answer stands: whoever asks more often must not keep the service busy


@unique
class Status(StrEnum):
    """How one check, or all of them together, came out; from good to bad."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """What a check found, in words, and what to do about it."""

    status: Status
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}" if self.remedy else self.what


def ok(what: str) -> Finding:
    """All is well."""
    return Finding(Status.OK, what)


def degraded(what: str, remedy: str) -> Finding:
    """It works, and somebody should look at it."""
    return Finding(Status.DEGRADED, what, remedy)


def failed(what: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(Status.FAILED, what, remedy)


def worst(findings: Mapping[str, Finding]) -> Status:
    """Return the worst status of all, OK where there are none."""
    order = list(Status)
    return max((finding.status for finding in findings.values()), key=order.index, default=Status.OK)


class Health:
    """A service's checks, by name.  Safe for several threads."""

    def __init__(
        self, checks: Mapping[str, Callable[[], Finding]], tell: Callable[[bool], None] = lambda _: None
    ) -> None:
        """Take the checks; ``tell`` hears after every look whether none has failed."""
        self._checks = checks
        self._tell = tell
        self._looking = threading.Lock()
        self._looked: float | None = None
        self._found: dict[str, Finding] = {}
        self._over = False

    def look(self) -> Mapping[str, Finding]:
        """Ask every check, unless that was done within the last second; what each found."""
        with self._looking:
            if self._looked is None or time.monotonic() - self._looked >= _FRESH:
                found = {name: _asked(check) for name, check in self._checks.items()}
                self._say(found)
                self._found, self._looked = found, time.monotonic()
            return self._found

    def found(self) -> Mapping[str, Finding]:
        """What was found last; nothing before the first look."""
        return self._found

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look again and again while the context is open."""
        stopped = threading.Event()

        def watch() -> None:
            self.look()
            while not stopped.wait(_EVERY):
                self.look()

        thread = threading.Thread(target=watch, name="health", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over = True
            stopped.set()
            thread.join(_END_SECONDS)

    def _say(self, found: Mapping[str, Finding]) -> None:
        """Tell whoever must know, and the log where a check came out otherwise than before."""
        if self._over:  # the service's parts are closed one after the other: that they fail is no news
            return
        self._tell(worst(found) is not Status.FAILED)
        for name, finding in found.items():
            before = self._found.get(name)
            if finding.status is not (Status.OK if before is None else before.status):
                say = _log.info if finding.status is Status.OK else _log.warning
                say("health", check=name, status=finding.status.value, reason=str(finding))


def _asked(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # noqa: BLE001  a check that breaks is a finding; its message may hold anything
        return failed(reason_of(error) or "the check broke", "look at the log")
