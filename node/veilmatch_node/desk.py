"""The data officer's desk (protocol.md, 7): what waits, what was decided, what is left of the budgets.

The officer's page and the command line use the same desk; it keeps nothing in memory, so that both may be
open at once, beside the running node.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import ValidationError

from veilmatch_crypto import IdentityKey
from veilmatch_evidence.log import EvidenceLog
from veilmatch_node.rights import Rules, decided
from veilmatch_node.store.desk import DeskStore, StoredDecision, Window
from veilmatch_node.store.desk_requests import StoredRequest
from veilmatch_policy.approvals import (
    Decision,
    Request,
    SignedDecision,
    catalog_entries,
    decode_decision,
    encode_request,
    new_name,
    open_decision,
    request_of,
    sign_decision,
)
from veilmatch_policy.budgets import Cost, columns_of, costs, counted_in
from veilmatch_policy.catalog import Catalog
from veilmatch_policy.check import DepartmentTask, bind_questions
from veilmatch_policy.clock import CLOCK_DIFFERENCE, Clock, utc_now
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import reopen_epoch
from veilmatch_policy.errors import ApprovalError, PolicyError
from veilmatch_policy.manifest import reopen_draft
from veilmatch_policy.plan import Plan
from veilmatch_policy.policy import Policy
from veilmatch_policy.similar import all_but_one

State = Literal["valid", "expired", "spent", "revoked", "refused", "revocation"]


@dataclass(frozen=True)
class Waiting:
    """A policy that waits for the officer.

    ``plan`` is that of the job that asked, ``number`` the policy's in it, ``task`` what this department
    would evaluate.  ``others`` are other departments' decisions about the same policy.
    """

    request: Request
    policy: Policy
    number: int
    plan: Plan
    task: DepartmentTask
    received: datetime
    others: tuple[SignedDecision, ...]

    @property
    def digest(self) -> bytes:
        """The request's hash: how the desk calls it."""
        return self.request.digest


@dataclass(frozen=True)
class Held:
    """A decision of this department's officer, and what became of it."""

    signed: SignedDecision
    used: int
    state: State

    @property
    def decision(self) -> Decision:
        """What was signed."""
        return self.signed.decision


@dataclass(frozen=True)
class BudgetLine:
    """A budget in a window: what it has lost of its limit, and what a job would take (``units``).

    These are runs, or millionths of epsilon.  ``next_free`` is when the oldest loss of a year leaves the window.
    """

    kind: Literal["runs", "epsilon"]
    what: str
    receiver: str
    window: Window
    spent: int
    limit: int
    units: int
    next_free: datetime | None


class Desk:
    """One department's desk."""

    def __init__(
        self,
        name: str,
        *,
        catalog: Catalog,
        directory: Directory,
        store: DeskStore,
        log: EvidenceLog,
        rules: Rules,
        clock: Clock = utc_now,
    ) -> None:
        self.name = name
        self.catalog = catalog
        self.directory = directory
        self._store = store
        self._log = log
        self._rules = rules
        self._clock = clock

    def waiting(self) -> list[Waiting]:
        """Return the requests that the officer has to decide, the newest first."""
        held = self.decisions()
        asked = [stored for stored in self._store.requests() if _open(stored, held)]
        return list(self._waiting(asked))

    def waiting_for(self, digest: bytes) -> Waiting:
        """Return one request, decided or not.  Raises ApprovalError where there is none."""
        this = [stored for stored in self._store.requests() if stored.digest == digest]
        for waiting in self._waiting(this):
            return waiting
        raise ApprovalError("request", "there is none of this name", "look at the list of what waits")

    def decisions(self) -> list[Held]:
        """Return what the officer decided, the newest first."""
        return list(self._held(self._store.decisions()))

    def last_approved(self, policy: str) -> Held | None:
        """Return the newest approval of a policy of this name, whatever became of it."""
        held = self._held(self._store.decisions(policy))
        return next((each for each in held if each.decision.kind == "approve"), None)

    def approved_policy(self, held: Held) -> Policy | None:
        """Return the policy that an approval was about; None where its request came from elsewhere."""
        approved = held.decision.request.digest
        this = [stored for stored in self._store.requests() if stored.digest == approved]
        return next((waiting.policy for waiting in self._waiting(this)), None)

    def similar(self, waiting: Waiting) -> list[Policy]:
        """Return approved policies of other names or contents that share all but one condition with a request's."""
        approved = (held for held in self.decisions() if held.decision.kind == "approve")
        different = (held for held in approved if held.decision.request.content != waiting.request.content)
        policies = (self.approved_policy(held) for held in different)
        found = {
            policy.digest: policy
            for policy in policies
            if policy is not None and all_but_one(policy, waiting.policy)
        }
        return list(found.values())

    def uses_up(self, waiting: Waiting) -> list[BudgetLine]:
        """Return what the job that asked would take from the budgets, and what they have lost so far."""
        return self.would_use(waiting.plan, waiting.task)

    def would_use(self, plan: Plan, task: DepartmentTask) -> list[BudgetLine]:
        """Return what a plan, of which ``task`` is this department's part, would take, and what is lost so far."""
        return list(self._lines(costs(plan, task, self.catalog, coordinator=self.directory.coordinator)))

    def budgets(self) -> list[BudgetLine]:
        """Return every budget that lost something within the year."""
        return [
            line
            for lost in self._store.budgets(now=self._clock())
            for line in self._lines([Cost(lost.kind, lost.what, lost.receiver, 0)])
        ]

    def approve(self, digest: bytes, officer: IdentityKey, *, runs: int, expires: datetime) -> SignedDecision:
        """Approve a request until ``expires`` for ``runs`` jobs.

        Raises ApprovalError where ``officer`` is not this department's officer's key, the number or the day
        is no sensible one, or the catalog changed since the request came.
        """
        waiting = self.waiting_for(digest)
        if runs < 1 or expires <= self._clock():
            raise ApprovalError(
                "approval", "has no run or no day left", "give at least one run and a later day"
            )
        if self._current(waiting) != waiting.request:
            raise ApprovalError(
                "request",
                "was made under another catalog or directory than today's",
                "have the job submitted again",
            )
        return self._sign(waiting.request, officer, kind="approve", runs=runs, expires=expires)

    def refuse(self, digest: bytes, officer: IdentityKey, *, reason: str) -> SignedDecision:
        """Refuse a request.  Raises ApprovalError as `approve` does, and without a reason."""
        return self._sign(self.waiting_for(digest).request, officer, kind="refuse", reason=reason)

    def revoke(self, approval: bytes, officer: IdentityKey, *, reason: str) -> SignedDecision:
        """Revoke an approval, by its hash; a job that rests on it stops.  Raises ApprovalError as `refuse` does."""
        for held in self.decisions():
            if held.signed.digest == approval and held.decision.kind == "approve":
                return self._sign(
                    held.decision.request, officer, kind="revoke", reason=reason, revokes=approval.hex()
                )
        raise ApprovalError("approval", "there is none of this name", "look at the list of decisions")

    def take(self, data: bytes) -> SignedDecision:
        """Take a decision that was signed on another machine.  Raises ApprovalError where it is not this officer's."""
        signed = decode_decision(data, self.directory)
        owner = signed.decision.request.department
        if owner != self.name:
            raise ApprovalError("decision", f"is of {owner}, not of {self.name}", f"import it at {owner}")
        if signed.decision.decided > self._clock() + CLOCK_DIFFERENCE:
            # What is decided last holds: this one would, over all that the officer decides until then.
            raise ApprovalError("decision", "is of a later time than now", "set the signing machine's clock")
        return self._keep(signed)

    def export(self, digest: bytes) -> bytes:
        """Return a request's file, to be decided on another machine: the request, and the policy's text."""
        waiting = self.waiting_for(digest)
        return encode_request(waiting.request, waiting.policy)

    def _waiting(self, requests: Iterable[StoredRequest]) -> Iterator[Waiting]:
        """Stored requests, but for those that cannot be planned any more under today's catalog and directory."""
        drafts: dict[bytes, tuple[Plan, DepartmentTask] | None] = {}
        for stored in requests:
            if stored.draft not in drafts:  # once for all policies of a job
                drafts[stored.draft] = self._planned(stored)
            planned = drafts[stored.draft]
            if planned is None:
                continue
            plan, task = planned
            request = Request.model_validate_json(stored.request)
            policy = plan.policies[stored.policy].policy
            others = tuple(self._others(request.content))
            yield Waiting(request, policy, stored.policy, plan, task, stored.received, others)

    def _planned(self, stored: StoredRequest) -> tuple[Plan, DepartmentTask] | None:
        try:
            draft, plan = reopen_draft(stored.draft, self.directory, reopen_epoch(stored.statement))
            policies = [planned.policy for planned in plan.policies]
            return plan, bind_questions(policies, plan.questions, draft.reference_date, self.catalog)
        except PolicyError:
            return None

    def _others(self, content: str) -> Iterator[SignedDecision]:
        for other in self._store.others(content):
            with suppress(PolicyError):  # of a department that is no member any more
                yield open_decision(other.statement, other.signature, self.directory)

    def _current(self, waiting: Waiting) -> Request:
        """What the request would be under today's catalog and directory."""
        columns = columns_of(waiting.plan, waiting.policy, waiting.task, self.name)
        return request_of(
            waiting.plan,
            waiting.number,
            self.directory,
            self.name,
            catalog=catalog_entries(
                self.catalog,
                columns,
                counted_in(waiting.plan, waiting.policy, waiting.task, self.name),
                register=waiting.plan.registrar == self.name,
            ),
            linkage=waiting.request.linkage,
            slots=waiting.request.slots,
        )

    def _held(self, decisions: Sequence[StoredDecision]) -> Iterator[Held]:
        for stored in decisions:
            with suppress(PolicyError):  # of an officer whose key is no longer in the directory
                signed = open_decision(stored.statement, stored.signature, self.directory)
                yield Held(signed, stored.used, _state(signed.decision, stored, self._clock()))

    def _lines(self, taken: Sequence[Cost]) -> Iterator[BudgetLine]:
        now = self._clock()
        epoch = self._store.newest_epoch() or b""
        for cost in taken:
            for line in self._store.spent(cost, epoch, now=now, limits=self._rules.limits):
                free = self._store.next_free(cost, now=now) if line.window == "year" else None
                yield BudgetLine(
                    cost.kind, cost.what, cost.receiver, line.window, line.spent, line.most, cost.units, free
                )

    def _sign(
        self,
        request: Request,
        officer: IdentityKey,
        *,
        kind: Literal["approve", "refuse", "revoke"],
        reason: str = "",
        runs: int | None = None,
        expires: datetime | None = None,
        revokes: str | None = None,
    ) -> SignedDecision:
        if officer.public != self.directory.officer(self.name):
            raise ApprovalError(
                "decision",
                f"would be signed by another key than the officer's of {self.name}",
                "use the officer's",
            )
        try:
            decision = Decision(
                kind=kind,
                name=new_name(),
                request=request,
                decided=self._clock(),
                by="officer",
                expires=expires,
                runs=runs,
                reason=reason.strip(),
                revokes=revokes,
            )
        except ValidationError:
            raise ApprovalError(
                "decision", "has no reason, or a longer one than fits", "say why, briefly"
            ) from None
        return self._keep(sign_decision(decision, officer))

    def _keep(self, signed: SignedDecision) -> SignedDecision:
        # In the log first: a decision that is in force and in no record would show nobody who decided.
        self._log.append(decided(signed))
        self._store.keep_decision(signed)
        return signed


def _open(stored: StoredRequest, held: Sequence[Held]) -> bool:
    """Whether the officer has to decide: nothing holds that was decided, and it was asked since."""
    for each in held:
        if each.decision.request.digest == stored.digest and each.decision.kind != "revoke":
            return each.state != "valid" and stored.received > each.decision.decided
    return True


def _state(decision: Decision, stored: StoredDecision, now: datetime) -> State:
    if decision.kind == "refuse":
        return "refused"
    if decision.kind == "revoke":
        return "revocation"
    if stored.revoked:
        return "revoked"
    if decision.expires is None or decision.expires <= now:
        return "expired"
    return "spent" if stored.used >= (decision.runs or 0) else "valid"
