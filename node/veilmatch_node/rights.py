"""By what right this department takes part in a job (protocol.md, 7): approvals, budgets, revocation.

Nothing is evaluated without its officer's approval, but what the catalog marks `open`.  Before keys are given the
approvals are there; before data is read they and the budgets are debited, on disk; while the job goes
on, a revocation stops it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from veilmatch_crypto import IdentityKey
from veilmatch_evidence.actions import Debit, Decided, PolicyUse, Requested, Started
from veilmatch_evidence.log import EvidenceLog
from veilmatch_node.errors import ApprovalNeededError, BudgetSpentError, RuleError
from veilmatch_node.store.desk import DeskStore, Limit
from veilmatch_node.store.desk_requests import StoredRequest
from veilmatch_policy.approvals import (
    Decision,
    Request,
    SignedDecision,
    catalog_entries,
    new_name,
    open_decision,
    request_of,
    sign_decision,
    why_not,
)
from veilmatch_policy.budgets import MILLION, columns_of, costs, counted_in
from veilmatch_policy.catalog import Catalog, Column, Table
from veilmatch_policy.check import DepartmentTask
from veilmatch_policy.clock import Clock, utc_now
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import OpenEpoch
from veilmatch_policy.errors import PolicyError
from veilmatch_policy.manifest import Draft, Manifest
from veilmatch_policy.plan import Plan


@dataclass(frozen=True)
class Rules:
    """What a department allows beside its catalog: its budgets, and counts without noise (docs/configuration.md)."""

    runs_an_epoch: int = 3
    runs_a_year: int = 12
    epsilon_a_year: Decimal = Decimal(10)
    exact_counts: bool = False

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The budgets' limits."""
        return (
            Limit("runs", "epoch", self.runs_an_epoch),
            Limit("runs", "year", self.runs_a_year),
            Limit("epsilon", "year", int(self.epsilon_a_year * MILLION)),
        )


@dataclass(frozen=True)
class Right:
    """What one policy of a job asks of this department, and its officer's approval; None: it needs none."""

    request: Request
    columns: tuple[Column, ...]
    counted: tuple[Table, ...]  # of which it is asked who has a row at all
    approval: SignedDecision | None


class Rights:
    """The gate that every job of this department passes."""

    def __init__(
        self,
        name: str,
        *,
        catalog: Catalog,
        directory: Directory,
        store: DeskStore,
        log: EvidenceLog,
        rules: Rules,
        officer: IdentityKey | None = None,
        clock: Clock = utc_now,
    ) -> None:
        """Take the parts; with the ``officer``'s key this machine approves what it is asked in the officer's name."""
        self._name = name
        self._catalog = catalog
        self._directory = directory
        self._store = store
        self._log = log
        self._rules = rules
        self._officer = officer
        self._clock = clock

    def require(
        self,
        drafted: bytes,
        draft: Draft,
        plan: Plan,
        task: DepartmentTask,
        epoch: OpenEpoch,
        others: Sequence[SignedDecision] = (),
    ) -> tuple[Right, ...]:
        """Return the rights for every policy of a draft, or ask the officer for those that are missing.

        ``drafted`` are the draft's bytes, ``others`` what other departments' officers decided, for this
        one's to read.  Raises ApprovalNeededError where the officer must decide first, RuleError
        where the officer refused.
        """
        for other in others:
            self._store.keep_other(other)
        rights: list[Right] = []
        missing: list[RuleError] = []
        for number in range(len(plan.policies)):
            asked = self._asked(number, plan, task, epoch)
            self._require_noise(number, plan, asked)
            if not self._needs_approval(number, plan, asked):
                rights.append(asked)
                continue
            try:
                rights.append(replace(asked, approval=self._approval(asked.request, draft)))
            except RuleError as error:
                missing.append(error)
                stored = StoredRequest(
                    asked.request.digest,
                    asked.request.encode(),
                    number,
                    drafted,
                    epoch.statement,
                    self._clock(),
                    error.rule,
                )
                # Whoever waits asks again every minute: that is one request, and one refusal on record.
                error.on_record = not self._store.keep_request(stored)
                if not error.on_record:
                    self._log.append(_requested(asked.request))
        # All were asked for: the officer decides them together.
        if missing:
            raise min(missing, key=lambda each: isinstance(each, ApprovalNeededError))
        self._require_budget(plan, task, epoch)
        return tuple(rights)

    def debit(self, manifest: Manifest, rights: Sequence[Right], task: DepartmentTask) -> Started:
        """Take the job's runs and budgets, on disk, before its data is read; what the log is to say of it.

        Raises RuleError where one is used up, or an approval was revoked or expired since.
        """
        now = self._clock()
        for right in rights:
            if right.approval is not None and (
                why := why_not(right.request, right.approval.decision, now=now)
            ):
                raise RuleError(why.rule, right.request.policy, why.words, "submit the job again")
        coordinator = self._directory.coordinator
        approvals = [right.approval for right in rights if right.approval is not None]
        runs, spent = self._store.debit(
            manifest.digest,
            bytes.fromhex(manifest.draft.epoch),
            now=now,
            approvals=approvals,
            costs=costs(manifest.plan, task, self._catalog, coordinator=coordinator),
            limits=self._rules.limits,
        )
        run_of = {approval.digest: run for approval, run in zip(approvals, runs, strict=True)}
        return Started(
            job=manifest.draft.job,
            manifest=manifest.digest.hex(),
            epoch=manifest.draft.epoch,
            policies=tuple(_use(right, run_of) for right in rights),
            debits=tuple(
                Debit(
                    kind=line.cost.kind,
                    window=line.window,
                    what=line.cost.what,
                    receiver=line.cost.receiver,
                    units=line.cost.units,
                    spent=line.spent,
                    limit=line.most,
                )
                for line in spent
            ),
        )

    def require_still(self, manifest: bytes) -> None:
        """Raise RuleError where an approval that a started job rests on was revoked meanwhile."""
        if self._store.revoked(manifest):
            raise RuleError(
                "revoked", "approval", "was revoked while the job ran", f"ask the officer of {self._name}"
            )

    def _asked(self, number: int, plan: Plan, task: DepartmentTask, epoch: OpenEpoch) -> Right:
        policy = plan.policies[number].policy
        columns = columns_of(plan, policy, task, self._name)
        counted = counted_in(plan, policy, task, self._name)
        request = request_of(
            plan,
            number,
            self._directory,
            self._name,
            catalog=catalog_entries(self._catalog, columns, counted, register=plan.registrar == self._name),
            linkage=epoch.epoch.linkage,
            slots=epoch.epoch.slots,
        )
        return Right(request, columns, counted, None)

    def _require_noise(self, number: int, plan: Plan, asked: Right) -> None:
        """Refuse a count without noise, unless this department allows one (5.5: whoever counts also asks)."""
        policy = plan.policies[number].policy
        exact = policy.reveal == "count" and policy.epsilon is None
        if exact and not self._rules.exact_counts and self._name in asked.request.participants:
            raise RuleError(
                "exact-count",
                policy.name,
                f"counts without noise, which {self._name} does not allow",
                "write epsilon into the policy",
            )

    def _require_budget(self, plan: Plan, task: DepartmentTask, epoch: OpenEpoch) -> None:
        """Refuse early what `debit` would refuse: before the recipient makes a key and others read their data."""
        now, limits = self._clock(), self._rules.limits
        for cost in costs(plan, task, self._catalog, coordinator=self._directory.coordinator):
            for line in self._store.spent(cost, epoch.context, now=now, limits=limits):
                if line.spent + cost.units > line.most:
                    raise BudgetSpentError(cost, line.window, line.spent, line.most)

    def _needs_approval(self, number: int, plan: Plan, asked: Right) -> bool:
        if self._name not in asked.request.participants:
            return False  # a dealer, or part of another policy of the job
        if self._name == plan.recipient:
            return True
        tells = {name for term in plan.terms_of(number) for name in plan.contributors_to(plan.terms[term])}
        household = self._catalog.household if self._name == plan.registrar else None
        listed = None if household is None else self._catalog.column(household[1].column)
        read = (*asked.columns, *([listed] if listed is not None else []))
        opened = all(column.release == "open" for column in read)
        return (
            not opened
            or bool(asked.counted)
            or tells == {self._name}
            or (household is not None and listed is None)
        )

    def _approval(self, request: Request, draft: Draft) -> SignedDecision:
        """Return the newest approval that allows a request.

        Raises ApprovalNeededError where there is none, RuleError where the officer decided against it.
        """
        now = self._clock()
        where, waits = request.policy, f"it waits for the officer of {self._name}"
        found: RuleError = ApprovalNeededError("no-approval", where, "is not approved", waits)
        for number, stored in enumerate(self._store.decisions(request.policy)):
            try:
                signed = open_decision(stored.statement, stored.signature, self._directory)
            except PolicyError:  # of an officer whose key is no longer in the directory
                continue
            decision = signed.decision
            if decision.kind == "refuse" and decision.request == request:
                raise RuleError(
                    "refused-by-officer",
                    where,
                    f"the officer of {self._name} refused it ({decision.reason})",
                    "change the policy",
                )
            if decision.kind != "approve":
                continue
            why = why_not(request, decision, now=now)
            if why is None and stored.revoked:
                raise RuleError(
                    "revoked", where, "its approval was revoked", f"ask the officer of {self._name}"
                )
            if why is None and stored.used < (decision.runs or 0):
                return signed
            if number == 0 or found.rule == "no-approval":  # what the newest approval lacks says most
                rule, words = why or ("runs-spent", f"its {decision.runs} approved runs are used up")
                found = ApprovalNeededError(rule, where, words, waits)
        if self._officer is None:
            raise found
        return self._approve_alone(request, draft, self._officer)

    def _approve_alone(self, request: Request, draft: Draft, officer: IdentityKey) -> SignedDecision:
        """Approve one run in the officer's name, where one machine stands for all; the decision says so."""
        decision = Decision(
            kind="approve",
            name=new_name(),
            request=request,
            decided=self._clock().replace(microsecond=0),
            by="one-machine",
            expires=draft.expires,
            runs=1,
        )
        signed = sign_decision(decision, officer)
        self._log.append(decided(signed))
        self._store.keep_decision(signed)
        return signed


def decided(signed: SignedDecision) -> Decided:
    """What the log says of a decision."""
    decision = signed.decision
    return Decided(
        kind=decision.kind,
        decision=signed.digest.hex(),
        request=decision.request.digest.hex(),
        policy=decision.request.policy,
        version=decision.request.version,
    )


def _requested(request: Request) -> Requested:
    return Requested(
        request=request.digest.hex(),
        policy=request.policy,
        version=request.version,
        recipient=request.recipient,
    )


def _use(right: Right, run_of: dict[bytes, int]) -> PolicyUse:
    request, approval = right.request, right.approval
    return PolicyUse(
        policy=request.policy,
        version=request.version,
        content=request.content,
        recipient=request.recipient,
        purpose=request.purpose,
        reveal=request.reveal,
        columns=tuple(column.name for column in right.columns),
        approval=None if approval is None else approval.digest.hex(),
        run=0 if approval is None else run_of[approval.digest],
    )
