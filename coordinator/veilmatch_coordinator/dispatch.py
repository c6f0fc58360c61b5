"""Runs what is queued: worker threads, tries again, cancellation, and what watchers see of it.

``queue`` says which job is next, ``Jobs`` runs it, the store keeps every change before anybody is told.
"""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial

import structlog

from veilmatch_coordinator.control import Control, Step, Try
from veilmatch_coordinator.errors import RequestError, WaitingForApprovalError
from veilmatch_coordinator.failures import failure_of
from veilmatch_coordinator.jobs import JobReport, Jobs
from veilmatch_coordinator.queue import STOPPED, Limits, Queue, State, Submission
from veilmatch_coordinator.store import CoordinatorStore
from veilmatch_coordinator.turns import Turns
from veilmatch_policy.clock import Clock, utc_now
from veilmatch_policy.epoch import reopen_epoch
from veilmatch_transport.memory import give_back
from veilmatch_transport.metrics import Metrics

_log = structlog.get_logger(__name__)

_MOST_WATCHES = 32  # at once: each holds one of the server's threads
_CANCELLED_WITHIN = 5.0  # seconds that a running job has to end before whoever cancelled it is answered
_LOOK = 0.5  # seconds between looks whether a watch is still wanted
_SWEEP = timedelta(hours=1)  # between looks for ended jobs to forget
_PAUSE = 5.0  # seconds until a worker goes on that could not keep what it did
_FAILED = 5  # exit code


class Dispatcher:
    """Runs the queue of one coordinator.  All methods may be called from any thread."""

    def __init__(
        self,
        jobs: Jobs,
        store: CoordinatorStore,
        turns: Turns,
        limits: Limits,
        clock: Clock = utc_now,
        metrics: Metrics | None = None,
    ) -> None:
        """Take up what the store has: jobs that are queued or wait go on, those that ran have failed."""
        self._jobs = jobs
        self._store = store
        self._turns = turns
        self._limits = limits
        self._clock = clock
        self._metrics = metrics or Metrics()
        left = store.open_submissions()
        for each in left:
            if each.state is State.RUNNING:
                store.save_submission(each.end(State.FAILED, STOPPED, _FAILED, clock()))
        self._queue = Queue(limits, [each for each in left if each.state is not State.RUNNING])
        self._tries: dict[str, Try] = {}
        self._watches = 0
        self._stopped = self._resting = False
        self._swept: datetime | None = None
        lock = threading.RLock()
        self._work = threading.Condition(lock)  # something may be startable
        self._news = threading.Condition(lock)  # something is to be told to watchers

    def start(self) -> None:
        """Begin to run jobs."""
        for number in range(self._limits.jobs_at_once):
            threading.Thread(target=self._run_jobs, name=f"job-{number}", daemon=True).start()

    def rest(self) -> None:
        """Begin no more jobs; those that run go on."""
        with self._work:
            self._resting = True
            self._work.notify_all()

    def stop(self, within: float) -> None:
        """Begin no more jobs, break off those that run, and wait ``within`` seconds until they have ended."""
        with self._work:
            self._stopped = True
            tries = list(self._tries.values())
            for each in tries:
                each.ending = each.ending or _stopped
            self._work.notify_all()
            self._news.notify_all()
        for each in tries:
            each.control.cancel()
        with self._news:
            self._news.wait_for(lambda: not self._tries, within)

    def submit(self, submission: Submission, sources: Sequence[bytes]) -> None:
        """Queue a job.  Raises RequestError where its operator has too many in the queue."""
        with self._work:
            self._queue.admit(submission.operator)
            self._store.add_submission(submission, sources)
            self._queue.put(submission)
            self._work.notify()

    def submission(self, job: str) -> Submission:
        """Return a job.  Raises RequestError where there is none of this name."""
        with self._work:
            found = self._queue.find(job) or self._store.submission(job)
        if found is None:
            raise RequestError("job: there is none of this name; see `veilmatch job list`")
        return found

    def cancel(self, job: str, operator: str) -> Submission:
        """End a job; returns it, which may still be running where a department holds it up for a moment.

        Raises RequestError where there is no such job, or it has ended.
        """
        with self._work:
            submission = self.submission(job)
            if submission.state.ended:
                raise RequestError(
                    f"job: {job} has ended already, it is {submission.state}; nothing to cancel"
                )
            attempt = self._tries.get(job)
            if attempt is None:
                self._put(submission.cancel(operator, self._clock()))
                return self.submission(job)
            attempt.ending = attempt.ending or partial(_cancelled, operator)
            self._put(submission.cancelling(operator))
        attempt.control.cancel()
        with self._news:
            self._news.wait_for(lambda: self._tries.get(job) is not attempt, _CANCELLED_WITHIN)
        return self.submission(job)

    def watch(self, job: str, wanted: Callable[[], bool]) -> Iterator[Submission | Step]:
        """Yield a job, then each change of it and each step, until it has ended or the watch is not ``wanted``.

        Of a stage's steps only the newest is told to a watcher that is slow.  Raises RequestError where there
        is no such job, or too many are watched.
        """
        with self._watching():
            told: Submission | None = None
            attempt: Try | None = None
            seen = 0
            while True:
                with self._news:
                    submission = self.submission(job)
                    newest = self._tries.get(job)
                    if newest is not None and newest is not attempt:
                        attempt, seen = newest, 0
                    steps = [] if attempt is None else attempt.since(seen)
                    seen = seen if attempt is None else attempt.changes
                    if submission == told and not steps:
                        if not wanted() or (self._stopped and newest is None):
                            return
                        self._news.wait(_LOOK)
                        continue
                if submission != told and not submission.state.ended:
                    yield submission
                yield from steps
                if submission.state.ended:
                    yield submission
                    return
                told = submission

    # The workers.

    def _run_jobs(self) -> None:
        while True:
            try:
                if not self._wait_for_work():
                    return
                with self._turns.shared():
                    taken = self._take()
                    if taken is not None:
                        self._run(*taken)
            except Exception as error:  # noqa: BLE001  a store that cannot be written: nothing is lost, and it may heal
                failure_of(error)
                self._pause()

    def _wait_for_work(self) -> bool:
        """Return True when a job can be taken, False when no more will be."""
        with self._work:
            while not (self._stopped or self._resting):
                now = self._clock()
                self._forget_old(now)
                if self._queue.next(now) is not None:
                    return True
                self._work.wait(min(self._queue.due(now) or _SWEEP, _SWEEP).total_seconds())
        return False

    def _take(self) -> tuple[Submission, Try] | None:
        """Take the next job, where there still is one."""
        with self._work:
            now = self._clock()
            submission = None if self._stopped or self._resting else self._queue.next(now)
            if submission is None:
                return None
            if submission.state is State.QUEUED:
                submission = self._begin(submission)
            attempt = Try(Control(partial(self._begun, submission.job)))
            self._queue.take(submission.job)
            self._tries[submission.job] = attempt
            return submission, attempt

    def _begun(self, job: str) -> None:
        """A job that waited has what it waited for."""
        with self._work:
            submission = self.submission(job)
            if submission.state is State.WAITING:
                self._begin(submission)

    def _begin(self, submission: Submission) -> Submission:
        figures = self._store.newest_figures()
        epoch = "" if figures is None else reopen_epoch(figures.statement).epoch.epoch
        begun = submission.begin(epoch, self._clock())
        self._put(begun)
        return begun

    def _run(self, submission: Submission, attempt: Try) -> None:
        job = submission.job
        try:
            report, error = self._report(submission, attempt), None
        except Exception as raised:  # noqa: BLE001  told to the operator, and logged, by `failure_of`
            report, error = None, raised
        with self._work:
            try:
                ended = self._ended(self.submission(job), attempt, error)
                self._keep(ended, None if report is None else _encoded(report))
            finally:
                del self._tries[job]
                self._queue.release(job)
                self._work.notify_all()
                self._news.notify_all()
        give_back()

    def _report(self, submission: Submission, attempt: Try) -> JobReport:
        def progress(stage: str, department: str, done: int, total: int) -> None:
            with self._news:
                attempt.changes += 1
                attempt.steps[stage, department] = (attempt.changes, Step(stage, department, done, total))
                self._news.notify_all()

        return self._jobs.run(
            self._store.sources(submission.job),
            submission.key_bits,
            progress,
            job=submission.job,
            operator=submission.operator,
            control=attempt.control,
        )

    def _ended(self, submission: Submission, attempt: Try, error: Exception | None) -> Submission:
        """What became of a try."""
        now = self._clock()
        if error is None:
            return submission.end(State.COMPLETE, "", 0, now)
        if attempt.ending is not None:
            return attempt.ending(submission, now)
        if isinstance(error, WaitingForApprovalError):
            return submission.wait(error.departments, str(error), self._limits, now)
        text, exit_code = failure_of(error, job=submission.job)
        return submission.end(State.FAILED, text, exit_code, now)

    def _keep(self, ended: Submission, outcome: bytes | None) -> None:
        """Keep what became of a job, however long the store takes none: nobody else has it.

        Until then its recipient is busy; a coordinator that is stopped says at its next start that the job failed.
        """
        while True:
            try:
                return self._put(ended, outcome)
            except Exception as error:  # noqa: BLE001  as in `_run_jobs`
                failure_of(error, job=ended.job)
                if self._pause():
                    return None

    def _pause(self) -> bool:
        """Wait until what failed may have healed; whether it is all over."""
        with self._work:
            return self._work.wait_for(lambda: self._stopped, _PAUSE)

    def _put(self, submission: Submission, outcome: bytes | None = None) -> None:
        """Keep a change, then let it be seen."""
        self._store.save_submission(submission, outcome)
        if submission.ended is not None:
            began = submission.started
            ran = None if began is None else (submission.ended - began).total_seconds()
            self._metrics.job_ended(submission.state.value, ran)
        self._queue.put(submission)
        self._work.notify()
        self._news.notify_all()

    def _forget_old(self, now: datetime) -> None:
        if self._swept is None or now - self._swept >= _SWEEP:
            self._swept = now
            self._store.forget_submissions(now - self._limits.keep_jobs)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        with self._news:
            if self._watches >= _MOST_WATCHES:
                raise RequestError(
                    f"office: {_MOST_WATCHES} watches are open; end one, or ask `veilmatch job show`"
                )
            self._watches += 1
        try:
            yield
        finally:
            with self._news:
                self._watches -= 1


def _cancelled(operator: str, submission: Submission, now: datetime) -> Submission:
    return submission.cancel(operator, now)


def _stopped(submission: Submission, now: datetime) -> Submission:
    """The coordinator was stopped; a job that waits is tried again when it is back."""
    if submission.state is State.WAITING:
        return submission
    return submission.end(State.FAILED, STOPPED, _FAILED, now)


def _encoded(report: JobReport) -> bytes:
    """What a complete job gave, as the store keeps it."""
    outcome = {
        "seconds": report.seconds,
        "sent": report.sent,
        "received": report.received,
        "results": report.results,
    }
    return json.dumps(outcome, ensure_ascii=False).encode()
