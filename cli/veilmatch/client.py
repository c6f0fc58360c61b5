"""The operator's calls to the coordinator: events and answers come back as plain values."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from veilmatch.errors import JobFailedError
from veilmatch_transport import TlsIdentity, call, open_channel, responses, wait_until_serving
from veilmatch_wire.v1 import coordinator_pb2, coordinator_pb2_grpc

OFFICE = "veilmatch_wire.v1.Office"
NODE = "veilmatch_wire.v1.Node"

_LINKAGES = {"oprf": coordinator_pb2.LINKAGE_OPRF, "shared-key": coordinator_pb2.LINKAGE_SHARED_KEY}
_SLOTS = {"union": coordinator_pb2.SLOT_MODE_UNION, "register": coordinator_pb2.SLOT_MODE_REGISTER}

Progress = Callable[[str, str, int, int], None]  # stage, department, done, total


@dataclass(frozen=True)
class Linked:
    """A linked epoch: its name, slots in all, distinct people by department, seconds."""

    epoch: str
    padded: int
    people: Mapping[str, int]
    seconds: float


@dataclass(frozen=True)
class NewestEpoch:
    """The newest epoch: what it is, and when it was linked (RFC 3339)."""

    linked: Linked
    linkage: str
    slots: str
    reference_date: str
    at: str


@dataclass(frozen=True)
class Submission:
    """A job as the coordinator's queue has it; times are RFC 3339, None until they come."""

    job: str
    state: str
    policies: tuple[str, ...]
    recipient: str
    operator: str
    key_bits: int
    reason: str
    exit_code: int
    waits_for: tuple[str, ...]
    epoch: str | None
    submitted: str
    started: str | None
    ended: str | None


Told = Callable[[Submission], None]


def wait_for(address: str, member: str, service: str, tls: TlsIdentity, timeout: float) -> None:
    """Wait until a member serves.  Raises PeerError after ``timeout`` seconds."""
    with open_channel(address, member, tls) as channel:
        wait_until_serving(channel, member, service, timeout)


class Operator:
    """The coordinating office's operator at one coordinator.

    Every method raises JobFailedError with the coordinator's line where it refuses or a job failed, and
    PeerError where it is lost.
    """

    def __init__(self, address: str, coordinator: str, tls: TlsIdentity) -> None:
        self._coordinator = coordinator
        self._channel = open_channel(address, coordinator, tls)
        self._office = coordinator_pb2_grpc.OfficeStub(self._channel)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def link(self, linkage: str, slots: str, reference_date: str, progress: Progress) -> Linked:
        """Link a new epoch, once no job runs."""
        request = coordinator_pb2.LinkRequest(
            linkage=_LINKAGES[linkage], slots=_SLOTS[slots], reference_date=reference_date
        )
        return _linked(self._last(responses(self._office.Link, self._coordinator, request), progress).linked)

    def epoch(self) -> NewestEpoch:
        """Return the newest epoch."""
        epoch = self._ask(self._office.ShowEpoch, coordinator_pb2.ShowEpochRequest()).epoch
        linkage = next(name for name, number in _LINKAGES.items() if number == epoch.linkage)
        slots = next(name for name, number in _SLOTS.items() if number == epoch.slots)
        return NewestEpoch(_linked(epoch.linked), linkage, slots, epoch.reference_date, epoch.at)

    def submit(self, policies: Sequence[bytes], key_bits: int) -> Submission:
        """Queue policies of one recipient as one job."""
        request = coordinator_pb2.SubmitRequest(policies=policies, key_bits=key_bits)
        return _submission(self._ask(self._office.Submit, request).job)

    def jobs(self, most: int) -> list[Submission]:
        """Return at most ``most`` jobs: those that have not ended first, then the newest."""
        answer = self._ask(self._office.List, coordinator_pb2.ListRequest(most=most))
        return [_submission(job) for job in answer.jobs.jobs]

    def job(self, job: str) -> Submission:
        """Return one job."""
        return _submission(self._ask(self._office.Show, coordinator_pb2.ShowRequest(job=job)).job)

    def watch(self, job: str, progress: Progress, told: Told = lambda _: None) -> list[dict[str, object]]:
        """Follow a job until it has ended; the coordinator's copies of its results, in the policies' order.

        ``told`` hears of each of its states before that.
        """
        request = coordinator_pb2.WatchRequest(job=job)
        return _results(self._last(responses(self._office.Watch, self._coordinator, request), progress, told))

    def cancel(self, job: str) -> Submission:
        """End a job; returns it, which may still be running for a moment."""
        return _submission(self._ask(self._office.Cancel, coordinator_pb2.CancelRequest(job=job)).job)

    def result(self, job: str) -> list[dict[str, object]]:
        """Return the coordinator's copies of a complete job's results."""
        return _results(self._ask(self._office.Result, coordinator_pb2.ResultRequest(job=job)))

    def _ask(
        self, procedure: Callable[..., coordinator_pb2.Answer], request: object
    ) -> coordinator_pb2.Answer:
        answer = call(procedure, self._coordinator, request)
        if answer.WhichOneof("body") == "failed":
            raise JobFailedError(answer.failed.text, answer.failed.exit_code)
        return answer

    def _last(
        self,
        events: Iterator[coordinator_pb2.Event],
        progress: Progress,
        told: Told = lambda _: None,
    ) -> coordinator_pb2.Event:
        for event in events:
            match event.WhichOneof("body"):
                case "progress":
                    step = event.progress
                    progress(step.stage, step.department, step.done, step.total)
                case "job":
                    told(_submission(event.job))
                case "failed":
                    raise JobFailedError(event.failed.text, event.failed.exit_code)
                case _:
                    return event
        raise JobFailedError(f"{self._coordinator}: was stopped; start it, and ask for the job again", 5)


def _linked(linked: coordinator_pb2.Linked) -> Linked:
    return Linked(linked.epoch, linked.padded, dict(linked.people), linked.seconds)


def _results(told: coordinator_pb2.Event | coordinator_pb2.Answer) -> list[dict[str, object]]:
    return [json.loads(result) for result in told.completed.results]


def _submission(job: coordinator_pb2.Submission) -> Submission:
    return Submission(
        job=job.job,
        state=coordinator_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_").lower(),
        policies=tuple(job.policies),
        recipient=job.recipient,
        operator=job.operator,
        key_bits=job.key_bits,
        reason=job.reason,
        exit_code=job.exit_code,
        waits_for=tuple(job.waits_for),
        epoch=job.epoch or None,
        submitted=job.submitted,
        started=job.started or None,
        ended=job.ended or None,
    )
