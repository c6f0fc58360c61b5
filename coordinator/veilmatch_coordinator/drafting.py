"""From policies to a manifest that all parties gave keys for (protocol.md, 7, steps 0 to 3).

Declarations, draft, keys and approvals, manifest.  Where data officers must decide first, every department
has the draft by then, so that all of them are asked at once.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from veilmatch_coordinator.client import Conversation, Given, PrepareTask
from veilmatch_coordinator.errors import ApprovalNeededError, JobError, WaitingForApprovalError
from veilmatch_coordinator.parallel import in_parallel
from veilmatch_coordinator.store import StoredEpoch
from veilmatch_crypto import AgreementKey, IdentityKey
from veilmatch_policy.approvals import SignedDecision, open_decision
from veilmatch_policy.clock import Clock
from veilmatch_policy.declarations import DepartmentEntry, declarations_of
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import OpenEpoch
from veilmatch_policy.errors import ApprovalError
from veilmatch_policy.manifest import (
    CHUNK_CIPHERTEXTS,
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
from veilmatch_policy.policy import Policy
from veilmatch_policy.questions import ask

_REMEMBERED = 1000  # jobs whose officers' decisions are kept in memory
_EXPIRES = timedelta(days=1)  # a job of a province takes minutes; a job that waited longer is stale


@dataclass(frozen=True)
class DrawnUp:
    """A manifest, its bytes, the officers' approvals, and the tasks of the parties that wait for it."""

    manifest: Manifest
    data: bytes
    draft: bytes
    approvals: Sequence[SignedDecision]
    tasks: Mapping[str, PrepareTask]

    def deliver(self) -> None:
        """Manifest to all (7, step 3).

        Where one refuses, the others are waited for, not broken off: who is in the middle of accepting
        when it is told to close would keep the job.  Raises JobError or NodeFailedError.
        """
        accepted = in_parallel(
            {name: partial(task.accept, self.data) for name, task in self.tasks.items()},
            on_failure=lambda _: None,
        )
        for name, digest in accepted.items():
            if digest != self.manifest.digest:
                raise JobError(f"job: {name} accepted another manifest; check who is on the line")


class Drafting:
    """Draws up the manifests of one coordinator, and remembers what officers decided on the way."""

    def __init__(self, identity: IdentityKey, directory: Directory, clock: Clock) -> None:
        self._name = directory.coordinator
        self._identity = identity
        self._clock = clock
        self._directory = directory
        # Of jobs that wait, for other departments' officers to read; a coordinator that restarts hears them again.
        self._decisions: dict[str, dict[bytes, SignedDecision]] = {}
        self._changing = threading.Lock()

    def draw_up(
        self,
        conversation: Conversation,
        policies: Sequence[Policy],
        epoch: OpenEpoch,
        stored: StoredEpoch,
        key_bits: int,
        agreement: AgreementKey,
        job: str,
    ) -> DrawnUp:
        """Ask every party; the manifest and what goes with it.

        ``agreement`` is the coordinator's key of this job, ``job`` its name.  Raises WaitingForApprovalError
        where officers must decide first, PolicyError, JobError or NodeFailedError.
        """
        day = epoch.epoch.reference_date
        asked = {question.department for question in ask(policies, day)}
        asked |= {policy.recipient for policy in policies}
        asked |= {policy.household.department for policy in policies if policy.household is not None}
        sources = [policy.source for policy in policies]

        def prepare(names: Iterable[str]) -> dict[str, PrepareTask]:
            for name in names:
                if name not in epoch.epoch.nodes:
                    raise JobError(f"job: {name} is no node of the federation; correct the policy")
            return {
                name: conversation.prepare(name, sources, epoch.context, self._clock())
                for name in sorted(names)
            }

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
        draft = self._draft(plan, entries, epoch, stored, key_bits, job).encode()
        tasks = {name: tasks[name] for name in plan.participants}
        given = self._ask_for_keys(conversation, tasks, draft, job)
        signature = self._identity.sign(signed_keys(draft, self._name, agreement.public, b""))
        own = PartyKeys(name=self._name, agreement=agreement.public.hex(), signature=signature.hex())
        keys = {name: each.keys for name, each in given.items()}
        data = encode_manifest(draft, {**keys, self._name: own})
        manifest = open_manifest(data, draft, plan, self._directory, own)
        approvals = [self._read(name, each) for name in sorted(given) for each in given[name].approvals]
        return DrawnUp(manifest, data, draft, approvals, tasks)

    def forget(self, job: str) -> None:
        """Forget what officers decided about a job that has ended."""
        with self._changing:
            self._decisions.pop(job, None)

    def _ask_for_keys(
        self, conversation: Conversation, tasks: Mapping[str, PrepareTask], draft: bytes, job: str
    ) -> dict[str, Given]:
        with self._changing:
            known = tuple(self._decisions.setdefault(job, {}).values())
            for oldest in list(self._decisions)[
                :-_REMEMBERED
            ]:  # of jobs that were given up while they waited
                del self._decisions[oldest]

        def ask_one(name: str) -> Given | None:
            others = [each for each in known if each.decision.request.department != name]
            try:
                return tasks[name].keys(draft, others)
            except ApprovalNeededError:
                return None

        answers = in_parallel({name: partial(ask_one, name) for name in tasks}, on_failure=conversation.abort)
        given = {name: each for name, each in answers.items() if each is not None}
        decided = [self._read(name, each) for name, part in given.items() for each in part.approvals]
        with self._changing:
            self._decisions.setdefault(job, {}).update({each.digest: each for each in decided})
        if len(given) < len(tasks):
            raise WaitingForApprovalError(sorted(tasks.keys() - given.keys()))
        return given

    def _read(self, name: str, approval: tuple[bytes, bytes]) -> SignedDecision:
        """Verify an approval that a node gave.  Raises JobError where it is not its own officer's."""
        try:
            signed = open_decision(*approval, self._directory)
        except ApprovalError as error:
            raise JobError(
                f"job: {name} gave an approval that is refused ({error}); check its release"
            ) from None
        if signed.decision.request.department != name:
            raise JobError(f"job: {name} gave another department's approval; check its release")
        return signed

    def _draft(
        self,
        plan: Plan,
        entries: tuple[DepartmentEntry, ...],
        epoch: OpenEpoch,
        stored: StoredEpoch,
        key_bits: int,
        job: str,
    ) -> Draft:
        return Draft.model_validate(
            {
                "job": job,
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
                "expires": (self._clock() + _EXPIRES).replace(microsecond=0),
            }
        )
