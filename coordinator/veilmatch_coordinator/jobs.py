"""The coordinator's part in a job: draft, manifest, combination, conclusion (protocol.md, 4 and 7).

One policy over one linked epoch.  Contributions arrive side by side, are combined chunk by chunk
as they become complete, and go on to the recipient, which opens them while others still arrive.
The coordinator never learns who or how many matched.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from veilmatch_coordinator.client import Nodes
from veilmatch_coordinator.closing import Closing, name_of
from veilmatch_coordinator.combination import Combiner
from veilmatch_coordinator.control import Control
from veilmatch_coordinator.deciding import Deciding
from veilmatch_coordinator.drafting import Drafting
from veilmatch_coordinator.errors import JobError
from veilmatch_coordinator.evidence import EvidenceFolder, JobEvidence
from veilmatch_coordinator.heads import Heads
from veilmatch_coordinator.linking import Progress
from veilmatch_coordinator.patience import RECONNECT_WAIT
from veilmatch_coordinator.pipeline import Pipeline
from veilmatch_coordinator.store import CoordinatorStore, StoredEpoch
from veilmatch_crypto import AgreementKey, IdentityKey, KeyRefusedError, Pool
from veilmatch_evidence.log import EvidenceLog
from veilmatch_policy.clock import Clock, utc_now
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import reopen_epoch
from veilmatch_policy.manifest import (
    MOST_POLICIES,
    Manifest,
)
from veilmatch_policy.policy import Policy, parse_policies
from veilmatch_policy.program import Counts
from veilmatch_policy.result import content_digest, result_document

_DELIVERED_WITHIN = 30.0  # seconds that a manifest has to be accepted in once its job is cancelled


@dataclass(frozen=True)
class JobReport:
    """A job that is complete: seconds by stage, bytes by department as the coordinator counted them.

    ``results`` are the coordinator's own copies of the policies' results, in the order of the policies: with
    a number where a policy reveals a count, without one where it reveals members.
    """

    job: str
    seconds: Mapping[str, float]
    sent: Mapping[str, int]
    received: Mapping[str, int]
    results: Sequence[Mapping[str, object]]


class Jobs:
    """Runs jobs of one coordinator."""

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
        reconnect_wait: float = RECONNECT_WAIT,
        clock: Clock = utc_now,
    ) -> None:
        self._name = directory.coordinator
        self._log = log
        self._drafting = Drafting(identity, directory, clock)
        self.heads = Heads(log, directory)
        self._identity = identity
        self._directory = directory
        self._store = store
        self._nodes = nodes
        self._executor = executor
        self._evidence = EvidenceFolder(evidence, log, identity)
        self._reconnect_wait = reconnect_wait
        self.closing = Closing(store, nodes, self.heads, self._evidence, self._name, clock)

    def run(
        self,
        sources: Sequence[bytes],
        key_bits: int,
        progress: Progress,
        *,
        job: str,
        operator: str,
        control: Control,
    ) -> JobReport:
        """Run policies of one recipient over the newest epoch, as one job.

        ``job`` is its name, ``operator`` the member that submitted it.  Raises WaitingForApprovalError where
        data officers must decide first, PolicyError where a policy is refused, JobError or NodeFailedError
        where the job ends without a result, and something else where ``control`` broke it off; its keys and
        ciphertexts are erased either way.
        """
        self._log.require_writable()  # what cannot be written down is not done (protocol.md, 7)
        if not 1 <= len(sources) <= MOST_POLICIES:
            raise JobError(
                f"job: {len(sources)} policies are not one job; submit 1 to {MOST_POLICIES} at once"
            )
        policies = parse_policies(sources)
        epoch = self._store.newest_epoch()
        if epoch is None:
            raise JobError("job: nothing is linked yet; link first")
        opened = reopen_epoch(epoch.statement)
        # 5.5: a second count would take the noise off the first.
        counted = [self._store.counted(opened.context, content_digest(policy)) for policy in policies]
        if all(copy is not None for copy in counted):
            return _counted_before([copy for copy in counted if copy is not None])
        if any(copy is not None for copy in counted):
            raise JobError(
                "job: some of its policies were counted in this epoch before; submit the others alone"
            )
        started = time.monotonic()
        agreement, secret = AgreementKey.generate(), os.urandom(32)
        with ExitStack() as afterwards:
            with self._nodes.conversation() as conversation:
                with control.over(conversation):
                    drawn = self._drafting.draw_up(
                        conversation, policies, opened, epoch, key_bits, agreement, job
                    )
                control.begun()
                manifest = drawn.manifest
                combiner = self._combiner(manifest, agreement, secret)
                afterwards.enter_context(self.closing.held(manifest))
                self._store.start_job(manifest.digest, drawn.data, _modulus(manifest))
                evidence = self._evidence.begin(name_of(manifest.draft, manifest.digest))
                afterwards.callback(self._drafting.forget, job)
                # Before any node has the manifest: whoever accepts it is told to close, also where another refuses.
                afterwards.callback(self.closing.close, manifest, evidence)
                evidence.begin(drawn, self._directory, opened, operator)
                # Who is in the middle of accepting when it is told to close would keep the job until it expires.
                with control.over(conversation, grace=_DELIVERED_WITHIN):
                    drawn.deliver()
            return self._compute(manifest, combiner, agreement, evidence, epoch, progress, started, control)

    def _compute(
        self,
        manifest: Manifest,
        combiner: Combiner,
        agreement: AgreementKey,
        evidence: JobEvidence,
        epoch: StoredEpoch,
        progress: Progress,
        started: float,
        control: Control,
    ) -> JobReport:
        with self._nodes.conversation() as conversation, control.over(conversation):
            pipeline = Pipeline(
                manifest,
                combiner,
                conversation,
                identity=self._identity,
                directory=self._directory,
                store=self._store,
                executor=self._executor,
                evidence=evidence,
                progress=progress,
                epoch=epoch,
                reconnect_wait=self._reconnect_wait,
            )
            recipient, presented = pipeline.run()
            seconds = {"linkage": epoch.seconds, **pipeline.seconds, "circuit": 0.0}
            counts: Mapping[int, Counts] = {}
            households = None
            if manifest.draft.dealer is not None:
                begun = time.monotonic()
                deciding = Deciding(manifest, combiner, agreement, self._directory)
                counts = deciding.run(conversation, recipient, presented)
                households = deciding.households
                seconds["circuit"] = time.monotonic() - begun
            seconds["total"] = epoch.seconds + time.monotonic() - started
            traffic = conversation.traffic()
            copies = [
                result_document(
                    manifest,
                    policy,
                    seconds=seconds,
                    sent=traffic.sent,
                    received=traffic.received,
                    households=households,
                    found=_found(policy, counts.get(number)),
                )
                for number, policy in enumerate(manifest.policies)
            ]
            pipeline.conclude(recipient, seconds)
        counted = [
            (policy, json.dumps(copy).encode())
            for policy, copy in zip(manifest.policies, copies, strict=True)
            if policy.reveal == "count"
        ]
        for policy, _ in counted:
            evidence.delivered(policy)
        evidence.report(copies)
        # Last: what is kept is given to whoever asks again, so it is of a job that is complete, and in its report.
        # Of one that failed the number is lost for this epoch: its recipient counts it no second time (5.5).
        self._store.keep_counts(
            bytes.fromhex(manifest.draft.epoch),
            {content_digest(policy): copy for policy, copy in counted},
        )
        return JobReport(manifest.draft.job, seconds, traffic.sent, traffic.received, copies)

    def _combiner(self, manifest: Manifest, agreement: AgreementKey, secret: bytes) -> Combiner:
        try:
            return Combiner(manifest, coordinator=self._name, agreement=agreement, secret=secret)
        except KeyRefusedError as error:
            raise JobError(f"job: a key that a party gave is refused ({error}); check its release") from None


def _modulus(manifest: Manifest) -> bytes:
    """The hash of the Paillier modulus: with another generator it would be the same key (4.1)."""
    return hashlib.sha256(manifest.paillier().n.to_bytes(manifest.draft.key_bits // 8, "big")).digest()


def _found(policy: Policy, counts: Counts | None) -> dict[str, object]:
    """What the coordinator's copy tells of the eligible: counts where the policy reveals them, else nothing."""
    if counts is None:
        return {}
    if policy.vary is None:
        return {"eligible": counts.counts[0], "min_count": policy.smallest_count}
    return {
        "eligible": None,
        "min_count": policy.smallest_count,
        "vary": [
            {"bound": str(bound), "eligible": count}
            for bound, count in zip(policy.vary.bounds, counts.counts, strict=True)
        ],
    }


def _counted_before(copies: Sequence[bytes]) -> JobReport:
    """The report of a job that is not run, since all of its counts are known."""
    results = [json.loads(copy) for copy in copies]
    return JobReport(results[0]["job"], results[0]["seconds"], {}, {}, results)
