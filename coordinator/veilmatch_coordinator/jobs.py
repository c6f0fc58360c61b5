"""The coordinator's part in a job: draft, manifest, combination, conclusion (protocol.md, 4 and 7).

One policy over one linked epoch.  Contributions arrive side by side, are combined chunk by chunk
as they become complete, and go on to the recipient, which opens them while others still arrive.
The coordinator never learns who or how many matched.
"""

import hashlib
import os
import time
from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import structlog

from veilmatch_coordinator.client import Conversation, Nodes, PrepareTask
from veilmatch_coordinator.combination import Combiner
from veilmatch_coordinator.errors import JobError, NodeFailedError
from veilmatch_coordinator.evidence import JobEvidence
from veilmatch_coordinator.linking import Progress
from veilmatch_coordinator.parallel import in_parallel
from veilmatch_coordinator.pipeline import Pipeline
from veilmatch_coordinator.store import CoordinatorStore, StoredEpoch
from veilmatch_crypto import AgreementKey, IdentityKey, KeyRefusedError
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import reopen_epoch
from veilmatch_policy.manifest import (
    CHUNK_CIPHERTEXTS,
    Draft,
    Manifest,
    OutcomeEntry,
    PartyKeys,
    encode_manifest,
    open_manifest,
    signed_keys,
)
from veilmatch_policy.plan import Plan, derive_plan
from veilmatch_policy.policy import Policy, parse_policy

_log = structlog.get_logger(__name__)

_EXPIRES = timedelta(days=1)  # a job of a province takes minutes; a job that waited longer is stale


@dataclass(frozen=True)
class JobReport:
    """What a job took: seconds by stage, bytes by department as the coordinator counted them."""

    job: str
    seconds: Mapping[str, float]
    sent: Mapping[str, int]
    received: Mapping[str, int]


class Jobs:
    """Runs jobs of one coordinator."""

    def __init__(
        self,
        *,
        identity: IdentityKey,
        directory: Directory,
        store: CoordinatorStore,
        nodes: Nodes,
        executor: Executor,
        evidence: Path,
    ) -> None:
        self._name = directory.coordinator
        self._identity = identity
        self._directory = directory
        self._store = store
        self._nodes = nodes
        self._executor = executor
        self._evidence = evidence

    def run(self, source: bytes, key_bits: int, progress: Progress) -> JobReport:
        """Run one policy over the newest epoch.

        Raises PolicyError where the policy is refused, JobError or NodeFailedError where the job
        ends without a result; its keys and ciphertexts are erased either way.
        """
        policy = parse_policy(source, "policy")
        epoch = self._store.newest_epoch()
        if epoch is None:
            raise JobError("job: nothing is linked yet; link first")
        started = time.monotonic()
        draft = self._draft(policy, derive_plan(policy), epoch, key_bits)
        agreement, secret = AgreementKey.generate(), os.urandom(32)
        with ExitStack() as afterwards:
            with self._nodes.conversation() as conversation:
                tasks = {name: conversation.prepare(name, draft.encode()) for name in draft.participants}
                manifest, data = self._draw_up(tasks, conversation, draft, policy, agreement)
                combiner = self._combiner(manifest, agreement, secret)
                self._store.start_job(manifest.digest, data, _modulus(manifest))
                # Before any node has the manifest: whoever accepts it is told to close, also where another refuses.
                afterwards.callback(self._erase, manifest)
                evidence = JobEvidence(self._evidence / policy.name / draft.job)
                afterwards.callback(evidence.digests)
                evidence.manifest(data)
                _deliver(tasks, manifest, data)
            return self._compute(manifest, combiner, evidence, epoch, progress, started)

    def _compute(
        self,
        manifest: Manifest,
        combiner: Combiner,
        evidence: JobEvidence,
        epoch: StoredEpoch,
        progress: Progress,
        started: float,
    ) -> JobReport:
        pipeline = Pipeline(
            manifest,
            combiner,
            identity=self._identity,
            directory=self._directory,
            store=self._store,
            executor=self._executor,
            evidence=evidence,
            progress=progress,
            own=epoch.own_slots(manifest.draft.recipient),
        )
        with self._nodes.conversation() as conversation:
            recipient = conversation.open(manifest.draft.recipient, manifest.digest)
            pipeline.run(conversation, recipient)
            total = epoch.seconds + time.monotonic() - started
            traffic = conversation.traffic()
            seconds = {"linkage": epoch.seconds, **pipeline.seconds, "total": total}
            report = JobReport(manifest.draft.job, seconds, traffic.sent, traffic.received)
            recipient.conclude(seconds, traffic)
        evidence.report(_own_copy(report, manifest))
        return report

    def _erase(self, manifest: Manifest) -> None:
        """Close the job everywhere (4.7).  A node that cannot be reached erases at the manifest's expiry."""
        self._store.close_job(manifest.digest)
        with self._nodes.conversation() as conversation:

            def close(name: str) -> None:
                try:
                    conversation.close_job(name, manifest.digest)
                except NodeFailedError:
                    _log.warning("job not closed", node=name, job=manifest.draft.job)

            calls = {name: partial(close, name) for name in manifest.draft.participants}
            in_parallel(calls, on_failure=conversation.abort)

    def _draw_up(
        self,
        tasks: Mapping[str, PrepareTask],
        conversation: Conversation,
        draft: Draft,
        policy: Policy,
        agreement: AgreementKey,
    ) -> tuple[Manifest, bytes]:
        """Keys from all (7, steps 1 and 2); the manifest and its bytes."""
        drafted = draft.encode()
        keys = in_parallel({name: task.keys for name, task in tasks.items()}, on_failure=conversation.abort)
        signature = self._identity.sign(signed_keys(drafted, self._name, agreement.public, b""))
        own = PartyKeys(name=self._name, agreement=agreement.public.hex(), signature=signature.hex())
        data = encode_manifest(drafted, {**keys, self._name: own})
        return open_manifest(data, drafted, policy, self._directory, own), data

    def _combiner(self, manifest: Manifest, agreement: AgreementKey, secret: bytes) -> Combiner:
        try:
            return Combiner(manifest, coordinator=self._name, agreement=agreement, secret=secret)
        except KeyRefusedError as error:
            raise JobError(f"job: a key that a party gave is refused ({error}); check its release") from None

    def _draft(self, policy: Policy, plan: Plan, epoch: StoredEpoch, key_bits: int) -> Draft:
        opened = reopen_epoch(epoch.statement)
        for name in plan.participants:
            if name not in opened.epoch.nodes:
                raise JobError(f"job: {name} is no node of the federation; correct the policy")
        return Draft.model_validate(
            {
                "job": os.urandom(16).hex(),
                "federation": self._directory.federation,
                "directory": self._directory.digest.hex(),
                "epoch": opened.context.hex(),
                "linkage": opened.epoch.linkage,
                "padded": epoch.padded,
                "policy": policy.source.decode(),
                "reference_date": policy.reference_date or opened.epoch.reference_date,
                "recipient": plan.recipient,
                "recipient_rows": epoch.people(plan.recipient),
                "participants": plan.participants,
                "outcomes": [
                    OutcomeEntry(index=outcome.index, contributors=outcome.contributors)
                    for outcome in plan.outcomes
                ],
                "key_bits": key_bits,
                "chunk_ciphertexts": CHUNK_CIPHERTEXTS,
                "expires": (datetime.now(UTC) + _EXPIRES).replace(microsecond=0),
            }
        )


def _deliver(tasks: Mapping[str, PrepareTask], manifest: Manifest, data: bytes) -> None:
    """Manifest to all (7, step 3).

    Where one refuses, the others are waited for, not broken off: who is in the middle of accepting
    when it is told to close would keep the job.
    """
    accepted = in_parallel(
        {name: partial(task.accept, data) for name, task in tasks.items()}, on_failure=lambda _: None
    )
    for name, digest in accepted.items():
        if digest != manifest.digest:
            raise JobError(f"job: {name} accepted another manifest; check who is on the line")


def _modulus(manifest: Manifest) -> bytes:
    """The hash of the Paillier modulus: with another generator it would be the same key (4.1)."""
    return hashlib.sha256(manifest.paillier().n.to_bytes(manifest.draft.key_bits // 8, "big")).digest()


def _own_copy(report: JobReport, manifest: Manifest) -> dict[str, object]:
    """The coordinator's copy of the result: what the job took, nothing about who or how many matched."""
    return {
        "policy": manifest.policy.name,
        "version": manifest.policy.version,
        "policy_sha256": manifest.policy.digest.hex(),
        "job": report.job,
        "manifest_sha256": manifest.digest.hex(),
        "linkage": manifest.draft.linkage,
        "key_bits": manifest.draft.key_bits,
        "departments": list(manifest.draft.participants),
        "persons": manifest.draft.padded,
        "seconds": {stage: f"{seconds:.3f}" for stage, seconds in report.seconds.items()},
        "bytes_sent": dict(report.sent),
        "bytes_received": dict(report.received),
        "status": "complete",
    }
