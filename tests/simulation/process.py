"""A party's process: what it does to the world step by step, and its death at any of them.

Nothing of a dead process reaches disk or network: every transaction, record, file and message is a step,
and a step of the dead raises `Killed` in whichever thread takes it.
"""

import re
import threading
from collections.abc import Callable
from pathlib import Path

from simulation.faults import KILL, KILLS, Fault, Faults
from sqlalchemy import event

from veilmatch_coordinator.queue import State as QueueState
from veilmatch_coordinator.states import ManifestState
from veilmatch_node.states import State

_WITH_STATES = frozenset({"jobs", "submissions"})
_STATES = frozenset({*State, *ManifestState, *QueueState})
_WRITES = re.compile(r"(?:INSERT INTO|UPDATE|DELETE FROM) (\w+)")


class Killed(BaseException):
    """The process of this thread is dead."""


class Process:
    """One life of a party; ``folder`` is all that is on its disk."""

    def __init__(self, name: str, folder: Path, faults: Faults) -> None:
        self.name = name
        self.folder = folder
        self.dead = False
        self.away = 0  # dials that stay unanswered
        self.doomed: Fault | None = None  # dies of this at its next step
        self.steps: list[str] = []
        self.threads: list[threading.Thread] = []
        self._faults = faults
        self._ends: list[Callable[[], None]] = []

    def step(self, what: str) -> None:
        """Take a step.  Raises Killed.

        It is called "commit:TABLE+TABLE", "TABLE:STATE", "record:ACTION", "file:NAME", or as its message is.
        """
        if self.arrive(what):
            raise Killed(f"{self.name} at {what}")

    def arrive(self, what: str) -> bool:
        """As `step`, where something reaches the process from without; True where it does not reach it alive."""
        if self.doomed is not None:
            self.die(self.doomed.at)
        if self.dead:
            return True
        self.steps.append(what)
        fault = self._faults.take(self.name, what, KILLS)
        if fault is not None and fault.kind == KILL:
            self.die(fault.at)
            return True
        self.doomed = fault
        return False

    def die(self, away: int = 0) -> None:
        """SIGKILL; nobody answers for so many dials."""
        self.dead, self.doomed = True, None
        self.away = away
        for end in list(self._ends):
            end()

    def at_death(self, end: Callable[[], None]) -> None:
        """Have something end with the process, now where it is dead."""
        self._ends.append(end)
        if self.dead:
            end()

    def watch_store(self, engine: object) -> None:
        """Make a step of every transaction that writes."""

        def executed(connection, cursor, statement, parameters, *_rest):
            if cursor.rowcount and (wrote := _WRITES.match(statement)):
                connection.info.setdefault("wrote", {})[wrote[1]] = None
                if wrote[1] in _WITH_STATES and not statement.startswith("DELETE"):
                    states = [f"{wrote[1]}:{each}" for each in parameters if each in _STATES]
                    if states:
                        connection.info["state"] = states[0]  # what is set comes before what is looked for

        def committing(connection):
            if wrote := connection.info.pop("wrote", None):
                state = connection.info.pop("state", None)
                self.step(f"commit:{'+'.join(wrote)}")
                if state is not None:
                    self.step(state)

        def forgetting(connection):
            for what in ("wrote", "state"):
                connection.info.pop(what, None)

        event.listen(engine, "after_cursor_execute", executed)
        event.listen(engine, "commit", committing)
        event.listen(engine, "rollback", forgetting)

    def watch_log(self, log: object) -> None:
        """Make a step of every record."""
        append = log.append

        def stepped(action):
            self.step(f"record:{action.action}")
            return append(action)

        log.append = stepped

    def join(self, within: float) -> list[str]:
        """Wait for the process's threads; the names of those that still run then."""
        for thread in list(self.threads):
            if thread is not threading.current_thread():
                thread.join(within)
        return [thread.name for thread in self.threads if thread.is_alive()]
