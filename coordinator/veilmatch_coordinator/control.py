"""What passes between the queue and a job that runs: how far it is, and that it is to end."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from veilmatch_coordinator.client import Conversation
from veilmatch_coordinator.errors import JobError
from veilmatch_coordinator.queue import Submission


class Control:
    """One try of one job."""

    def __init__(self, begun: Callable[[], None] = lambda: None) -> None:
        """Take what the job calls once every officer has approved it and every party gave its keys."""
        self.begun = begun
        self._cancelled = False
        self._conversation: Conversation | None = None
        self._grace = 0.0
        self._changing = threading.Lock()

    def cancel(self) -> None:
        """Have the job end: the conversation that it is in is broken off, and it begins no other."""
        with self._changing:
            self._cancelled = True
            conversation, grace = self._conversation, self._grace
        if conversation is not None:
            late = threading.Timer(grace, self._break_off, [conversation])
            late.daemon = True
            late.start()

    @contextmanager
    def over(self, conversation: Conversation, *, grace: float = 0.0) -> Iterator[None]:
        """While the job has this conversation, or a part of it, which may last ``grace`` seconds once cancelled.

        Raises JobError where the job is to end already.
        """
        with self._changing:
            if self._cancelled:
                raise JobError("job: it was told to end; submit it again")
            self._conversation, self._grace = conversation, grace
        try:
            yield
        finally:
            with self._changing:
                self._conversation = None

    def _break_off(self, conversation: Conversation) -> None:
        with self._changing:
            still = self._conversation is conversation
        if still:
            conversation.abort()


class Step(NamedTuple):
    """How far a stage of a running job is."""

    stage: str
    department: str
    done: int
    total: int


@dataclass
class Try:
    """One try of a job, for as long as a thread is at it; steps have the number of the change that made them."""

    control: Control
    ending: Callable[[Submission, datetime], Submission] | None = None  # what it is told to end as
    steps: dict[tuple[str, str], tuple[int, Step]] = field(default_factory=dict)
    changes: int = 0

    def since(self, change: int) -> list[Step]:
        """The newest step of each stage and department that was taken since a change, in their order."""
        return [step for number, step in sorted(self.steps.values()) if number > change]
