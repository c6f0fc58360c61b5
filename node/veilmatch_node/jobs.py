"""A node's part in jobs: from the draft to the closed manifest (protocol.md, 4.7 and 7).

The order is the protocol's: declare what this node's catalog says of what it is asked; verify the
draft against its own directory, epoch, catalog and plan; give fresh keys; verify the manifest; read
the data; record the manifest as started with everything it froze; only then contribute, tell who
lives with whom, deal or open.  No network: the service carries the bytes.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from veilmatch_crypto import (
    IdentityKey,
    Sealed,
    SealError,
    encrypt_chunk,
    generate,
    open_seed,
)
from veilmatch_node.answers import DataFolder, answer
from veilmatch_node.clocks import require_clock
from veilmatch_node.contributor import Contributor
from veilmatch_node.dealer import Dealer
from veilmatch_node.errors import JobRefusedError
from veilmatch_node.frozen import FrozenAnswers
from veilmatch_node.in_order import in_order
from veilmatch_node.job_log import JobLog, OnRecord
from veilmatch_node.job_secrets import JobSecrets, modulus_hash
from veilmatch_node.newest import Newest
from veilmatch_node.opening import Opening
from veilmatch_node.people import SlotTable
from veilmatch_node.recipient import Recipient
from veilmatch_node.report import Report
from veilmatch_node.results import write_files
from veilmatch_node.rights import Right, Rights
from veilmatch_node.states import State
from veilmatch_node.store import NodeStore, StoredChunk, StoredEpoch, StoredJob
from veilmatch_policy.approvals import SignedDecision
from veilmatch_policy.check import DepartmentTask, bind_questions, check_alone, declare
from veilmatch_policy.clock import Clock, utc_now
from veilmatch_policy.declarations import DepartmentEntry
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import OpenEpoch, reopen_epoch
from veilmatch_policy.manifest import (
    MOST_POLICIES,
    Draft,
    Manifest,
    PartyKeys,
    open_draft,
    open_manifest,
    reopen_manifest,
    signed_contribution,
    signed_keys,
)
from veilmatch_policy.plan import Plan
from veilmatch_policy.policy import parse_policies
from veilmatch_policy.questions import ask


@dataclass(frozen=True)
class SignedChunk:
    """A contribution as it leaves: its place, its ciphertexts and this node's signature."""

    outcome: int
    chunk: int
    ciphertexts: bytes
    signature: bytes


class NodeJobs:
    """All jobs of one node."""

    def __init__(
        self,
        name: str,
        *,
        identity: IdentityKey,
        directory: Directory,
        store: NodeStore,
        data: DataFolder,
        executor: Executor,
        rights: Rights,
        log: JobLog,
        clock: Clock = utc_now,
    ) -> None:
        self.name = name
        self._identity = identity
        self._directory = directory
        self._store = store
        self._data = data
        self._executor = executor
        self._rights = rights
        self._clock = clock
        self._newest = Newest()
        self.log = log

    def ask(self, sources: Sequence[bytes], epoch: bytes, sent: int) -> "AskedJob":
        """Read the policies and bind what they ask of this node (7, step 0).

        Raises PolicyError where this node refuses a policy, JobRefusedError for an ``epoch`` (its
        context) that is not this node's newest, RuleError where ``sent``, the coordinator's time (clocks), is far
        from this node's.
        """
        with self.log.refusing(None):
            require_clock("job", sent, self._clock())
            return self._ask(sources, epoch)

    def _ask(self, sources: Sequence[bytes], epoch: bytes) -> "AskedJob":
        self.close_expired()
        if not 1 <= len(sources) <= MOST_POLICIES:
            raise JobRefusedError(
                "job", f"has {len(sources)} policies", f"submit 1 to {MOST_POLICIES} at once"
            )
        opened, stored = self._epoch(epoch)
        day = opened.epoch.reference_date
        policies = parse_policies(sources)
        questions = ask(policies, day)
        task = bind_questions(policies, questions, day, self._data.catalog)
        declared = declare(policies, questions, task, self._data.catalog)
        return AskedJob(self, opened, stored, task, declared)

    def prepare(
        self, asked: "AskedJob", draft: bytes, others: Sequence[SignedDecision] = ()
    ) -> "PreparedJob":
        """Verify a draft and give fresh keys for it (7, steps 1 and 2).

        ``others`` are other departments' decisions about its policies.  Raises PolicyError where this node
        refuses the draft, ApprovalNeededError where its officer must decide first.
        """
        with self.log.refusing(None):
            parsed, plan = open_draft(
                draft, self._directory, asked.epoch, asked.stored.padded, now=self._clock()
            )
        with self.log.refusing(parsed.job):
            return self._prepare(asked, draft, parsed, plan, others)

    def _prepare(
        self,
        asked: "AskedJob",
        draft: bytes,
        parsed: Draft,
        plan: Plan,
        others: Sequence[SignedDecision],
    ) -> "PreparedJob":
        if self.name not in parsed.participants:
            raise JobRefusedError(
                "job", f"{self.name} has no part in this policy", "submit it to its participants"
            )
        day = asked.epoch.epoch.reference_date
        policies = [planned.policy for planned in plan.policies]
        task = bind_questions(policies, plan.questions, day, self._data.catalog)
        own = declare(policies, plan.questions, task, self._data.catalog)
        stated = [entry for entry in parsed.declarations if entry.department == self.name]
        if (stated or [DepartmentEntry(department=self.name)]) != [own]:
            raise JobRefusedError(
                "job", "states another declaration of this node than its own", "submit it again"
            )
        check_alone(plan, self._data.catalog, task)
        asks = self.name == parsed.recipient
        if asks and parsed.recipient_rows != len(SlotTable.decode(asked.stored.people).slots):
            raise JobRefusedError("job", "states another number of the recipient's rows", "link again")
        rights = self._rights.require(draft, parsed, plan, task, asked.epoch, others)
        secrets = JobSecrets.draw(generate(parsed.key_bits) if asks else None)
        keys = self._sign(draft, secrets)
        return PreparedJob(self, draft, parsed, plan, task, asked.stored, rights, secrets, keys)

    def contribute(self, digest: bytes, have: int = 0) -> Iterator[SignedChunk]:
        """Yield this node's contributions under a started manifest, in order, but for the first ``have``.

        What was made before is resent byte for byte; what is new is on disk before it is yielded
        (4.7).  Raises JobRefusedError where the manifest never started here, or was asked for again meanwhile,
        StoreError where it is closed meanwhile.
        """
        manifest, secrets, answers = self._started(digest)
        turn = self._newest.take(digest)
        known: OnRecord | None = None
        contributor = Contributor(
            manifest,
            self.name,
            coordinator=self._directory.coordinator,
            agreement=secrets.agreement,
            noise_secret=secrets.noise,
            answers=answers,
        )

        def encrypting() -> Iterator[tuple[tuple[int, int, StoredChunk | None], Future[bytes]]]:
            for outcome, chunk in contributor.places()[have:]:
                made = self._store.chunk(digest, outcome, chunk)
                if made is None:
                    words = contributor.words(outcome, chunk)
                    call = self._executor.submit(encrypt_chunk, contributor.key, words, contributor.expected)
                else:
                    call = Future()
                    call.set_result(made.ciphertexts)
                yield (outcome, chunk, made), call

        for (outcome, chunk, made), ciphertexts in in_order(encrypting()):
            self.require_still(manifest)
            with turn.step():
                kept = made or self._keep(manifest, outcome, chunk, ciphertexts)
                if made is not None and known is None:
                    known = self.log.on_record(manifest)
                # Killed between disk and log, or never: what was made before may be missing on record.
                if made is None or (known is not None and (outcome, chunk) not in known.contributed):
                    self.log.contributed(manifest, outcome, chunk, kept.ciphertexts)
            yield SignedChunk(outcome, chunk, kept.ciphertexts, kept.signature)

    def delivered(self, digest: bytes) -> bool:
        """Whether this recipient has a job's results, and the coordinator did not hear of it."""
        return self._store.state(digest) is State.DELIVERED

    def write_results(self, folder: Path) -> None:
        """Write delivered results whose files a crash left out."""
        for digest, results in self._store.to_write().items():
            write_files(folder, results)
            self._store.written(digest)

    def begin_opening(self, digest: bytes) -> Opening:
        """Begin the recipient's part in a started manifest, or take it up again where its line was lost.

        Raises JobRefusedError once the circuits began or a check slot was wrong: what failed its check is never
        opened again (4.5), and a circuit is not run twice (4.7).
        """
        manifest, secrets, answers = self._started(digest)
        self.require_still(manifest)
        if secrets.paillier is None:
            raise JobRefusedError("job", f"{self.name} is not its recipient", "open it at the recipient")
        stored = self._store.epoch(bytes.fromhex(manifest.draft.epoch))
        if stored is None:  # a linkage meanwhile erased whose slots these are
            raise JobRefusedError("job", "its epoch is not this node's newest", "submit it again")
        self._store.move(digest, State.OPENING)
        turn = self._newest.take(digest)
        recipient = Recipient(manifest, agreement=secrets.agreement, key=secrets.paillier, answers=answers)
        known = self.log.on_record(manifest)
        return Opening(
            manifest,
            recipient,
            SlotTable.decode(stored.people),
            self._store,
            self.log,
            turn,
            known,
            self.require_still,
        )

    def labels(self, digest: bytes) -> NDArray[np.uint32]:
        """Return who lives with whom: the registrar's labels by slot (3, step 6).

        Raises JobRefusedError at any other node.
        """
        manifest, _, answers = self._started(digest)
        self.require_still(manifest)
        if answers.labels is None:
            raise JobRefusedError("job", f"{self.name} keeps no register for it", "ask its registrar")
        self.log.told_households(manifest)
        return answers.labels

    def deal(self, digest: bytes) -> tuple[Manifest, Dealer]:
        """Return a started manifest and the dealer's protocol object, once ever (5.4).

        Raises JobRefusedError the second time, and at a node that is not the manifest's dealer.
        """
        manifest, _, _ = self._started(digest)
        if manifest.draft.dealer != self.name:
            raise JobRefusedError(
                "job", f"{self.name} is not its dealer", "ask the one that the manifest names"
            )
        self._store.move(digest, State.DEALING)
        return manifest, Dealer(
            manifest,
            self.name,
            self._directory.coordinator,
            identity=self._identity,
            next_sequence=self._store.next_sequence,
        )

    def open_seed(self, digest: bytes, sealed: bytes) -> bytes:
        """Open the dealer's seed, as the recipient.

        Raises SignatureRefusedError where the dealer did not sign it for this job, JobRefusedError where it
        does not open.
        """
        manifest, secrets, _ = self._started(digest)
        dealer = manifest.draft.dealer
        if dealer is None:
            raise JobRefusedError(
                "job", "has no dealer, and needs no circuit", "check the coordinator's release"
            )
        try:
            return open_seed(
                Sealed.from_bytes(sealed),
                dealer,
                self.name,
                manifest=digest,
                key=secrets.agreement,
                dealer_identity=self._directory.identity(dealer),
            )
        except SealError:  # not this node's own vault: the coordinator may know
            raise JobRefusedError(
                "job", f"the seed of {dealer} does not open at {self.name}", "submit it again"
            ) from None

    def close_expired(self) -> None:
        """Erase jobs that nobody closed and whose manifests have expired."""
        for data in self._store.close_expired(self._clock()):
            digest = Manifest.digest_of(data)
            self._newest.end(digest)
            self.log.closed(Manifest.job_of(data), digest)

    def close(self, digest: bytes) -> bytes:
        """Erase a job's keys, answers and ciphertexts; what this node recorded of it, for the evidence."""
        self._newest.end(digest)
        self._store.close_job(digest)
        manifest = self._store.manifest(digest)
        # Also of a job that was closed before: the answer may have been lost.
        return b"" if manifest is None else self.log.closed(Manifest.job_of(manifest), digest)

    def require_still(self, manifest: Manifest) -> None:
        """Raise RuleError where an approval that a job rests on was revoked while it ran."""
        with self.log.refusing(manifest.draft.job):
            self._rights.require_still(manifest.digest)

    def _keep(self, manifest: Manifest, outcome: int, chunk: int, ciphertexts: bytes) -> StoredChunk:
        digest = manifest.digest
        signature = self._identity.sign(signed_contribution(digest, outcome, chunk, ciphertexts))
        return self._store.keep_chunk(digest, outcome, chunk, StoredChunk(ciphertexts, signature))

    def _sign(self, draft: bytes, secrets: JobSecrets) -> PartyKeys:
        paillier = b"" if secrets.paillier is None else secrets.paillier.public.to_bytes()
        signature = self._identity.sign(signed_keys(draft, self.name, secrets.agreement.public, paillier))
        return PartyKeys(
            name=self.name,
            agreement=secrets.agreement.public.hex(),
            paillier=paillier.hex(),
            signature=signature.hex(),
        )

    def _epoch(self, context: bytes) -> tuple[OpenEpoch, StoredEpoch]:
        stored = self._store.epoch(context)
        if stored is None:
            raise JobRefusedError(
                "job", "names an epoch that is not the newest linked at this node", "link, then submit again"
            )
        return reopen_epoch(stored.statement), stored

    def _started(self, digest: bytes) -> tuple[Manifest, JobSecrets, FrozenAnswers]:
        job = self._store.job(digest)
        if job is None:
            raise JobRefusedError("job", "never started at this node, or is closed", "submit it again")
        epoch, _ = self._epoch(Manifest.epoch_of(job.manifest))
        manifest = reopen_manifest(job.manifest, self._directory, epoch)
        if manifest.draft.expires <= self._clock():
            raise JobRefusedError("job", "its manifest has expired", "submit it again")
        secrets = JobSecrets.decode(job.secrets, manifest.draft.key_bits)
        return manifest, secrets, FrozenAnswers.decode(job.answers)

    def start(self, prepared: "PreparedJob", data: bytes, tell_owner: Callable[[Report], None]) -> Manifest:
        """Verify the manifest, debit, freeze the answers, and record them as started (7, step 3)."""
        with self.log.refusing(prepared.parsed.job):
            return self._start(prepared, data, tell_owner)

    def _start(self, prepared: "PreparedJob", data: bytes, tell_owner: Callable[[Report], None]) -> Manifest:
        manifest = open_manifest(data, prepared.draft, prepared.plan, self._directory, prepared.keys)
        key = manifest.paillier()  # refuses a key that has not the form of 4.1
        if self.log.has_started_another(manifest):
            raise JobRefusedError("job", "another manifest of its name ran here", "submit it again")
        # On disk and on record before the first row is read.
        self.log.started(self._rights.debit(manifest, prepared.rights, prepared.task))
        answers = answer(
            self._data,
            manifest.plan,
            prepared.task,
            SlotTable.decode(prepared.epoch.people),
            manifest.draft.padded,
            today=self._clock().date(),
            tell_owner=tell_owner,
        )
        job = StoredJob(data, prepared.secrets.encode(), answers.encode())
        self._store.start_job(manifest.digest, job, key=modulus_hash(key), expires=manifest.draft.expires)
        return manifest


@dataclass(frozen=True)
class AskedJob:
    """Policies that this node was asked, with what it declares of them."""

    jobs: NodeJobs
    epoch: OpenEpoch
    stored: StoredEpoch
    task: DepartmentTask
    declared: DepartmentEntry

    def prepare(self, draft: bytes, others: Sequence[SignedDecision] = ()) -> "PreparedJob":
        """See NodeJobs.prepare."""
        return self.jobs.prepare(self, draft, others)


@dataclass(frozen=True)
class PreparedJob:
    """A draft that this node agreed to, with the keys that it gave for it."""

    jobs: NodeJobs
    draft: bytes
    parsed: Draft
    plan: Plan
    task: DepartmentTask
    epoch: StoredEpoch
    rights: tuple[Right, ...]
    secrets: JobSecrets
    keys: PartyKeys

    def __repr__(self) -> str:
        return f"PreparedJob({self.parsed.job})"

    def start(self, manifest: bytes, tell_owner: Callable[[Report], None]) -> Manifest:
        """See NodeJobs.start; ``tell_owner`` is given what became of the rows."""
        return self.jobs.start(self, manifest, tell_owner)
