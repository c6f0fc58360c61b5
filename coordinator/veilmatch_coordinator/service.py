"""The coordinator on the wire: for nodes that dial out, and for the office's operator.

Parses, calls, serialises (proto/veilmatch_wire/v1/coordinator.proto).
"""

import json
import queue
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import grpc
import structlog

from veilmatch_coordinator.client import Stream
from veilmatch_coordinator.errors import CoordinatorError, RequestError
from veilmatch_coordinator.linking import Progress
from veilmatch_coordinator.office import Office
from veilmatch_policy.epoch import LinkageMode, SlotMode
from veilmatch_policy.errors import PolicyError
from veilmatch_transport import Code, PeerUnavailableError, RefusalError, as_refusal, caller, serve_stream
from veilmatch_wire.v1 import coordinator_pb2, coordinator_pb2_grpc, job_pb2, node_pb2

COORDINATOR = "veilmatch_wire.v1.Coordinator"
OFFICE = "veilmatch_wire.v1.Office"
ROLES = {  # who may call what
    f"/{COORDINATOR}/Attach": frozenset({"node"}),
    f"/{COORDINATOR}/Work": frozenset({"node"}),
    f"/{OFFICE}/Link": frozenset({"operator"}),
    f"/{OFFICE}/Run": frozenset({"operator"}),
}

_log = structlog.get_logger(__name__)

_OPENED_WITHIN = 10.0  # seconds from an offer to its work stream
_LOOK = 0.5  # seconds between looks whether a waiting call is still wanted
_LINKAGES: dict[int, LinkageMode] = {
    coordinator_pb2.LINKAGE_OPRF: "oprf",
    coordinator_pb2.LINKAGE_SHARED_KEY: "shared-key",
}
_SLOTS: dict[int, SlotMode] = {
    coordinator_pb2.SLOT_MODE_UNION: "union",
    coordinator_pb2.SLOT_MODE_REGISTER: "register",
}


class Attachments:
    """Nodes that dialled in: offers go out on their Attach calls, work streams come back."""

    def __init__(self) -> None:
        self._offers: dict[str, queue.SimpleQueue[str | None]] = {}  # None: a newer call took over
        self._open: dict[str, tuple[str, Future[Stream]]] = {}
        self._released: dict[int, threading.Event] = {}
        self._changed = threading.Condition()

    def open(self, name: str, within: float) -> Stream:
        """Offer work to a node, which has ``within`` seconds to dial in, and wait for its stream.

        Raises PeerUnavailableError.
        """
        offer, stream = secrets.token_hex(16), Future[Stream]()
        with self._changed:
            if not self._changed.wait_for(lambda: name in self._offers, within):
                raise PeerUnavailableError(
                    name, "has not dialled in", "start it, or give it an address in the directory"
                )
            self._open[offer] = (name, stream)
            self._offers[name].put(offer)
        try:
            return stream.result(min(within, _OPENED_WITHIN))
        except TimeoutError:
            with self._changed:
                self._open.pop(offer, None)
            if stream.done():  # at the last moment: somebody must use it and release it
                return stream.result()
            raise PeerUnavailableError(name, "did not open a work stream", "look at its log") from None

    def release(self, stream: Stream) -> None:
        """Let the call of a stream end; a second time does nothing."""
        with self._changed:
            released = self._released.get(id(stream))
        if released is not None:
            released.set()

    def attach(self, name: str, wanted: Callable[[], bool]) -> Iterator[str]:
        """Yield the offers for a node while its call is wanted; a newer call of the node ends this one."""
        offers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        with self._changed:
            # What the node's last call did not bring through, because the node or its connection died.
            for offer, (node, _) in self._open.items():
                if node == name:
                    offers.put(offer)
            if name in self._offers:
                self._offers[name].put(None)
            self._offers[name] = offers
            self._changed.notify_all()
        _log.info("attached", node=name)
        try:
            while wanted():
                try:
                    made = offers.get(timeout=_LOOK)
                except queue.Empty:
                    continue
                if made is None:
                    return
                yield made
        finally:
            with self._changed:
                if self._offers.get(name) is offers:
                    del self._offers[name]

    def accept(self, offer: str, stream: Stream) -> None:
        """Take a node's stream for an offer, and hold its call until ``release``.

        Raises RefusalError for an offer that was not made to this node or is used.
        """
        with self._changed:
            name, waiting = self._open.pop(offer, ("", None))
            if waiting is None or name != stream.peer:
                raise RefusalError(Code.NOT_FOUND, f"{stream.peer} opened a stream that nobody asked for")
            released = self._released[id(stream)] = threading.Event()
            waiting.set_result(stream)  # in one step with the offer's end: `open` must not miss it
        released.wait()
        with self._changed:
            del self._released[id(stream)]


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
    """Serves the coordinating office's operator."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def Link(  # noqa: N802  the name that the proto gives
        self, request: coordinator_pb2.LinkRequest, _context: grpc.ServicerContext
    ) -> Iterator[coordinator_pb2.Event]:
        """Link a new epoch and tell how it goes."""

        def work(progress: Progress) -> coordinator_pb2.Event:
            if request.linkage not in _LINKAGES:
                raise RequestError("office: that is no linkage mode; ask for oprf or shared-key")
            if request.slots not in _SLOTS:
                raise RequestError("office: that is no slot mode; ask for union or register")
            epoch, linked = self._office.link(
                _LINKAGES[request.linkage], _SLOTS[request.slots], request.reference_date, progress
            )
            return coordinator_pb2.Event(
                linked=coordinator_pb2.Linked(
                    epoch=epoch, padded=linked.padded, people=linked.people, seconds=linked.seconds
                )
            )

        return _events(work)

    def Run(  # noqa: N802  the name that the proto gives
        self, request: coordinator_pb2.RunRequest, _context: grpc.ServicerContext
    ) -> Iterator[coordinator_pb2.Event]:
        """Run policies as one job and tell how it goes."""

        def work(progress: Progress) -> coordinator_pb2.Event:
            report = self._office.run(list(request.policies), request.key_bits, progress)
            figures = job_pb2.JobReport(
                seconds=report.seconds, bytes_sent=report.sent, bytes_received=report.received
            )
            results = [json.dumps(result, ensure_ascii=False).encode() for result in report.results]
            completed = coordinator_pb2.Completed(job=report.job, report=figures, results=results)
            return coordinator_pb2.Event(completed=completed)

        return _events(work)


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
        except (CoordinatorError, PolicyError) as error:
            exit_code = getattr(error, "exit_code", 3)
            notes = getattr(error, "__notes__", [])
            _log.warning("ended without a result", reason=str(error), notes=notes)
            events.put(
                coordinator_pb2.Event(failed=coordinator_pb2.Failed(exit_code=exit_code, text=str(error)))
            )
        except Exception as error:  # noqa: BLE001  whatever it is, the operator gets a public line and nothing else
            refusal = as_refusal(error)
            _log.error("ended without a result", reason=refusal.reason)
            text = f"coordinator: {refusal.public}"
            events.put(coordinator_pb2.Event(failed=coordinator_pb2.Failed(exit_code=5, text=text)))

    threading.Thread(target=run, name="office", daemon=True).start()
    while True:
        event = events.get()
        yield event
        if event.WhichOneof("body") != "progress":
            return
