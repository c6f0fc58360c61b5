"""Who is logged in, in memory only: a restart of the node logs everybody out."""

import hashlib
import hmac
import os
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
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
    """Attempts in a rolling window, by whatever they are counted for; those that succeed do not stay counted.

    Each is counted before it is made: of many at once no more are made than of as many one after another.
    """

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._counted: dict[tuple[str, ...], deque[float]] = {}
        self._guard = threading.Lock()

    def begin(self, limits: Mapping[tuple[str, ...], int]) -> bool:
        """Count an attempt for each key; count none and return False where a key has its number already."""
        with self._guard:
            self._forget()
            if any(len(self._counted.get(key, ())) >= most for key, most in limits.items()):
                return False
            for key in limits:
                self._counted.setdefault(key, deque()).append(self._clock())
            return True

    def succeeded(self, key: tuple[str, ...], *others: tuple[str, ...]) -> None:
        """Forget all attempts of ``key``, and of each other key one: this attempt."""
        with self._guard:
            self._counted.pop(key, None)
            for other in others:
                if times := self._counted.get(other):
                    times.pop()

    def _forget(self) -> None:
        since = self._clock() - self._seconds
        for key, times in list(self._counted.items()):
            while times and times[0] <= since:
                times.popleft()
            if not times:
                del self._counted[key]


def new_token() -> str:
    """Draw a token for a cookie."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
