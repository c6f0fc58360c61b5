"""What the coordinating office can have done: link a new epoch, queue policies as jobs, see to them."""

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import structlog

from veilmatch_coordinator.client import Nodes
from veilmatch_coordinator.control import Step
from veilmatch_coordinator.dispatch import Dispatcher
from veilmatch_coordinator.errors import RequestError
from veilmatch_coordinator.jobs import JobReport, Jobs
from veilmatch_coordinator.linking import Linkage, Progress, link
from veilmatch_coordinator.patience import RECONNECT_WAIT
from veilmatch_coordinator.queue import Limits, State, Submission
from veilmatch_coordinator.store import CoordinatorStore, EpochFigures
from veilmatch_coordinator.turns import Turns
from veilmatch_crypto import KEY_BITS, IdentityKey, Pool
from veilmatch_evidence.log import EvidenceLog
from veilmatch_policy.clock import Clock, utc_now
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import Epoch, LinkageMode, SlotMode, open_epoch, reopen_epoch, signed_statement
from veilmatch_policy.manifest import MOST_POLICIES
from veilmatch_policy.policy import parse_policies
from veilmatch_transport import reason_of
from veilmatch_transport.memory import give_back
from veilmatch_transport.metrics import Metrics

_log = structlog.get_logger(__name__)

MOST_LISTED = 1000  # jobs in one answer, which is one message
# Seconds between rounds in which parties that could not be reached are told that a job is over.
_CLOSE_AGAIN = 30.0
_EXCHANGE = 3600.0  # seconds between rounds in which the parties show each other the heads of their logs
_ENDED_WITHIN = 3.0  # seconds that running jobs have to close at the nodes when the coordinator is stopped
_WRITTEN_WITHIN = 10.0  # seconds that whoever is at a job's evidence then has to come to an end


@dataclass(frozen=True)
class NewestEpoch:
    """The newest epoch: its statement, and what the linkage found."""

    statement: Epoch
    figures: EpochFigures


class Office:
    """The coordinator's work, as its operators ask for it."""

    def __init__(
        self,
        *,
        identity: IdentityKey,
        directory: Directory,
        store: CoordinatorStore,
        nodes: Nodes,
        executor: Pool,
        evidence: Path,
        log: EvidenceLog,
        limits: Limits,
        reconnect_wait: float = RECONNECT_WAIT,
        clock: Clock = utc_now,
        metrics: Metrics | None = None,
    ) -> None:
        """Take the parts; nothing runs before ``start``."""
        self._identity = identity
        self._directory = directory
        self._store = store
        self._nodes = nodes
        self._turns = Turns()
        self._clock = clock
        jobs = Jobs(
            identity=identity,
            directory=directory,
            store=store,
            nodes=nodes,
            executor=executor,
            evidence=evidence,
            log=log,
            reconnect_wait=reconnect_wait,
            clock=clock,
        )
        self._heads = jobs.heads
        self._closing = jobs.closing
        self._metrics = metrics or Metrics()
        self._stopped = False
        self._stopping = threading.Lock()
        self._dispatcher = Dispatcher(jobs, store, self._turns, limits, clock, self._metrics)

    def start(self, stopping: threading.Event) -> None:
        """Begin to run what is queued, until ``stopping`` is set."""

        def stop() -> None:
            stopping.wait()
            self.stop()

        def attempt(work: Callable[[], None]) -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001  the next round may find store, disk and nodes well again
                if not stopping.is_set():  # then the service's parts are closed one after the other
                    _log.warning("not done, tried again", reason=reason_of(error))

        def exchange() -> None:
            while not stopping.wait(_EXCHANGE):
                attempt(partial(self._heads.exchange, self._nodes))

        def close() -> None:
            attempt(self._closing.close_others)
            while not stopping.wait(_CLOSE_AGAIN):
                attempt(self._closing.close_others)

        threading.Thread(target=close, name="closing", daemon=True).start()
        threading.Thread(target=stop, name="office", daemon=True).start()
        threading.Thread(target=exchange, name="heads", daemon=True).start()
        self._dispatcher.start()

    def rest(self) -> None:
        """Begin nothing more; what runs goes on.  Whoever asks for a linkage is refused when it is stopped."""
        self._dispatcher.rest()

    def idle(self) -> bool:
        """Whether no job and no linkage runs."""
        return not self._turns.taken()

    def stop(self) -> None:
        """Break off what runs: it has failed.  What is queued or waits goes on when the coordinator is back.

        Done once; a second call waits for the first.
        """
        with self._stopping:
            if self._stopped:
                return
            self._stopped = True
            self._dispatcher.stop(_ENDED_WITHIN)
            # The next life of this service closes the same jobs, in the same folders: nobody may be at them then.
            self._nodes.break_off()
            self._closing.stop(_WRITTEN_WITHIN)

    def measure(self) -> None:
        """Have the metrics say how many jobs are in which state now, and how long the first waits to begin."""
        still = self._store.open_submissions()
        now = self._clock()
        waits = [(now - each.submitted).total_seconds() for each in still if each.state is State.QUEUED]
        found = Counter(each.state.value for each in still)
        jobs = {state.value: found[state.value] for state in State if not state.ended}
        self._metrics.queue(jobs, max(waits, default=0.0))

    # Epochs.

    def link(
        self,
        mode: LinkageMode,
        slots: SlotMode,
        reference_date: str,
        progress: Progress,
        wanted: Callable[[], bool],
    ) -> tuple[str, Linkage]:
        """Link a new epoch of all departments, once no job runs; its name and figures.

        ``wanted`` is asked while jobs run.  Raises CoordinatorError, and ManifestError for register slots that
        the directory or the linkage mode does not allow.
        """
        try:
            day = date.fromisoformat(reference_date)
        except ValueError:
            raise RequestError("office: the reference date is no day; write it as 2025-12-31") from None
        epoch = Epoch(
            epoch=os.urandom(16).hex(),
            federation=self._directory.federation,
            directory=self._directory.digest.hex(),
            linkage=mode,
            slots=slots,
            register=self._directory.register if slots == "register" else None,
            reference_date=day,
            nodes=self._directory.nodes,
            trustees=self._directory.trustees,
        )
        statement = epoch.encode()
        signature = self._identity.sign(signed_statement(statement))
        opened = open_epoch(statement, signature, self._directory)
        with self._turns.alone(wanted):
            linked = link(opened, signature, self._nodes, self._store, progress, self._clock)
        give_back()
        return epoch.epoch, linked

    def epoch(self) -> NewestEpoch:
        """Return the newest epoch.  Raises RequestError before the first."""
        figures = self._store.newest_figures()
        if figures is None:
            raise RequestError("epoch: nothing is linked yet; link first")
        return NewestEpoch(reopen_epoch(figures.statement).epoch, figures)

    # Jobs.

    def submit(self, operator: str, sources: Sequence[bytes], key_bits: int) -> Submission:
        """Queue policies of one recipient as one job of ``operator``.

        Raises PolicyError where a policy is refused by itself, and RequestError.
        """
        if key_bits not in KEY_BITS:
            lengths = " or ".join(map(str, KEY_BITS))
            raise RequestError(f"office: {key_bits} bits is no length of a key; ask for {lengths}")
        if not 1 <= len(sources) <= MOST_POLICIES:
            raise RequestError(
                f"job: {len(sources)} policies are not one job; submit 1 to {MOST_POLICIES} at once"
            )
        policies = parse_policies(sources)
        recipients = sorted({policy.recipient for policy in policies})
        if len(recipients) > 1:
            raise RequestError(
                f"job: its policies are received by {' and '.join(recipients)}; submit one job a recipient"
            )
        submission = Submission(
            job=os.urandom(16).hex(),
            operator=operator,
            policies=tuple(policy.name for policy in policies),
            recipient=recipients[0],
            key_bits=key_bits,
            submitted=self._clock(),
        )
        self._dispatcher.submit(submission, sources)
        return submission

    def jobs(self, most: int) -> list[Submission]:
        """Return at most ``most`` jobs: those that have not ended first, then the newest.  Raises RequestError."""
        if not 1 <= most <= MOST_LISTED:
            raise RequestError(f"office: {most} jobs cannot be listed; ask for 1 to {MOST_LISTED}")
        return self._store.submissions(most)

    def job(self, job: str) -> Submission:
        """Return one job.  Raises RequestError where there is none of this name."""
        return self._dispatcher.submission(job)

    def watch(self, job: str, wanted: Callable[[], bool]) -> Iterator[Submission | Step]:
        """Yield a job's states and steps until it has ended (dispatch.Dispatcher.watch)."""
        return self._dispatcher.watch(job, wanted)

    def cancel(self, job: str, operator: str) -> Submission:
        """End a job in the name of ``operator`` (dispatch.Dispatcher.cancel)."""
        return self._dispatcher.cancel(job, operator)

    def result(self, job: str) -> JobReport:
        """Return what a complete job gave.  Raises RequestError where it gave nothing, or nothing yet."""
        submission = self._dispatcher.submission(job)
        outcome = self._store.outcome(job)
        if outcome is None:
            if submission.state in {State.FAILED, State.CANCELLED}:
                raise RequestError(f"job: {job} has no result, it {_ending(submission)}")
            raise RequestError(
                f"job: {job} has no result yet, it is {submission.state}; watch it with `veilmatch job watch`"
            )
        kept = json.loads(outcome)
        return JobReport(job, kept["seconds"], kept["sent"], kept["received"], kept["results"])


def _ending(submission: Submission) -> str:
    if submission.state is State.CANCELLED:
        return "was cancelled; submit it again if it is wanted after all"
    return "failed; see `veilmatch job show` for the reason"
