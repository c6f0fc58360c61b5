"""The tasks of a job, as messages (protocol.md, 4, 5 and 7)."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from veilmatch_crypto import Pool, all_processors, at_once, open_chunk
from veilmatch_evidence.records import verify_head
from veilmatch_node.circuits import decide
from veilmatch_node.in_order import in_order
from veilmatch_node.jobs import NodeJobs
from veilmatch_node.opening import Opening
from veilmatch_node.people import SlotTable
from veilmatch_node.recipient import Eligible
from veilmatch_node.report import Report, add_refused, write_collective
from veilmatch_node.results import JobFigures
from veilmatch_node.service.messages import (
    VALUE_BYTES,
    NodeStream,
    body,
    decision_in,
    decision_out,
    head_in,
    head_out,
    parts,
)
from veilmatch_policy.directory import Directory
from veilmatch_policy.program import Members, in_lockstep
from veilmatch_transport import Code, RefusalError, limits
from veilmatch_wire.v1 import job_pb2, linkage_pb2, node_pb2

_LABEL_BYTES = 1 << 20  # a message of household labels: 262,144 people
_BITMAP_BYTES = 1 << 20  # a message of presented slots: 8 million people
_LOG_BYTES = 1 << 20  # a message of log records


class JobTasks:
    """This node as contributor, registrar, dealer and recipient."""

    def __init__(
        self,
        directory: Directory,
        jobs: NodeJobs,
        executor: Pool,
        *,
        reports: Path,
        results: Path,
    ) -> None:
        self._directory = directory
        self._jobs = jobs
        self._executor = executor
        self._reports = reports
        self._results = results
        self._telling = threading.Lock()  # of two jobs at once each would write what it read before the other

    def prepare(self, stream: NodeStream, first: node_pb2.CoordinatorMessage) -> None:
        """Declare, give keys for a draft, accept the manifest (7)."""
        asked = self._jobs.ask(list(first.prepare.policies), first.prepare.epoch, first.prepare.sent)
        declared = job_pb2.Declared(declaration=asked.declared.encode())
        stream.send(node_pb2.NodeMessage(declared=declared))
        delivered = body(stream.receive(), "draft").draft
        others = [decision_in(each, self._directory) for each in delivered.decisions]
        prepared = asked.prepare(delivered.draft, others)
        keys = prepared.keys
        stream.send(
            node_pb2.NodeMessage(
                job_keys=job_pb2.JobKeys(
                    agreement=bytes.fromhex(keys.agreement),
                    paillier=bytes.fromhex(keys.paillier),
                    signature=bytes.fromhex(keys.signature),
                    approvals=[decision_out(right.approval) for right in prepared.rights if right.approval],
                )
            )
        )
        manifest = prepared.start(
            body(stream.receive(), "manifest").manifest.manifest,
            self._tell_owner,
        )
        stream.send(node_pb2.NodeMessage(accepted=job_pb2.ManifestAccepted(manifest_sha256=manifest.digest)))

    def contribute(self, stream: NodeStream, first: node_pb2.CoordinatorMessage) -> None:
        """Send this contributor's chunks (4.3)."""
        for made in self._jobs.contribute(first.contribute.manifest_sha256, first.contribute.have):
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

    def households(self, stream: NodeStream, first: node_pb2.CoordinatorMessage) -> None:
        """Tell who lives with whom, as the registrar (3, step 6)."""
        labels = self._jobs.labels(first.households.manifest_sha256)
        for part, last in parts(labels.astype("<u4").tobytes(), _LABEL_BYTES):
            message = job_pb2.HouseholdLabels(labels=part, last=last)
            stream.send(node_pb2.NodeMessage(household_labels=message))

    def deal(self, stream: NodeStream, first: node_pb2.CoordinatorMessage) -> None:
        """Send the randomness of the circuits, as the dealer (5.4)."""
        manifest, dealer = self._jobs.deal(first.deal.manifest_sha256)
        sealed = {
            receiver: linkage_pb2.SealedMessage(receiver=receiver, sealed=message.to_bytes())
            for receiver, message in dealer.sealed.items()
        }
        coordinator = sealed.pop(self._directory.coordinator)
        [recipient] = sealed.values()
        stream.send(node_pb2.NodeMessage(seeds=job_pb2.Seeds(coordinator=coordinator, recipient=recipient)))
        households, presented = first.deal.households, list(first.deal.presented)
        corrections = hashlib.sha256()
        for part in dealer.corrections(households, presented):
            corrections.update(part)
            stream.send(node_pb2.NodeMessage(corrections=job_pb2.Corrections(corrections=part)))
        self._jobs.log.dealt(manifest, households, presented, corrections.hexdigest())

    def open(self, stream: NodeStream, first: node_pb2.CoordinatorMessage) -> None:
        """Open the products and decide, as the recipient (4.6 and 5)."""
        digest = first.open.manifest_sha256
        if self._jobs.delivered(digest):
            self._jobs.write_results(self._results)
            return  # the line was lost between the results and the word of it
        opening = self._jobs.begin_opening(digest)
        for policy, slots in opening.presented():
            _present(stream, policy, slots, opening.people)
        with opening.failing():
            self._open_products(stream, opening)
        results, households = self._decide(stream, opening)
        report = body(stream.receive(), "conclude").conclude.report
        figures = JobFigures(dict(report.seconds), dict(report.bytes_sent), dict(report.bytes_received))
        opening.deliver(self._results, results, figures, households)

    def close(self, stream: NodeStream, first: node_pb2.CoordinatorMessage) -> None:
        """Erase a job; say what was recorded of it (4.7 and 7)."""
        self._record_heads(first.close.heads)
        recorded = self._jobs.close(first.close.manifest_sha256)
        stream.send(node_pb2.NodeMessage(head=head_out(self._jobs.log.head())))
        for part, last in parts(recorded, _LOG_BYTES):
            stream.send(node_pb2.NodeMessage(log=job_pb2.LogPart(lines=part, last=last)))

    def heads(self, stream: NodeStream, first: node_pb2.CoordinatorMessage) -> None:
        """Exchange the newest records of the parties' logs (7)."""
        self._record_heads(first.heads.heads)
        stream.send(node_pb2.NodeMessage(head=head_out(self._jobs.log.head())))

    def _open_products(self, stream: NodeStream, opening: Opening) -> None:
        """Open every chunk as it comes, several at once; say so of each, in their order."""
        recipient = opening.recipient
        # Powers let go of the interpreter's lock: without workers, threads of this process share them.
        with all_processors(self._executor) as pool:

            def decrypting() -> Iterator[tuple[job_pb2.CombinedChunk, Future[NDArray[np.uint64]]]]:
                for _ in range(recipient.places):
                    combined = body(stream.receive(), "combined").combined
                    opening.admit(combined.outcome, combined.chunk, combined.ciphertexts)
                    yield combined, pool.submit(open_chunk, recipient.key, combined.ciphertexts)

            for combined, words in in_order(decrypting(), at_once(pool)):
                outcome, chunk = combined.outcome, combined.chunk
                opening.take(outcome, chunk, combined.ciphertexts, words)
                stream.send(node_pb2.NodeMessage(opened=job_pb2.ChunkOpened(outcome=outcome, chunk=chunk)))

    def _decide(self, stream: NodeStream, opening: Opening) -> tuple[dict[int, Eligible], int | None]:
        """Results by policy, of those that reveal members; and how many households there are."""
        manifest, recipient = opening.manifest, opening.recipient
        plan = manifest.plan
        results = {
            number: recipient.eligible(number)
            for number, planned in enumerate(plan.policies)
            if planned.answer is not None
        }
        if plan.dealer is None:
            return results, None
        begin = body(stream.receive(), "begin_circuits").begin_circuits
        seed = self._jobs.open_seed(manifest.digest, begin.seed.sealed)
        opening.start_circuits()

        def exchange(own: bytes) -> bytes:
            self._jobs.require_still(manifest)
            stream.send(node_pb2.NodeMessage(round=job_pb2.Round(body=own)))
            return body(stream.receive(), "round").round.body

        decided = in_lockstep(decide(recipient, manifest, seed, begin.households), exchange)
        results |= {
            number: recipient.members(number, result)
            for number, result in decided.items()
            if isinstance(result, Members)
        }
        return results, begin.households or None

    def _tell_owner(self, report: Report) -> None:
        with self._telling:
            add_refused(report, self._reports)
            write_collective(report, self._reports)

    def _record_heads(self, heads: Sequence[job_pb2.LogHead]) -> None:
        """Record other parties' newest records: none of them can rewrite what came before (7)."""
        if len(heads) > len(self._directory.members):
            raise RefusalError(Code.MALFORMED, "the coordinator sent more heads than there are members")
        for each in heads:
            head = head_in(each)
            if head.party != self._jobs.name:
                verify_head(head, self._directory.identity(head.party))
                self._jobs.log.seen(head)


def _present(stream: NodeStream, policy: int, slots: NDArray[np.bool_], people: SlotTable) -> None:
    """Present a policy's slots: their bitmap, then in register mode their claims."""
    bitmap = np.packbits(slots).tobytes()
    claims = b"" if people.claims is None else people.claims_of(np.flatnonzero(slots))
    for part, last in parts(bitmap, _BITMAP_BYTES):
        message = job_pb2.PresentedSlots(bitmap=part, last=last and not claims, policy=policy)
        stream.send(node_pb2.NodeMessage(presented=message))
    for part, last in parts(claims, VALUE_BYTES) if claims else ():
        message = job_pb2.PresentedSlots(claims=part, last=last, policy=policy)
        stream.send(node_pb2.NodeMessage(presented=message))
