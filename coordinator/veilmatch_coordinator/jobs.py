"""The coordinator's part in a job: draft, manifest, combination, conclusion (protocol.md, 4 and 7).

One policy over one linked epoch.  Contributions arrive side by side, are combined chunk by chunk
as they become complete, and go on to the recipient, which opens them while others still arrive.
The coordinator never learns who or how many matched.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import structlog

from veilmatch_coordinator.client import Conversation, Nodes, PrepareTask
from veilmatch_coordinator.combination import Combiner
from veilmatch_coordinator.deciding import Deciding
from veilmatch_coordinator.errors import JobError, NodeFailedError
from veilmatch_coordinator.evidence import JobEvidence
from veilmatch_coordinator.linking import Progress
from veilmatch_coordinator.parallel import in_parallel
from veilmatch_coordinator.pipeline import Pipeline
from veilmatch_coordinator.store import CoordinatorStore, StoredEpoch
from veilmatch_crypto import AgreementKey, IdentityKey, KeyRefusedError
from veilmatch_policy.declarations import DepartmentEntry, declarations_of
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import OpenEpoch, reopen_epoch
from veilmatch_policy.manifest import (
    CHUNK_CIPHERTEXTS,
    MOST_POLICIES,
    Draft,
    Manifest,
    PartyKeys,
    encode_manifest,
    entries_of,
    open_manifest,
    signed_keys,
)
from veilmatch_policy.plan import Plan
from veilmatch_policy.planning import derive_plan
from veilmatch_policy.policy import Policy, parse_policy
from veilmatch_policy.program import Counts
from veilmatch_policy.questions import ask
from veilmatch_policy.result import content_digest, result_document

_log = structlog.get_logger(__name__)

_EXPIRES = timedelta(days=1)  # a job of a province takes minutes; a job that waited longer is stale


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

    def run(self, sources: Sequence[bytes], key_bits: int, progress: Progress) -> JobReport:
        """Run policies of one recipient over the newest epoch, as one job.

        Raises PolicyError where a policy is refused, JobError or NodeFailedError where the job
        ends without a result; its keys and ciphertexts are erased either way.
        """
        if not 1 <= len(sources) <= MOST_POLICIES:
            raise JobError(
                f"job: {len(sources)} policies are not one job; submit 1 to {MOST_POLICIES} at once"
            )
        policies = [parse_policy(source, "policy") for source in sources]
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
                drawn = self._draw_up(conversation, policies, opened, epoch, key_bits, agreement)
                manifest = drawn.manifest
                combiner = self._combiner(manifest, agreement, secret)
                self._store.start_job(manifest.digest, drawn.data, _modulus(manifest))
                # Before any node has the manifest: whoever accepts it is told to close, also where another refuses.
                afterwards.callback(self._erase, manifest)
                evidence = JobEvidence(self._evidence / policies[0].name / manifest.draft.job)
                afterwards.callback(evidence.digests)
                evidence.manifest(drawn.data)
                _deliver(drawn.tasks, manifest, drawn.data)
            return self._compute(manifest, combiner, agreement, evidence, epoch, progress, started)

    def _compute(
        self,
        manifest: Manifest,
        combiner: Combiner,
        agreement: AgreementKey,
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
            epoch=epoch,
        )
        with self._nodes.conversation() as conversation:
            recipient = conversation.open(manifest.draft.recipient, manifest.digest)
            presented = pipeline.run(conversation, recipient)
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
            self._store.keep_counts(
                bytes.fromhex(manifest.draft.epoch),
                {
                    content_digest(policy): json.dumps(copy).encode()
                    for policy, copy in zip(manifest.policies, copies, strict=True)
                    if policy.reveal == "count"
                },
            )
            recipient.conclude(seconds, traffic)
        evidence.report(manifest.digest, copies)
        return JobReport(manifest.draft.job, seconds, traffic.sent, traffic.received, copies)

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
        conversation: Conversation,
        policies: Sequence[Policy],
        epoch: OpenEpoch,
        stored: StoredEpoch,
        key_bits: int,
        agreement: AgreementKey,
    ) -> "_DrawnUp":
        """Declarations, draft, keys from all (7, steps 0 to 2); the manifest and its bytes."""
        day = epoch.epoch.reference_date
        asked = {question.department for question in ask(policies, day)}
        asked |= {policy.recipient for policy in policies}
        asked |= {policy.household.department for policy in policies if policy.household is not None}
        sources = [policy.source for policy in policies]

        def prepare(names: Iterable[str]) -> dict[str, PrepareTask]:
            for name in names:
                if name not in epoch.epoch.nodes:
                    raise JobError(f"job: {name} is no node of the federation; correct the policy")
            return {name: conversation.prepare(name, sources, epoch.context) for name in sorted(names)}

        tasks = prepare(asked)
        declared = in_parallel(
            {name: task.declaration for name, task in tasks.items()}, on_failure=conversation.abort
        )
        entries = tuple(declared[name] for name in sorted(declared))
        plan = derive_plan(
            policies,
            declarations_of(entries, policies, day),
            reference_date=day,
            dealers=self._directory.may_deal,
            register=epoch.epoch.register,
        )
        dealer = prepare({plan.dealer} if plan.dealer is not None else set())
        in_parallel({name: task.declaration for name, task in dealer.items()}, on_failure=conversation.abort)
        tasks |= dealer
        draft = self._draft(plan, entries, epoch, stored, key_bits)
        drafted = draft.encode()
        keys = in_parallel(
            {name: partial(tasks[name].keys, drafted) for name in draft.participants},
            on_failure=conversation.abort,
        )
        signature = self._identity.sign(signed_keys(drafted, self._name, agreement.public, b""))
        own = PartyKeys(name=self._name, agreement=agreement.public.hex(), signature=signature.hex())
        data = encode_manifest(drafted, {**keys, self._name: own})
        manifest = open_manifest(data, drafted, plan, self._directory, own)
        return _DrawnUp(manifest, data, {name: tasks[name] for name in draft.participants})

    def _combiner(self, manifest: Manifest, agreement: AgreementKey, secret: bytes) -> Combiner:
        try:
            return Combiner(manifest, coordinator=self._name, agreement=agreement, secret=secret)
        except KeyRefusedError as error:
            raise JobError(f"job: a key that a party gave is refused ({error}); check its release") from None

    def _draft(
        self,
        plan: Plan,
        entries: tuple[DepartmentEntry, ...],
        epoch: OpenEpoch,
        stored: StoredEpoch,
        key_bits: int,
    ) -> Draft:
        return Draft.model_validate(
            {
                "job": os.urandom(16).hex(),
                "federation": self._directory.federation,
                "directory": self._directory.digest.hex(),
                "epoch": epoch.context.hex(),
                "linkage": epoch.epoch.linkage,
                "padded": stored.padded,
                "policies": tuple(planned.policy.source.decode() for planned in plan.policies),
                "declarations": entries,
                "reference_date": epoch.epoch.reference_date,
                "recipient": plan.recipient,
                "recipient_rows": stored.people[plan.recipient],
                "registrar": plan.registrar,
                "dealer": plan.dealer,
                "participants": plan.participants,
                "outcomes": entries_of(plan),
                "key_bits": key_bits,
                "chunk_ciphertexts": CHUNK_CIPHERTEXTS,
                "expires": (datetime.now(UTC) + _EXPIRES).replace(microsecond=0),
            }
        )


@dataclass(frozen=True)
class _DrawnUp:
    """A manifest, its bytes, and the tasks of the parties that wait for it."""

    manifest: Manifest
    data: bytes
    tasks: Mapping[str, PrepareTask]


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
