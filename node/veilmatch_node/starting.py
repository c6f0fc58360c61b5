"""How a manifest comes to start at a node: from the policies to the first row that is read (protocol.md, 7).

The order is the protocol's: declare what this node's catalog says of what it is asked; verify the draft against
its own directory, epoch, catalog and plan; give fresh keys; verify the manifest; debit; read the data; record
the manifest as started with everything that it froze.  No network: the service carries the bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from veilmatch_crypto import IdentityKey, generate
from veilmatch_node.answers import DataFolder, answer
from veilmatch_node.clocks import require_clock
from veilmatch_node.errors import JobRefusedError
from veilmatch_node.job_log import JobLog
from veilmatch_node.job_secrets import JobSecrets, modulus_hash
from veilmatch_node.people import SlotTable
from veilmatch_node.report import Report
from veilmatch_node.rights import Right, Rights
from veilmatch_node.store import NodeStore, StoredEpoch, StoredJob
from veilmatch_policy.approvals import SignedDecision
from veilmatch_policy.check import DepartmentTask, bind_questions, check_alone, declare
from veilmatch_policy.clock import Clock
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
    signed_keys,
)
from veilmatch_policy.plan import Plan
from veilmatch_policy.policy import parse_policies
from veilmatch_policy.questions import ask


class Starting:
    """The part of a node's jobs that comes before anything leaves it."""

    def __init__(
        self,
        name: str,
        *,
        identity: IdentityKey,
        directory: Directory,
        store: NodeStore,
        data: DataFolder,
        rights: Rights,
        log: JobLog,
        clock: Clock,
    ) -> None:
        self.name = name
        self._identity = identity
        self._directory = directory
        self._store = store
        self._data = data
        self._rights = rights
        self._clock = clock
        self._log = log

    def ask(self, sources: Sequence[bytes], epoch: bytes, sent: int) -> "AskedJob":
        """Read the policies and bind what they ask of this node (7, step 0).

        Raises PolicyError where this node refuses a policy, JobRefusedError for an ``epoch`` (its
        context) that is not this node's newest, RuleError where ``sent``, the coordinator's time (clocks), is far
        from this node's.
        """
        with self._log.refusing(None):
            require_clock("job", sent, self._clock())
            return self._ask(sources, epoch)

    def _ask(self, sources: Sequence[bytes], epoch: bytes) -> "AskedJob":
        if not 1 <= len(sources) <= MOST_POLICIES:
            raise JobRefusedError(
                "job", f"has {len(sources)} policies", f"submit 1 to {MOST_POLICIES} at once"
            )
        opened, stored = linked_epoch(self._store, epoch)
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
        with self._log.refusing(None):
            parsed, plan = open_draft(
                draft, self._directory, asked.epoch, asked.stored.padded, now=self._clock()
            )
        with self._log.refusing(parsed.job):
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

    def start(self, prepared: "PreparedJob", data: bytes, tell_owner: Callable[[Report], None]) -> Manifest:
        """Verify the manifest, debit, freeze the answers, and record them as started (7, step 3)."""
        with self._log.refusing(prepared.parsed.job):
            return self._start(prepared, data, tell_owner)

    def _start(self, prepared: "PreparedJob", data: bytes, tell_owner: Callable[[Report], None]) -> Manifest:
        manifest = open_manifest(data, prepared.draft, prepared.plan, self._directory, prepared.keys)
        key = manifest.paillier()  # refuses a key that has not the form of 4.1
        if self._log.has_started_another(manifest):
            raise JobRefusedError("job", "another manifest of its name ran here", "submit it again")
        # On disk and on record before the first row is read.
        self._log.started(self._rights.debit(manifest, prepared.rights, prepared.task))
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

    def _sign(self, draft: bytes, secrets: JobSecrets) -> PartyKeys:
        paillier = b"" if secrets.paillier is None else secrets.paillier.public.to_bytes()
        signature = self._identity.sign(signed_keys(draft, self.name, secrets.agreement.public, paillier))
        return PartyKeys(
            name=self.name,
            agreement=secrets.agreement.public.hex(),
            paillier=paillier.hex(),
            signature=signature.hex(),
        )


@dataclass(frozen=True)
class AskedJob:
    """Policies that this node was asked, with what it declares of them."""

    starting: Starting
    epoch: OpenEpoch
    stored: StoredEpoch
    task: DepartmentTask
    declared: DepartmentEntry

    def prepare(self, draft: bytes, others: Sequence[SignedDecision] = ()) -> "PreparedJob":
        """See Starting.prepare."""
        return self.starting.prepare(self, draft, others)


@dataclass(frozen=True)
class PreparedJob:
    """A draft that this node agreed to, with the keys that it gave for it."""

    starting: Starting
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
        """See Starting.start; ``tell_owner`` is given what became of the rows."""
        return self.starting.start(self, manifest, tell_owner)


def linked_epoch(store: NodeStore, context: bytes) -> tuple[OpenEpoch, StoredEpoch]:
    """Return the newest epoch.  Raises JobRefusedError where ``context`` is another's."""
    stored = store.epoch(context)
    if stored is None:
        raise JobRefusedError(
            "job", "names an epoch that is not the newest linked at this node", "link, then submit again"
        )
    return reopen_epoch(stored.statement), stored
