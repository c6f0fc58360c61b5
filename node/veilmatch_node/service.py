"""The node on the wire: every task of a work stream, as messages (proto/veilmatch_wire/v1/node.proto).

Parses, calls, serialises.  What a task does is in ``linkage`` and ``jobs``; whether the node
listens (``Node.Work``) or dials out (``client``), the same ``Tasks.run`` serves the stream.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import suppress
from pathlib import Path

import grpc
import numpy as np
import structlog
from numpy.typing import NDArray

from veilmatch_crypto import BoundBatch, Quota, Reply, open_chunk
from veilmatch_node.circuits import decide
from veilmatch_node.in_order import in_order
from veilmatch_node.jobs import NodeJobs
from veilmatch_node.linkage import EpochLinkage, NodeLinkage
from veilmatch_node.people import SlotTable
from veilmatch_node.recipient import Eligible, Recipient
from veilmatch_node.refusals import refusals
from veilmatch_node.register import DrawnRegister
from veilmatch_node.report import Report, add_refused, write_collective, write_report
from veilmatch_node.results import Found, JobFigures, write_result
from veilmatch_node.source import TooManyRefusedError
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import Confirmation, OpenEpoch, RegisterStatement, open_epoch
from veilmatch_policy.manifest import Manifest
from veilmatch_policy.program import Members, in_lockstep
from veilmatch_transport import (
    Code,
    PeerError,
    RefusalError,
    StreamEnded,
    WorkStream,
    as_refusal,
    limits,
    serve_stream,
)
from veilmatch_wire.v1 import job_pb2, linkage_pb2, node_pb2, node_pb2_grpc

NodeStream = WorkStream[node_pb2.NodeMessage, node_pb2.CoordinatorMessage]

SERVICE = "veilmatch_wire.v1.Node"
ROLES = {f"/{SERVICE}/Work": frozenset({"coordinator"})}  # who may call what

_log = structlog.get_logger(__name__)

_IN_FLIGHT = 4  # OPRF batches under way: both trustees and the requester are busy
_VALUE_BYTES = 1 << 20  # a message of pseudonyms, list values or claims: 32,768 people
_LABEL_BYTES = 1 << 20  # a message of household labels: 262,144 people
_BITMAP_BYTES = 1 << 20  # a message of presented slots: 8 million people


class Tasks:
    """Serves one work stream: the first message says which task it is."""

    def __init__(
        self,
        directory: Directory,
        linkage: NodeLinkage,
        jobs: NodeJobs,
        executor: Executor,
        *,
        reports: Path,
        results: Path,
    ) -> None:
        self._directory = directory
        self._linkage = linkage
        self._jobs = jobs
        self._executor = executor
        self._reports = reports
        self._results = results

    def run(self, stream: NodeStream) -> None:
        """Serve a stream until its task is done, or say in its last message why it is refused."""
        try:
            with refusals():
                self._serve(stream)
            stream.send(node_pb2.NodeMessage(done=job_pb2.TaskDone()))
        except (PeerError, StreamEnded) as error:  # nobody is left to be told
            _log.info("work stream ended", reason=str(error))
        except Exception as error:  # noqa: BLE001  whatever it is, the coordinator gets a public line and nothing else
            refusal = as_refusal(error)
            _log.warning("task refused", code=refusal.code.value, reason=refusal.reason)
            with suppress(PeerError, StreamEnded):
                stream.send(
                    node_pb2.NodeMessage(
                        refused=node_pb2.Refused(code=refusal.code.value, text=refusal.public)
                    )
                )

    def _serve(self, stream: NodeStream) -> None:
        first = stream.receive()
        task = first.WhichOneof("body")
        serve: dict[str | None, Callable[[NodeStream, node_pb2.CoordinatorMessage], None]] = {
            "link": self._link,
            "epoch_keys_task": self._draw_keys,
            "trustee": self._evaluate,
            "prepare": self._prepare,
            "households": self._households,
            "contribute": self._contribute,
            "deal": self._deal,
            "open": self._open,
            "close": self._close,
        }
        if task not in serve:
            raise RefusalError(Code.OUT_OF_ORDER, "a work stream did not open with a task")
        _log.info("task", task=task)
        serve[task](stream, first)

    def _link(self, stream: NodeStream, first: node_pb2.CoordinatorMessage) -> None:
        epoch = self._epoch(first.link.statement, first.link.signature)
        with self._linkage.turn():
            self._link_epoch(stream, epoch)

    def _link_epoch(self, stream: NodeStream, epoch: OpenEpoch) -> None:
        try:
            linkage = self._linkage.begin(epoch)
        except TooManyRefusedError as error:
            write_report(error.report, self._reports)  # the owner needs the list most when a run stops
            raise
        write_report(linkage.report, self._reports)
        stream.send(node_pb2.NodeMessage(link_ready=linkage_pb2.LinkReady(people=linkage.people)))

        sealed = _body(stream.receive(), "epoch_keys").epoch_keys.sealed.sealed
        stream.send(node_pb2.NodeMessage(confirmation=_confirmation_out(linkage.receive_keys(sealed))))
        answered = _body(stream.receive(), "confirmations").confirmations.confirmations
        linkage.compare_keys([Confirmation(each.name, each.digest, each.signature) for each in answered])

        if epoch.epoch.linkage == "oprf":
            under_way = 0
            for request in linkage.requests():
                stream.send(node_pb2.NodeMessage(batch=batch_out(request)))
                under_way += 1
                if under_way == _IN_FLIGHT:
                    linkage.take(batch_in(_body(stream.receive(), "batch").batch))
                    under_way -= 1
            for _ in range(under_way):
                linkage.take(batch_in(_body(stream.receive(), "batch").batch))

        if epoch.epoch.slots == "register":
            self._register_slots(stream, linkage)
            write_report(linkage.report, self._reports)  # who is in the register is known only now
        else:
            _union_slots(stream, linkage)

    def _register_slots(self, stream: NodeStream, linkage: EpochLinkage) -> None:
        slots = linkage.register_slots()
        stream.send(node_pb2.NodeMessage(people_evaluated=linkage_pb2.PeopleEvaluated()))
        if linkage.epoch.epoch.register == self._linkage.name:
            _body(stream.receive(), "draw_slots")
            drawn = slots.draw(self._linkage.keys.identity)
            # On disk before the list leaves: a second one for this epoch would split the nodes.
            linkage.keep(drawn.table, drawn.statement.padded)
            _send_register(stream, drawn)
            return
        said = _body(stream.receive(), "register_statement").register_statement
        statement = RegisterStatement(said.count, said.digest, said.signature)
        most = slots.list_bytes(statement)
        values, last = bytearray(), False
        while not last:
            part = _body(stream.receive(), "register_list").register_list
            values += part.values
            last = part.last
            if len(values) > most:
                raise RefusalError(Code.MALFORMED, "a list came that is longer than the register signed")
        linkage.keep(slots.find(statement, bytes(values)), statement.padded)

    def _draw_keys(self, stream: NodeStream, first: node_pb2.CoordinatorMessage) -> None:
        epoch = self._epoch(first.epoch_keys_task.statement, first.epoch_keys_task.signature)
        sealed = [
            linkage_pb2.SealedMessage(receiver=receiver, sealed=message.to_bytes())
            for receiver, message in self._linkage.draw_keys(epoch).items()
        ]
        stream.send(node_pb2.NodeMessage(epoch_keys_drawn=linkage_pb2.EpochKeysDrawn(sealed=sealed)))

    def _evaluate(self, stream: NodeStream, first: node_pb2.CoordinatorMessage) -> None:
        epoch = self._epoch(first.trustee.statement, first.trustee.signature)
        trustee = self._linkage.trustee(epoch)
        for message in stream:
            evaluated = trustee.evaluate(batch_in(_body(message, "batch").batch))
            stream.send(node_pb2.NodeMessage(batch=batch_out(evaluated)))

    def _prepare(self, stream: NodeStream, first: node_pb2.CoordinatorMessage) -> None:
        asked = self._jobs.ask(list(first.prepare.policies), first.prepare.epoch)
        declared = job_pb2.Declared(declaration=asked.declared.encode())
        stream.send(node_pb2.NodeMessage(declared=declared))
        prepared = asked.prepare(_body(stream.receive(), "draft").draft.draft)
        keys = prepared.keys
        stream.send(
            node_pb2.NodeMessage(
                job_keys=job_pb2.JobKeys(
                    agreement=bytes.fromhex(keys.agreement),
                    paillier=bytes.fromhex(keys.paillier),
                    signature=bytes.fromhex(keys.signature),
                )
            )
        )
        manifest = prepared.start(
            _body(stream.receive(), "manifest").manifest.manifest,
            self._tell_owner,
        )
        stream.send(node_pb2.NodeMessage(accepted=job_pb2.ManifestAccepted(manifest_sha256=manifest.digest)))

    def _contribute(self, stream: NodeStream, first: node_pb2.CoordinatorMessage) -> None:
        for made in self._jobs.contribute(first.contribute.manifest_sha256):
            stream.send(
                node_pb2.NodeMessage(
                    contribution=job_pb2.Contribution(
                        outcome=made.outcome,
                        chunk=made.chunk,
                        ciphertexts=made.ciphertexts,
                        signature=made.signature,
                    )
                ),
                limits.TURN,
            )

    def _tell_owner(self, report: Report) -> None:
        add_refused(report, self._reports)
        write_collective(report, self._reports)

    def _households(self, stream: NodeStream, first: node_pb2.CoordinatorMessage) -> None:
        labels = self._jobs.labels(first.households.manifest_sha256)
        for part, last in _parts(labels.astype("<u4").tobytes(), _LABEL_BYTES):
            message = job_pb2.HouseholdLabels(labels=part, last=last)
            stream.send(node_pb2.NodeMessage(household_labels=message))

    def _deal(self, stream: NodeStream, first: node_pb2.CoordinatorMessage) -> None:
        dealer = self._jobs.deal(first.deal.manifest_sha256)
        sealed = {
            receiver: linkage_pb2.SealedMessage(receiver=receiver, sealed=message.to_bytes())
            for receiver, message in dealer.sealed.items()
        }
        coordinator = sealed.pop(self._directory.coordinator)
        [recipient] = sealed.values()
        stream.send(node_pb2.NodeMessage(seeds=job_pb2.Seeds(coordinator=coordinator, recipient=recipient)))
        for body in dealer.corrections(first.deal.households, list(first.deal.presented)):
            stream.send(node_pb2.NodeMessage(corrections=job_pb2.Corrections(corrections=body)))

    def _open(self, stream: NodeStream, first: node_pb2.CoordinatorMessage) -> None:
        digest = first.open.manifest_sha256
        # Before the one opening is used up; a linkage meanwhile erases whose slots these are.
        manifest, people = self._jobs.manifest(digest)
        recipient = self._jobs.begin_opening(digest)
        for policy, slots in recipient.presented.items():
            _present(stream, policy, slots, people)

        def decrypting() -> Iterator[tuple[tuple[int, int], Future[NDArray[np.uint64]]]]:
            for _ in range(recipient.places):
                combined = _body(stream.receive(), "combined").combined
                recipient.admit(combined.outcome, combined.chunk, combined.ciphertexts)
                words = self._executor.submit(open_chunk, recipient.key, combined.ciphertexts)
                yield (combined.outcome, combined.chunk), words

        for (outcome, chunk), words in in_order(decrypting()):
            recipient.take(words)
            stream.send(node_pb2.NodeMessage(opened=job_pb2.ChunkOpened(outcome=outcome, chunk=chunk)))
        results, households = self._decide(stream, manifest, recipient)
        report = _body(stream.receive(), "conclude").conclude.report
        figures = JobFigures(dict(report.seconds), dict(report.bytes_sent), dict(report.bytes_received))
        for policy, eligible in results.items():
            found = Found(people.identifiers(eligible.slots), eligible.labels)
            write_result(self._results, manifest, manifest.policies[policy], found, figures, households)

    def _decide(
        self, stream: NodeStream, manifest: Manifest, recipient: Recipient
    ) -> tuple[dict[int, Eligible], int | None]:
        """Results by policy, of those that reveal members; and how many households there are."""
        plan = manifest.plan
        results = {
            number: recipient.eligible(number)
            for number, planned in enumerate(plan.policies)
            if planned.answer is not None
        }
        if plan.dealer is None:
            return results, None
        begin = _body(stream.receive(), "begin_circuits").begin_circuits
        seed = self._jobs.open_seed(manifest.digest, begin.seed.sealed)
        self._jobs.start_counts(manifest.digest)

        def exchange(body: bytes) -> bytes:
            stream.send(node_pb2.NodeMessage(round=job_pb2.Round(body=body)))
            return _body(stream.receive(), "round").round.body

        decided = in_lockstep(decide(recipient, manifest, seed, begin.households), exchange)
        results |= {
            number: recipient.members(number, result)
            for number, result in decided.items()
            if isinstance(result, Members)
        }
        return results, begin.households or None

    def _close(self, _stream: NodeStream, first: node_pb2.CoordinatorMessage) -> None:
        self._jobs.close(first.close.manifest_sha256)

    def _epoch(self, statement: bytes, signature: bytes) -> OpenEpoch:
        epoch = open_epoch(statement, signature, self._directory)
        self._linkage.require_mode(epoch)
        return epoch


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


def batch_out(batch: BoundBatch) -> linkage_pb2.OprfBatch:
    """Serialise a bound batch."""
    return linkage_pb2.OprfBatch(
        epoch=batch.epoch,
        requester=batch.requester,
        index=batch.index,
        digest=batch.digest,
        signature=batch.signature,
        quota=linkage_pb2.Quota(
            requester=batch.quota.requester, rows=batch.quota.rows, signature=batch.quota.signature
        ),
        elements=batch.elements,
        replies=[
            linkage_pb2.TrusteeReply(trustee=each.trustee, digest=each.digest, signature=each.signature)
            for each in batch.replies
        ],
    )


def batch_in(message: linkage_pb2.OprfBatch) -> BoundBatch:
    """Parse a bound batch; what it says is checked by whoever uses it."""
    return BoundBatch(
        epoch=message.epoch,
        requester=message.requester,
        index=message.index,
        digest=message.digest,
        signature=message.signature,
        quota=Quota(message.quota.requester, message.quota.rows, message.quota.signature),
        elements=message.elements,
        replies=tuple(Reply(each.trustee, each.digest, each.signature) for each in message.replies),
    )


def _union_slots(stream: NodeStream, linkage: EpochLinkage) -> None:
    for part, last in _parts(linkage.pseudonyms(), _VALUE_BYTES):
        stream.send(node_pb2.NodeMessage(pseudonyms=linkage_pb2.Pseudonyms(pseudonyms=part, last=last)))
    slots, last, padded = bytearray(), False, 0
    while not last:
        message = _body(stream.receive(), "slots").slots
        slots += message.slots
        last, padded = message.last, message.padded
        if len(slots) > linkage.slot_bytes:
            raise RefusalError(Code.MALFORMED, "the coordinator sent more slots than there are people")
    linkage.assign(bytes(slots), padded)


def _send_register(stream: NodeStream, drawn: DrawnRegister) -> None:
    said = drawn.statement
    statement = linkage_pb2.RegisterStatement(count=said.count, digest=said.digest, signature=said.signature)
    stream.send(node_pb2.NodeMessage(register_statement=statement))
    for part, last in _parts(drawn.values, _VALUE_BYTES):
        stream.send(node_pb2.NodeMessage(register_list=linkage_pb2.RegisterList(values=part, last=last)))
    for part, last in _parts(drawn.claims, _VALUE_BYTES):
        stream.send(node_pb2.NodeMessage(register_claims=linkage_pb2.RegisterClaims(claims=part, last=last)))


def _present(stream: NodeStream, policy: int, slots: NDArray[np.bool_], people: SlotTable) -> None:
    """Present a policy's slots: their bitmap, then in register mode their claims."""
    bitmap = np.packbits(slots).tobytes()
    claims = b"" if people.claims is None else people.claims_of(np.flatnonzero(slots))
    for part, last in _parts(bitmap, _BITMAP_BYTES):
        message = job_pb2.PresentedSlots(bitmap=part, last=last and not claims, policy=policy)
        stream.send(node_pb2.NodeMessage(presented=message))
    for part, last in _parts(claims, _VALUE_BYTES) if claims else ():
        message = job_pb2.PresentedSlots(claims=part, last=last, policy=policy)
        stream.send(node_pb2.NodeMessage(presented=message))


def _confirmation_out(confirmation: Confirmation) -> linkage_pb2.EpochKeyConfirmation:
    return linkage_pb2.EpochKeyConfirmation(
        name=confirmation.name, digest=confirmation.digest, signature=confirmation.signature
    )


def _body(message: node_pb2.CoordinatorMessage, expected: str) -> node_pb2.CoordinatorMessage:
    if message.WhichOneof("body") != expected:
        raise RefusalError(Code.OUT_OF_ORDER, f"the coordinator sent another message than {expected}")
    return message


def _parts(data: bytes, size: int) -> Iterator[tuple[bytes, bool]]:
    """Cut data into messages; the last one is marked, and there is at least one."""
    starts = range(0, max(len(data), 1), size)
    for start in starts:
        yield data[start : start + size], start + size >= len(data)
