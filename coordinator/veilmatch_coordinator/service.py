"""The coordinator on the wire: for nodes that dial out, and for the office's operators.

Parses, calls, serialises (proto/veilmatch_wire/v1/coordinator.proto).
"""

import json
import queue
import threading
from collections.abc import Callable, Iterator
from datetime import datetime

import grpc

from veilmatch_coordinator.attachments import Attachments
from veilmatch_coordinator.client import Stream
from veilmatch_coordinator.control import Step
from veilmatch_coordinator.errors import RequestError
from veilmatch_coordinator.failures import failure_of
from veilmatch_coordinator.jobs import JobReport
from veilmatch_coordinator.linking import Progress
from veilmatch_coordinator.office import Office
from veilmatch_coordinator.queue import State, Submission
from veilmatch_policy.epoch import LinkageMode, SlotMode
from veilmatch_transport import caller, serve_stream
from veilmatch_wire.v1 import coordinator_pb2, coordinator_pb2_grpc, job_pb2, node_pb2

COORDINATOR = "veilmatch_wire.v1.Coordinator"
OFFICE = "veilmatch_wire.v1.Office"
_OFFICES = ("Link", "ShowEpoch", "Submit", "List", "Show", "Watch", "Cancel", "Result")
ROLES = {  # who may call what
    f"/{COORDINATOR}/Attach": frozenset({"node"}),
    f"/{COORDINATOR}/Work": frozenset({"node"}),
    **{f"/{OFFICE}/{procedure}": frozenset({"operator"}) for procedure in _OFFICES},
}

_LINKAGES: "dict[coordinator_pb2.Linkage.ValueType, LinkageMode]" = {
    coordinator_pb2.LINKAGE_OPRF: "oprf",
    coordinator_pb2.LINKAGE_SHARED_KEY: "shared-key",
}
_SLOTS: "dict[coordinator_pb2.SlotMode.ValueType, SlotMode]" = {
    coordinator_pb2.SLOT_MODE_UNION: "union",
    coordinator_pb2.SLOT_MODE_REGISTER: "register",
}
_LINKAGES_OUT = {mode: number for number, mode in _LINKAGES.items()}
_SLOTS_OUT = {mode: number for number, mode in _SLOTS.items()}
_STATES = {state: coordinator_pb2.JobState.Value(f"JOB_STATE_{state.name}") for state in State}


class CoordinatorServicer(coordinator_pb2_grpc.CoordinatorServicer):
    """Serves nodes whose network lets nothing in."""

    def __init__(self, attachments: Attachments, stopping: threading.Event) -> None:
        self._attachments = attachments
        self._stopping = stopping

    def Attach(  # noqa: N802  the name that the proto gives
        self, _request: coordinator_pb2.AttachRequest, context: grpc.ServicerContext
    ) -> Iterator[coordinator_pb2.WorkOffer]:
        """Yield offers until either side stops."""

        def wanted() -> bool:
            return context.is_active() and not self._stopping.is_set()

        for offer in self._attachments.attach(caller(context), wanted):
            yield coordinator_pb2.WorkOffer(offer=offer)

    def Work(  # noqa: N802  the name that the proto gives
        self, request_iterator: Iterator[node_pb2.NodeMessage], context: grpc.ServicerContext
    ) -> Iterator[node_pb2.CoordinatorMessage]:
        """Give the stream to whoever offered it."""
        metadata = dict(context.invocation_metadata())
        offer = str(metadata.get("veilmatch-offer", ""))

        def task(stream: Stream) -> None:
            self._attachments.accept(offer, stream)

        return serve_stream(request_iterator, context, task)


class OfficeServicer(coordinator_pb2_grpc.OfficeServicer):
    """Serves the coordinating office's operators."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def Link(  # noqa: N802  the name that the proto gives
        self, request: coordinator_pb2.LinkRequest, context: grpc.ServicerContext
    ) -> Iterator[coordinator_pb2.Event]:
        """Link a new epoch and tell how it goes."""

        def work(progress: Progress) -> coordinator_pb2.Event:
            if request.linkage not in _LINKAGES:
                raise RequestError("office: that is no linkage mode; ask for oprf or shared-key")
            if request.slots not in _SLOTS:
                raise RequestError("office: that is no slot mode; ask for union or register")
            linkage, slots = _LINKAGES[request.linkage], _SLOTS[request.slots]
            epoch, linked = self._office.link(
                linkage, slots, request.reference_date, progress, context.is_active
            )
            return coordinator_pb2.Event(
                linked=coordinator_pb2.Linked(
                    epoch=epoch, padded=linked.padded, people=linked.people, seconds=linked.seconds
                )
            )

        return _events(work)

    def ShowEpoch(  # noqa: N802  the name that the proto gives
        self, _request: coordinator_pb2.ShowEpochRequest, _context: grpc.ServicerContext
    ) -> coordinator_pb2.Answer:
        """Tell the newest epoch."""

        def answer() -> coordinator_pb2.Answer:
            epoch = self._office.epoch()
            said, found = epoch.statement, epoch.figures
            linked = coordinator_pb2.Linked(
                epoch=said.epoch, padded=found.padded, people=found.people, seconds=found.seconds
            )
            return coordinator_pb2.Answer(
                epoch=coordinator_pb2.NewestEpoch(
                    linked=linked,
                    linkage=_LINKAGES_OUT[said.linkage],
                    slots=_SLOTS_OUT[said.slots],
                    reference_date=said.reference_date.isoformat(),
                    at=_time(found.linked),
                )
            )

        return _answer(answer)

    def Submit(  # noqa: N802  the name that the proto gives
        self, request: coordinator_pb2.SubmitRequest, context: grpc.ServicerContext
    ) -> coordinator_pb2.Answer:
        """Queue a job."""
        operator = caller(context)
        return _answer_job(lambda: self._office.submit(operator, list(request.policies), request.key_bits))

    def List(  # noqa: N802  the name that the proto gives
        self, request: coordinator_pb2.ListRequest, _context: grpc.ServicerContext
    ) -> coordinator_pb2.Answer:
        """Tell which jobs there are."""

        def answer() -> coordinator_pb2.Answer:
            jobs = coordinator_pb2.Submissions(jobs=map(_submission, self._office.jobs(request.most)))
            return coordinator_pb2.Answer(jobs=jobs)

        return _answer(answer)

    def Show(  # noqa: N802  the name that the proto gives
        self, request: coordinator_pb2.ShowRequest, _context: grpc.ServicerContext
    ) -> coordinator_pb2.Answer:
        """Tell one job's state."""
        return _answer_job(lambda: self._office.job(request.job))

    def Watch(  # noqa: N802  the name that the proto gives
        self, request: coordinator_pb2.WatchRequest, context: grpc.ServicerContext
    ) -> Iterator[coordinator_pb2.Event]:
        """Tell a job's story until it ends, or the operator leaves."""
        try:
            for said in self._office.watch(request.job, context.is_active):
                yield self._told(said)
        except Exception as error:  # noqa: BLE001  told to the operator, and logged, by `failure_of`
            yield coordinator_pb2.Event(failed=_failed(error))

    def Cancel(  # noqa: N802  the name that the proto gives
        self, request: coordinator_pb2.CancelRequest, context: grpc.ServicerContext
    ) -> coordinator_pb2.Answer:
        """End a job."""
        operator = caller(context)
        return _answer_job(lambda: self._office.cancel(request.job, operator))

    def Result(  # noqa: N802  the name that the proto gives
        self, request: coordinator_pb2.ResultRequest, _context: grpc.ServicerContext
    ) -> coordinator_pb2.Answer:
        """Give a complete job's results."""
        return _answer(lambda: coordinator_pb2.Answer(completed=_completed(self._office.result(request.job))))

    def _told(self, said: Submission | Step) -> coordinator_pb2.Event:
        if isinstance(said, Step):
            return coordinator_pb2.Event(progress=coordinator_pb2.Progress(**said._asdict()))
        if not said.state.ended:
            return coordinator_pb2.Event(job=_submission(said))
        if said.state is State.COMPLETE:
            return coordinator_pb2.Event(completed=_completed(self._office.result(said.job)))
        return coordinator_pb2.Event(
            failed=coordinator_pb2.Failed(exit_code=said.exit_code, text=said.reason)
        )


def register(
    office: Office, attachments: Attachments, stopping: threading.Event
) -> dict[str, Callable[[grpc.Server], None]]:
    """Return, by service, what adds it to a server."""
    return {
        COORDINATOR: lambda server: coordinator_pb2_grpc.add_CoordinatorServicer_to_server(
            CoordinatorServicer(attachments, stopping), server
        ),
        OFFICE: lambda server: coordinator_pb2_grpc.add_OfficeServicer_to_server(
            OfficeServicer(office), server
        ),
    }


def _events(work: Callable[[Progress], coordinator_pb2.Event]) -> Iterator[coordinator_pb2.Event]:
    """Run ``work`` in a thread; yield its progress, then its last event."""
    events: queue.SimpleQueue[coordinator_pb2.Event] = queue.SimpleQueue()

    def progress(stage: str, department: str, done: int, total: int) -> None:
        step = coordinator_pb2.Progress(stage=stage, department=department, done=done, total=total)
        events.put(coordinator_pb2.Event(progress=step))

    def run() -> None:
        try:
            events.put(work(progress))
        except Exception as error:  # noqa: BLE001  told to the operator, and logged, by `failure_of`
            events.put(coordinator_pb2.Event(failed=_failed(error)))

    threading.Thread(target=run, name="linkage", daemon=True).start()
    while True:
        event = events.get()
        yield event
        if event.WhichOneof("body") != "progress":
            return


def _answer(work: Callable[[], coordinator_pb2.Answer]) -> coordinator_pb2.Answer:
    """What was asked for, or why not."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001  told to the operator, and logged, by `failure_of`
        return coordinator_pb2.Answer(failed=_failed(error))


def _answer_job(work: Callable[[], Submission]) -> coordinator_pb2.Answer:
    return _answer(lambda: coordinator_pb2.Answer(job=_submission(work())))


def _failed(error: Exception) -> coordinator_pb2.Failed:
    failure = failure_of(error)
    return coordinator_pb2.Failed(exit_code=failure.exit_code, text=failure.text)


def _completed(report: JobReport) -> coordinator_pb2.Completed:
    figures = job_pb2.JobReport(
        seconds=report.seconds, bytes_sent=report.sent, bytes_received=report.received
    )
    results = [json.dumps(result, ensure_ascii=False).encode() for result in report.results]
    return coordinator_pb2.Completed(job=report.job, report=figures, results=results)


def _submission(job: Submission) -> coordinator_pb2.Submission:
    return coordinator_pb2.Submission(
        job=job.job,
        operator=job.operator,
        policies=job.policies,
        recipient=job.recipient,
        key_bits=job.key_bits,
        state=_STATES[job.state],
        reason=job.reason,
        exit_code=job.exit_code,
        waits_for=job.waits_for,
        epoch=job.epoch,
        submitted=_time(job.submitted),
        started=_time(job.started),
        ended=_time(job.ended),
    )


def _time(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat(timespec="seconds")
