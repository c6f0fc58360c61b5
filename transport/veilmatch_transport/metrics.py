"""What a service counts and measures, for Prometheus; docs/operations.md has every name.

Nothing personal and nothing that a policy says: labels are fixed words, names of members, of tasks, of log
entries and codes of refusals; there is no count of people.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, Protocol

from cryptography import x509
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from veilmatch_transport.errors import Code, PeerError
from veilmatch_transport.health import Finding, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from veilmatch_transport.status import Said

_SHORT: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # seconds: one write to a disk
_LONG: Final = (0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 36000.0)  # seconds: one task, one job
_CHUNKS: Final = frozenset({"contributed", "received", "combined", "opened"})  # one such entry a chunk
# A second time series for each: when it began, which process_start_time_seconds says.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no type for it
_STATES: Final = {Status.OK: 0, Status.DEGRADED: 1, Status.FAILED: 2}


class Counted(Protocol):
    """A work stream, as far as its bytes are counted."""

    peer: str
    bytes_sent: int
    bytes_received: int


@dataclass
class Span:
    """A task while it runs: which one it is, and how it ended."""

    task: str = "none"
    outcome: str = "done"  # or "refused", "lost"


class Metrics:
    """One service's registry and what is in it.  Safe for several threads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.tasks_running = 0
        """Tasks of a node that run now."""
        self._counting = threading.Lock()
        registry = self.registry
        self._build = Info("veilmatch_build", "Release, role and member.", registry=registry)
        self._tasks = Counter(
            "veilmatch_tasks",
            "Tasks that a node ended, by kind and outcome.",
            ["task", "outcome"],
            registry=registry,
        )
        self._task_seconds = Histogram(
            "veilmatch_task_seconds",
            "How long a node's tasks took.",
            ["task"],
            buckets=_LONG,
            registry=registry,
        )
        running = Gauge("veilmatch_tasks_running", "Tasks that run now.", registry=registry)
        running.set_function(lambda: self.tasks_running)
        self._refusals = Counter(
            "veilmatch_refusals", "What was refused to a peer, by code.", ["code"], registry=registry
        )
        self._jobs_ended = Counter(
            "veilmatch_jobs_ended", "Jobs that ended, by their state.", ["state"], registry=registry
        )
        self._job_seconds = Histogram(
            "veilmatch_job_seconds", "How long jobs ran.", ["state"], buckets=_LONG, registry=registry
        )
        self._jobs = Gauge(
            "veilmatch_jobs", "Jobs that have not ended, by state.", ["state"], registry=registry
        )
        self._oldest = Gauge(
            "veilmatch_oldest_wait_seconds",
            "How long the oldest job that has not begun waits.",
            registry=registry,
        )
        self._chunks = Counter(
            "veilmatch_chunks", "Chunks, by what was done with them.", ["step"], registry=registry
        )
        self._wire = Counter(
            "veilmatch_wire_bytes",
            "Bytes of messages of work streams.",
            ["peer", "direction"],
            registry=registry,
        )
        self._records = Counter(
            "veilmatch_log_records",
            "Records added to the evidence log, by action.",
            ["action"],
            registry=registry,
        )
        self._append = Histogram(
            "veilmatch_log_append_seconds",
            "How long a record took to be on disk.",
            buckets=_SHORT,
            registry=registry,
        )
        self._transaction = Histogram(
            "veilmatch_store_transaction_seconds",
            "How long the store's transactions took.",
            buckets=_SHORT,
            registry=registry,
        )
        self._read = Histogram(
            "veilmatch_data_read_seconds",
            "How long a read of one of the department's databases took.",
            buckets=_LONG,
            registry=registry,
        )
        self._expiry = Gauge(
            "veilmatch_certificate_expiry_timestamp_seconds",
            "When our certificate ends, seconds since 1970.",
            registry=registry,
        )
        self._directory = Gauge(
            "veilmatch_directory_version", "Version of the directory in use.", registry=registry
        )
        self._clock = Gauge(
            "veilmatch_clock_difference_seconds",
            "How far a peer's clock is ahead of ours.",
            ["peer"],
            registry=registry,
        )
        self._up = Gauge(
            "veilmatch_peer_up",
            "Whether a peer answers or has dialled in (1), or not (0).",
            ["peer"],
            registry=registry,
        )
        self._attached = Gauge(
            "veilmatch_attached_nodes", "Nodes that dialled in and wait for work.", registry=registry
        )
        self._check = Gauge(
            "veilmatch_check_state",
            "A check of health: 0 ok, 1 degraded, 2 failed.",
            ["check"],
            registry=registry,
        )
        ProcessCollector(registry=self.registry)

    # What does not change while a service lives.

    def describe(self, role: str, member: str, certificate: bytes, directory: int) -> None:
        """Say who this is; ``certificate`` is PEM."""
        self._build.info({"release": version("veilmatch"), "role": role, "member": member})
        self._expiry.set(x509.load_pem_x509_certificate(certificate).not_valid_after_utc.timestamp())
        self._directory.set(directory)

    # What happens.

    @contextmanager
    def task(self, stream: Counted) -> Iterator[Span]:
        """Count a node's task and the bytes of its stream; the body says in the span what it was."""
        span, began = Span(), time.monotonic()
        self._count_running(1)
        try:
            yield span
        finally:
            self._count_running(-1)
        self._tasks.labels(span.task, span.outcome).inc()
        self._task_seconds.labels(span.task).observe(time.monotonic() - began)
        self.streamed([stream])

    def _count_running(self, more: int) -> None:
        with self._counting:
            self.tasks_running += more

    def streamed(self, streams: Iterable[Counted]) -> None:
        """Count the bytes of work streams that have ended."""
        for stream in streams:
            self._wire.labels(stream.peer, "sent").inc(stream.bytes_sent)
            self._wire.labels(stream.peer, "received").inc(stream.bytes_received)

    def refused(self, code: Code) -> None:
        """Count what was refused to a peer."""
        self._refusals.labels(code.value).inc()

    def job_ended(self, state: str, seconds: float | None) -> None:
        """Count a job that ended; ``seconds`` since it began to run, None where it never did."""
        self._jobs_ended.labels(state).inc()
        if seconds is not None:
            self._job_seconds.labels(state).observe(seconds)

    def recorded(self, action: str, seconds: float) -> None:
        """Count a record of the evidence log, and what it took until it was on disk."""
        self._records.labels(action).inc()
        self._append.observe(seconds)
        if action in _CHUNKS:
            self._chunks.labels(action).inc()

    def stored(self, seconds: float) -> None:
        """Measure a transaction of the store."""
        self._transaction.observe(seconds)

    def data_read(self, seconds: float) -> None:
        """Measure a read of a database."""
        self._read.observe(seconds)

    # What is the case when somebody looks.

    def queue(self, jobs: Mapping[str, int], oldest: float) -> None:
        """Say how many jobs have not ended, by state, and how many seconds the longest of them waits to begin."""
        for state, count in jobs.items():
            self._jobs.labels(state).set(count)
        self._oldest.set(oldest)

    def attached(self, look: Callable[[], int]) -> None:
        """Ask at every scrape how many nodes have dialled in."""
        self._attached.set_function(look)

    def peers(self, said: Mapping[str, Said | PeerError], waiting: Mapping[str, bool]) -> None:
        """Say who answered, and what time it was there; ``waiting`` are those that dial in."""
        for name, answer in said.items():
            up = not isinstance(answer, PeerError)
            self._up.labels(name).set(up)
            if not isinstance(answer, PeerError):
                self._clock.labels(name).set(answer.ahead)
        for name, there in waiting.items():
            self._up.labels(name).set(there)

    def checks(self, found: Mapping[str, Finding]) -> None:
        """Say how the checks of health came out."""
        for name, finding in found.items():
            self._check.labels(name).set(_STATES[finding.status])
