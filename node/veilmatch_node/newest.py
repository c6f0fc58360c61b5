"""Who works at a job's task: whoever was asked last (protocol.md, 4.7).

A connection that is lost is noticed at its two ends at different times: the coordinator may ask again while
a thread still serves its first call.  From then on only the newest may keep, log or send anything.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from veilmatch_node.errors import JobRefusedError


class Newest:
    """The tasks that are under way, by what they do; safe for several threads."""

    def __init__(self) -> None:
        self._turns: dict[bytes, Turn] = {}
        self._changing = threading.Lock()

    def take(self, what: bytes) -> "Turn":
        """Begin a task; whoever was at the same one before ends at its next step."""
        with self._changing:
            before = self._turns.get(what)
            turn = self._turns[what] = Turn(threading.Lock() if before is None else before.lock)
        if before is not None:
            with before.lock:  # its step under way is done
                before.over = True
        return turn

    def end(self, what: bytes) -> None:
        """End whoever is at a task, at the next step, and forget it; waits for a step under way."""
        with self._changing:
            turn = self._turns.pop(what, None)
        if turn is not None:
            with turn.lock:
                turn.over = True


class Turn:
    """One task's turn at what it does."""

    def __init__(self, lock: threading.Lock) -> None:
        self.lock = lock
        self.over = False

    @contextmanager
    def step(self) -> Iterator[None]:
        """Do a step that nobody else does meanwhile.

        Raises JobRefusedError where the task was asked again since, or the job was closed.
        """
        with self.lock:
            if self.over:
                raise JobRefusedError(
                    "job", "is closed, or was asked again on a newer stream", "look at that"
                )
            yield
