"""The coordinator's queue, without I/O: which job may run when, and what becomes of it.

A job is queued, runs, and ends; where data officers must decide first it waits and is tried again.
First in, first out, with three limits: so many jobs at once, one job a recipient at once, and so many
submissions an operator.  Left to the caller: keeping every change before it is told (``store``), threads,
and the clock.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self

from veilmatch_coordinator.errors import RequestError

STOPPED = "job: the coordinator was stopped; submit it again"
_ENDED_EARLY = 5  # exit code of a job that waited too long, or that somebody cancelled


class State(StrEnum):
    """Where a job is between its submission and its end."""

    QUEUED = "queued"
    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to the job."""
        return not AFTER[self]


AFTER: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
        State.WAITING: frozenset(
            {State.WAITING, State.RUNNING, State.COMPLETE, State.FAILED, State.CANCELLED}
        ),
        State.RUNNING: frozenset({State.WAITING, State.COMPLETE, State.FAILED, State.CANCELLED}),
        State.COMPLETE: frozenset(),
        State.FAILED: frozenset(),
        State.CANCELLED: frozenset(),
    }
)
"""Which states may follow a state (docs/states.md); a job begins in `QUEUED`."""


@dataclass(frozen=True)
class Limits:
    """What the office's configuration says (docs/configuration.md)."""

    jobs_at_once: int
    queued_jobs: int  # an operator's submissions that have not begun to run
    approval_retry: timedelta  # between tries of a job that waits
    approval_wait: timedelta  # until a job that waits is given up
    keep_jobs: timedelta  # that ended ones are remembered


@dataclass(frozen=True)
class Submission:
    """A job as it was submitted, and what became of it; all times are UTC.

    ``job``: 32 hex digits.  ``policies``: their names.  ``reason``: one public line of a job that waits or
    that ended without a result, ``exit_code`` that of a command that ends with it.  ``epoch``: the name of
    the epoch that it ran over, empty before it ran.
    """

    job: str
    operator: str
    policies: tuple[str, ...]
    recipient: str
    key_bits: int
    submitted: datetime
    state: State = State.QUEUED
    reason: str = ""
    exit_code: int = 0
    waits_for: tuple[str, ...] = ()  # departments whose officers must decide
    waits_since: datetime | None = None
    next_try: datetime | None = None
    epoch: str = ""
    started: datetime | None = None
    ended: datetime | None = None

    def begin(self, epoch: str, now: datetime) -> Self:
        """It runs."""
        return self._to(
            State.RUNNING,
            epoch=epoch,
            started=now,
            reason="",
            waits_for=(),
            waits_since=None,
            next_try=None,
        )

    def wait(self, departments: Sequence[str], reason: str, limits: Limits, now: datetime) -> Self:
        """It waits for the officers of ``departments``; given up where it has waited for too long."""
        since = self.waits_since or now
        if now - since >= limits.approval_wait:
            days = limits.approval_wait / timedelta(days=1)
            undecided = f"job: the officers of {', '.join(departments)} did not decide within {days:g} days"
            return self.end(State.FAILED, f"{undecided}; ask them, and submit it again", _ENDED_EARLY, now)
        return self._to(
            State.WAITING,
            reason=reason,
            waits_for=tuple(departments),
            waits_since=since,
            next_try=now + limits.approval_retry,
            epoch="",
            started=None,
        )

    def cancelling(self, operator: str) -> Self:
        """An operator told it to end, and it still runs."""
        return replace(
            self, reason=f"job: is being cancelled by {operator}; it ends when its departments answer"
        )

    def cancel(self, operator: str, now: datetime) -> Self:
        """An operator ended it."""
        reason = f"job: cancelled by {operator}; submit it again if it is wanted after all"
        return self.end(State.CANCELLED, reason, _ENDED_EARLY, now)

    def end(self, state: State, reason: str, exit_code: int, now: datetime) -> Self:
        """It ended; ``reason`` is empty and ``exit_code`` 0 where it is complete."""
        return self._to(
            state,
            reason=reason,
            exit_code=exit_code,
            ended=now,
            waits_for=(),
            waits_since=None,
            next_try=None,
        )

    def _to(self, state: State, **changes: Any) -> Self:
        if state not in AFTER[self.state]:
            raise ValueError(f"a job that is {self.state} does not become {state}")
        return replace(self, state=state, **changes)

    @property
    def ready(self) -> datetime | None:
        """Since, or from, when it could run; None for a job that runs or ended."""
        match self.state:
            case State.QUEUED:
                return self.submitted
            case State.WAITING:
                return self.next_try
            case _:
                return None


class Queue:
    """The jobs that have not ended, in the order of their submission, and which of them are taken."""

    def __init__(self, limits: Limits, submissions: Iterable[Submission]) -> None:
        """Take what was left: jobs that are queued or wait."""
        self.limits = limits
        self._open = {each.job: each for each in submissions}
        self._taken: set[str] = set()

    def find(self, job: str) -> Submission | None:
        """Return a job that has not ended, or None."""
        return self._open.get(job)

    def admit(self, operator: str) -> None:
        """Raise RequestError where an operator has as many submissions queued or waiting as it may."""
        held = [each for each in self._open.values() if each.operator == operator and each.ready is not None]
        if len(held) >= self.limits.queued_jobs:
            raise RequestError(
                f"office: {operator} has {len(held)} jobs in the queue, as many as queued_jobs allows; "
                "wait until some have run, or cancel some"
            )

    def put(self, submission: Submission) -> None:
        """Take a new job, or what became of one; an ended one is dropped."""
        if submission.state.ended:
            self._open.pop(submission.job, None)
        else:
            self._open[submission.job] = submission

    def next(self, now: datetime) -> Submission | None:
        """Return the job that may be taken now, or None.

        It is the one that is ready for longest among those whose recipient receives nothing at the moment.
        """
        if len(self._taken) >= self.limits.jobs_at_once:
            return None
        busy = {self._open[job].recipient for job in self._taken}
        ready = [
            (each.ready, each)
            for each in self._open.values()
            if each.ready is not None
            and each.ready <= now
            and each.job not in self._taken
            and each.recipient not in busy
        ]
        return min(ready, key=lambda pair: pair[0])[1] if ready else None

    def take(self, job: str) -> None:
        """Somebody runs it, or tries to."""
        self._taken.add(job)

    def release(self, job: str) -> None:
        """Nobody does any more."""
        self._taken.discard(job)

    def due(self, now: datetime) -> timedelta | None:
        """How long until a job that waits is to be tried again; None where none waits for its time."""
        tries = [each.ready for each in self._open.values() if each.ready is not None and each.ready > now]
        return min(tries) - now if tries else None
