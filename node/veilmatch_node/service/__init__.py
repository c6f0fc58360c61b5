"""The node on the wire: every task of a work stream, as messages (proto/veilmatch_wire/v1/node.proto).

Parses, calls, serialises.  What a task does is in ``veilmatch_node.linkage`` and ``veilmatch_node.jobs``;
whether the node listens (``Node.Work``) or dials out (``client``), the same ``Tasks.run`` serves the stream.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress

import grpc
import structlog

from veilmatch_evidence.log import EvidenceLog
from veilmatch_node.refusals import refusals
from veilmatch_node.service.jobs import JobTasks
from veilmatch_node.service.linkage import LinkageTasks
from veilmatch_node.service.messages import NodeStream
from veilmatch_transport import Code, PeerError, RefusalError, StreamEnded, as_refusal, serve_stream
from veilmatch_transport.memory import give_back
from veilmatch_transport.metrics import Metrics, Span
from veilmatch_wire.v1 import job_pb2, node_pb2, node_pb2_grpc

SERVICE = "veilmatch_wire.v1.Node"
ROLES = {f"/{SERVICE}/Work": frozenset({"coordinator"})}  # who may call what

_log = structlog.get_logger(__name__)


class Tasks:
    """Serves one work stream: the first message says which task it is."""

    def __init__(
        self, linkage: LinkageTasks, jobs: JobTasks, log: EvidenceLog, metrics: Metrics | None = None
    ) -> None:
        self._linkage = linkage
        self._jobs = jobs
        self._log = log
        self._metrics = metrics or Metrics()

    def idle(self) -> bool:
        """Whether no task runs."""
        return self._metrics.tasks_running == 0

    def run(self, stream: NodeStream) -> None:
        """Serve a stream until its task is done, or say in its last message why it is refused."""
        with self._metrics.task(stream) as span:
            self._run(stream, span)
        give_back()

    def _run(self, stream: NodeStream, span: Span) -> None:
        try:
            with refusals():
                self._log.require_writable()  # what cannot be written down is not done (protocol.md, 7)
                self._serve(stream, span)
            stream.send(node_pb2.NodeMessage(done=job_pb2.TaskDone()))
        except (PeerError, StreamEnded) as error:  # nobody is left to be told
            span.outcome = "lost"
            _log.info("work stream ended", reason=str(error))
        except Exception as error:  # noqa: BLE001  whatever it is, the coordinator gets a public line and nothing else
            refusal = as_refusal(error)
            span.outcome = "refused"
            self._metrics.refused(refusal.code)
            _log.warning("task refused", code=refusal.code.value, reason=refusal.reason)
            with suppress(PeerError, StreamEnded):
                stream.send(
                    node_pb2.NodeMessage(
                        refused=node_pb2.Refused(code=refusal.code.value, text=refusal.public)
                    )
                )

    def _serve(self, stream: NodeStream, span: Span) -> None:
        first = stream.receive()
        task = first.WhichOneof("body")
        serve: dict[str | None, Callable[[NodeStream, node_pb2.CoordinatorMessage], None]] = {
            "link": self._linkage.link,
            "epoch_keys_task": self._linkage.draw_keys,
            "trustee": self._linkage.evaluate,
            "prepare": self._jobs.prepare,
            "households": self._jobs.households,
            "contribute": self._jobs.contribute,
            "deal": self._jobs.deal,
            "open": self._jobs.open,
            "close": self._jobs.close,
            "heads": self._jobs.heads,
        }
        if task not in serve:
            raise RefusalError(Code.OUT_OF_ORDER, "a work stream did not open with a task")
        span.task = str(task)
        _log.info("task", task=task)
        serve[task](stream, first)


class NodeServicer(node_pb2_grpc.NodeServicer):
    """Serves ``Node.Work`` where the coordinator dials in."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    def Work(  # noqa: N802  the name that the proto gives
        self, request_iterator: Iterator[node_pb2.CoordinatorMessage], context: grpc.ServicerContext
    ) -> Iterator[node_pb2.NodeMessage]:
        """One task."""
        return serve_stream(request_iterator, context, self._tasks.run)


def register(tasks: Tasks, server: grpc.Server) -> None:
    """Add the service to a server."""
    node_pb2_grpc.add_NodeServicer_to_server(NodeServicer(tasks), server)
