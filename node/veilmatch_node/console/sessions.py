"""Who is logged in, in memory only: a restart of the node logs everybody out."""

import hashlib
import hmac
import os
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from veilmatch_node.console.accounts import Account

IDLE_SECONDS = 15 * 60.0  # without a page that somebody asked for
LONGEST_SECONDS = 8 * 3600.0  # a working day
_MOST_SESSIONS = 1000
_TOKEN_BYTES = 32

Clock = Callable[[], float]


@dataclass(frozen=True)
class Session:
    """Somebody who is logged in; ``account`` as it was then."""

    name: str
    account: Account
    began: float
    used: float


class Sessions:
    """The sessions by their tokens, of which only hashes are kept."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._secret = os.urandom(_TOKEN_BYTES)
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        self._guard = threading.Lock()

    def open(self, name: str, account: Account) -> str:
        """Begin a session and return its token."""
        token, now = new_token(), self._clock()
        with self._guard:
            while len(self._sessions) >= _MOST_SESSIONS:
                self._sessions.popitem(last=False)
            self._sessions[_hash(token)] = Session(name, account, now, now)
        return token

    def find(self, token: str, *, touch: bool) -> Session | None:
        """Return the session of a token; None where there is none, or it was idle or open for too long.

        ``touch``: somebody asked for something, so that the session is in use.
        """
        key, now = _hash(token), self._clock()
        with self._guard:
            session = self._sessions.get(key)
            if session is None:
                return None
            if now - session.used > IDLE_SECONDS or now - session.began > LONGEST_SECONDS:
                del self._sessions[key]
                return None
            if touch:
                self._sessions[key] = session = replace(session, used=now)
                self._sessions.move_to_end(key)
            return session

    def close(self, token: str) -> None:
        """End a session, if there is one."""
        with self._guard:
            self._sessions.pop(_hash(token), None)

    def form_token(self, token: str) -> str:
        """Return what a form must bring along that is sent with this token's cookie, logged in or not.

        A keyed hash, so that nothing is kept for visitors (OWASP: signed double-submit cookie).
        """
        return hmac.new(self._secret, token.encode(), hashlib.sha256).hexdigest()


class Attempts:
    """Failures in a rolling window, by whatever they are counted for."""

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._failures: dict[tuple[str, ...], deque[float]] = {}
        self._guard = threading.Lock()

    def allowed(self, key: tuple[str, ...], most: int) -> bool:
        """Whether fewer than ``most`` failures are counted for ``key``."""
        with self._guard:
            self._forget()
            return len(self._failures.get(key, ())) < most

    def failed(self, *keys: tuple[str, ...]) -> None:
        """Count a failure for each key."""
        with self._guard:
            for key in keys:
                self._failures.setdefault(key, deque()).append(self._clock())

    def succeeded(self, key: tuple[str, ...]) -> None:
        """Forget the failures of a key."""
        with self._guard:
            self._failures.pop(key, None)

    def _forget(self) -> None:
        since = self._clock() - self._seconds
        for key, times in list(self._failures.items()):
            while times and times[0] <= since:
                times.popleft()
            if not times:
                del self._failures[key]


def new_token() -> str:
    """Draw a token for a cookie."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
