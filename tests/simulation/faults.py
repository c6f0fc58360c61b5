"""What goes wrong, as data: which party or message, the how-manieth time, and how.

A fault is armed, waits for its place, happens once, and is then on the list of what happened.
"""

import threading
from dataclasses import dataclass

# The network's doing.
LOSE, CUT, DELAY, REPEAT, REORDER, TRUNCATE, CORRUPT = (
    "lose",  # a message is lost, and the connection found dead
    "cut",  # a message arrives, and then the connection is dead
    "delay",
    "repeat",
    "reorder",  # the next message of its direction arrives first
    "truncate",
    "corrupt",
)
AWAY = "away"  # a node cannot be reached for ``at`` dials
# A party's end: SIGKILL before a step has its effect, or after it.
KILL, KILL_AFTER = "kill", "kill-after"
# A wrong party's doing.
FORGE, UNSIGNED, REPLAY, WITHHOLD, ANOTHER, INTERJECT = (
    "forge",  # a node contributes what it did not encrypt, and signs it
    "unsigned",  # a contribution's signature is another one
    "replay",  # an older message of this kind in the place of the right one
    "withhold",  # a message does not come, and the connection lives
    "another",  # one node gets another manifest than the others
    "interject",  # the coordinator sends an older task again, on a stream of its own, before this message
)
NETWORK = (LOSE, CUT, DELAY, REPEAT, REORDER, TRUNCATE, CORRUPT)
KILLS = (KILL, KILL_AFTER)
WRONG = (FORGE, UNSIGNED, REPLAY, WITHHOLD, ANOTHER, INTERJECT)
ON_MESSAGES = (*NETWORK, *WRONG)
CHANGES = frozenset({REPEAT, REORDER, TRUNCATE, CORRUPT, REPLAY})  # what TLS would never let through

# What nothing but TLS and the coordinator's honesty protects (docs/security.md): who changes these changes results.
UNPROTECTED = frozenset(
    {
        *("pseudonyms", "slots", "register_claims"),
        *("presented", "household_labels", "deal", "corrections", "begin_circuits", "round", "conclude"),
    }
)
LINKAGE = frozenset({"pseudonyms", "slots", "register_claims"})  # of these, what lasts as long as the epoch


@dataclass(frozen=True)
class Fault:
    """One fault.

    ``party``: whose stream, or who is killed or away.  ``where``: the message's name, a killed party's
    step (`process.Process.step`), or "dial".  ``nth``: which of them, from 1, counted since it was armed.
    ``at``: the byte that is wrong, which older message, or how many dials long a party is away.
    """

    kind: str
    party: str
    where: str
    nth: int = 1
    at: int = 0


class Faults:
    """Those that are armed, and those that happened."""

    def __init__(self) -> None:
        self.happened: list[Fault] = []
        self._armed: list[list] = []  # a fault, and how often its place is still passed by
        self._changing = threading.Lock()

    def arm(self, fault: Fault) -> None:
        with self._changing:
            self._armed.append([fault, fault.nth])

    def disarm(self) -> None:
        """Forget what has not happened."""
        with self._changing:
            self._armed.clear()

    def take(self, party: str, where: str, kinds: tuple[str, ...]) -> Fault | None:
        """The fault that happens here and now, if one does."""
        with self._changing:
            for armed in self._armed:
                fault = armed[0]
                if fault.party == party and fault.where == where and fault.kind in kinds:
                    armed[1] -= 1
                    if not armed[1]:
                        self._armed.remove(armed)
                        self.happened.append(fault)
                        return fault
        return None
