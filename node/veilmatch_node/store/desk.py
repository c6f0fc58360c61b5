"""What the data officer's desk remembers: requests, decisions, which jobs used them, what budgets lost.

protocol.md, 7: runs and budgets are debited, on disk, before data is read, in one transaction, so that of
two jobs that race for the last unit one is refused.  Nothing here is about any person, and nothing is
kept in memory: the officer's command line works on the same file as the running node.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    String,
    Table,
    and_,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy.exc import IntegrityError

from veilmatch_node.errors import ApprovalSpentError, BudgetSpentError, JobRefusedError, RuleError
from veilmatch_node.store.base import metadata, sortable
from veilmatch_node.store.desk_requests import DeskRequests
from veilmatch_node.store.linkage import epochs
from veilmatch_policy.approvals import SignedDecision
from veilmatch_policy.budgets import Cost
from veilmatch_transport import insert_once

YEAR = timedelta(days=365)  # the window of a yearly budget rolls

Window = Literal["epoch", "year"]

_others = Table(
    "desk_others",
    metadata,
    # What other departments' officers decided about a policy of this content.
    Column("content", String, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("statement", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)
_decisions = Table(
    "desk_decisions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    # Sorts by time: what was signed last holds, however it came here.
    Column("decided", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("policy", String, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("revokes", LargeBinary),
    Column("statement", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)
_uses = Table(
    "desk_uses",
    metadata,
    Column("approval", LargeBinary, primary_key=True),
    Column("manifest_sha256", LargeBinary, primary_key=True),
)
# Millionths of epsilon pass 32 bits; in SQLite no integer is that short.
_Units = BigInteger().with_variant(Integer, "sqlite")
_debits = Table(
    "desk_debits",
    metadata,
    Column("manifest_sha256", LargeBinary, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("what", String, primary_key=True),
    Column("receiver", String, primary_key=True),
    Column("units", _Units, nullable=False),
    Column("epoch", LargeBinary, nullable=False),
    Column("day", String, nullable=False),
)


@dataclass(frozen=True)
class StoredDecision:
    """A decision's statement and signature, how many jobs used it, and whether it was revoked since."""

    statement: bytes
    signature: bytes
    used: int = 0
    revoked: bool = False


@dataclass(frozen=True)
class Limit:
    """The most that a budget of one kind gives in a window."""

    kind: Literal["runs", "epsilon"]
    window: Window
    most: int


@dataclass(frozen=True)
class Spent:
    """What a budget has lost in a window, the job in hand included."""

    cost: Cost
    window: Window
    spent: int
    most: int


@dataclass(frozen=True)
class Debited:
    """What a job took from this department when it started: runs of approvals (their hashes), and of budgets."""

    manifest: bytes
    epoch: bytes
    when: datetime
    approvals: tuple[bytes, ...]
    costs: tuple[Cost, ...]


class DeskStore(DeskRequests):
    """The desk's tables.  Every method is one transaction."""

    # Decisions.

    def keep_decision(self, signed: SignedDecision) -> None:
        """Keep a decision of this department's officer; the same one again changes nothing."""
        decision = signed.decision
        row = {
            "digest": signed.digest,
            "decided": decision.decided.astimezone(UTC).isoformat(timespec="microseconds"),
            "kind": decision.kind,
            "policy": decision.request.policy,
            "request": decision.request.digest,
            "revokes": None if decision.revokes is None else bytes.fromhex(decision.revokes),
            "statement": signed.statement,
            "signature": signed.signature,
        }
        with self._engine.begin() as connection:
            insert_once(connection, _decisions, row)

    def decisions(self, policy: str | None = None) -> list[StoredDecision]:
        """Return the officer's decisions, or those about policies of one name, the newest first."""
        revoking = _decisions.alias("revoking")
        used = select(func.count()).where(_uses.c.approval == _decisions.c.digest).scalar_subquery()
        revoked = select(func.count()).where(revoking.c.revokes == _decisions.c.digest).scalar_subquery()
        wanted = select(
            _decisions.c.statement, _decisions.c.signature, used.label("used"), revoked.label("revoked")
        )
        if policy is not None:
            wanted = wanted.where(_decisions.c.policy == policy)
        with self._engine.begin() as connection:
            rows = connection.execute(wanted.order_by(_decisions.c.decided.desc())).all()
        return [StoredDecision(row.statement, row.signature, row.used, row.revoked > 0) for row in rows]

    def keep_other(self, signed: SignedDecision) -> None:
        """Keep what another department's officer decided."""
        row = {
            "content": signed.decision.request.content,
            "digest": signed.digest,
            "statement": signed.statement,
            "signature": signed.signature,
        }
        with self._engine.begin() as connection:
            insert_once(connection, _others, row)

    def others(self, content: str) -> list[StoredDecision]:
        """Return what other departments' officers decided about a policy of this content."""
        with self._engine.begin() as connection:
            rows = connection.execute(select(_others).where(_others.c.content == content)).all()
        return [StoredDecision(row.statement, row.signature) for row in rows]

    # Jobs.

    def debit(
        self,
        manifest: bytes,
        epoch: bytes,
        *,
        now: datetime,
        approvals: Sequence[SignedDecision],
        costs: Sequence[Cost],
        limits: Sequence[Limit],
    ) -> tuple[tuple[int, ...], tuple[Spent, ...]]:
        """Take a job's runs and budgets, all or nothing, before its data is read.

        Returns which run of each approval this is, and what each budget has lost then.  Raises
        ApprovalSpentError or BudgetSpentError where one is used up, RuleError for an approval that was revoked or
        refused since, JobRefusedError for a manifest that was debited before.
        """
        with self._engine.begin() as connection:
            runs = tuple(self._use(connection, approval, manifest) for approval in approvals)
            spent = tuple(
                line
                for cost in costs
                for line in self._spent(connection, cost, epoch, now, limits, units=cost.units)
            )
            for line in spent:
                if line.spent > line.most:
                    raise BudgetSpentError(line.cost, line.window, line.spent - line.cost.units, line.most)
            rows = [_debit(manifest, epoch, now, cost) for cost in costs]
            try:
                if rows:
                    connection.execute(insert(_debits), rows)
            except IntegrityError:
                raise JobRefusedError(
                    "job", "its manifest was used here before", "submit the job again for new ones"
                ) from None
        return runs, spent

    def spent(self, cost: Cost, epoch: bytes, *, now: datetime, limits: Sequence[Limit]) -> tuple[Spent, ...]:
        """Return what the budgets that ``cost`` would be taken from have lost so far, without it."""
        with self._engine.begin() as connection:
            return tuple(self._spent(connection, cost, epoch, now, limits, units=0))

    def budgets(self, *, now: datetime) -> list[Cost]:
        """Return every budget that lost something within the year, with what it lost."""
        columns = (_debits.c.kind, _debits.c.what, _debits.c.receiver)
        since = _debits.c.day > sortable(now - YEAR)
        summed = select(*columns, _sum(_debits.c.units).label("units")).where(since).group_by(*columns)
        with self._engine.begin() as connection:
            rows = connection.execute(summed.order_by(*columns)).all()
        return [Cost(row.kind, row.what, row.receiver, row.units) for row in rows]

    def next_free(self, cost: Cost, *, now: datetime) -> datetime | None:
        """Return when the oldest debit of a yearly budget leaves the window; None where there is none."""
        this = and_(*_same(cost), _debits.c.day > sortable(now - YEAR))
        with self._engine.begin() as connection:
            oldest = connection.scalar(select(func.min(_debits.c.day)).where(this))
        return None if oldest is None else datetime.fromisoformat(oldest) + YEAR

    def newest_epoch(self) -> bytes | None:
        """Return the context of the newest linked epoch; None before the first."""
        with self._engine.begin() as connection:
            newest = select(epochs.c.context).where(epochs.c.people.is_not(None))
            context: bytes | None = connection.scalar(newest)
        return context

    def revoked(self, manifest: bytes) -> bool:
        """Whether an approval that a started job rests on was revoked since, or given up."""
        revoking = _decisions.alias("revoking")
        rests = select(func.count()).where(_uses.c.manifest_sha256 == manifest)
        revoked = select(revoking.c.digest).where(revoking.c.revokes == _uses.c.approval).exists()
        held = select(_decisions.c.digest).where(_decisions.c.digest == _uses.c.approval).exists()
        with self._engine.begin() as connection:
            return (connection.scalar(rests.where(or_(revoked, ~held))) or 0) > 0

    # After a backup was restored (backup.py).

    def debited(self, manifest: bytes) -> bool:
        """Whether this store knows that a manifest took something."""
        took = (_debits.c.manifest_sha256 == manifest, _uses.c.manifest_sha256 == manifest)
        with self._engine.begin() as connection:
            return any(connection.scalar(select(func.count()).where(which)) for which in took)

    def decided(self) -> frozenset[bytes]:
        """Return the hashes of all decisions of this department's officer."""
        with self._engine.begin() as connection:
            return frozenset(connection.scalars(select(_decisions.c.digest)))

    def take_again(self, jobs: Sequence[Debited]) -> None:
        """Debit what jobs took that this store does not know of, whatever its limits are now."""
        with self._engine.begin() as connection:
            for job in jobs:
                for approval in job.approvals:
                    insert_once(connection, _uses, {"approval": approval, "manifest_sha256": job.manifest})
                for cost in job.costs:
                    insert_once(connection, _debits, _debit(job.manifest, job.epoch, job.when, cost))

    def give_up_approvals(self, requests: Mapping[bytes, Collection[bytes]] | None) -> int:
        """Erase the approvals of these requests but for some of each, all by their hashes; None: all.  How many."""
        given = delete(_decisions).where(_decisions.c.kind == "approve")
        which = (
            [given]
            if requests is None
            else [
                given.where(_decisions.c.request == request, _decisions.c.digest.not_in(kept))
                for request, kept in requests.items()
            ]
        )
        with self._engine.begin() as connection:
            return sum(connection.execute(each).rowcount for each in which)

    @staticmethod
    def _use(connection: Connection, approval: SignedDecision, manifest: bytes) -> int:
        """Take one run of an approval; which one it is, from 1."""
        digest, most = approval.digest, approval.decision.runs or 0
        if connection.scalar(select(_decisions.c.digest).where(_decisions.c.revokes == digest).limit(1)):
            raise RuleError("revoked", "approval", "was revoked", "ask its officer, and submit the job again")
        decided = approval.decision.decided.astimezone(UTC).isoformat(timespec="microseconds")
        against = and_(
            _decisions.c.kind == "refuse",
            _decisions.c.request == approval.decision.request.digest,
            _decisions.c.decided > decided,
        )
        if connection.scalar(select(_decisions.c.digest).where(against).limit(1)):
            raise RuleError(
                "refused-by-officer",
                approval.decision.request.policy,
                "was refused since it was approved",
                "ask its officer, and submit the job again",
            )
        used = connection.scalar(select(func.count()).where(_uses.c.approval == digest)) or 0
        if used >= most:
            raise ApprovalSpentError(approval.decision.request.policy, most)
        try:
            connection.execute(insert(_uses).values(approval=digest, manifest_sha256=manifest))
        except IntegrityError:
            raise JobRefusedError(
                "job", "its manifest was used here before", "submit the job again for new ones"
            ) from None
        return used + 1

    @staticmethod
    def _spent(
        connection: Connection,
        cost: Cost,
        epoch: bytes,
        now: datetime,
        limits: Sequence[Limit],
        *,
        units: int,
    ) -> list[Spent]:
        lines = []
        for limit in limits:
            if limit.kind != cost.kind:
                continue
            within = (
                _debits.c.epoch == epoch if limit.window == "epoch" else _debits.c.day > sortable(now - YEAR)
            )
            summed = select(func.coalesce(_sum(_debits.c.units), 0)).where(*_same(cost), within)
            lines.append(Spent(cost, limit.window, (connection.scalar(summed) or 0) + units, limit.most))
        return lines


def _debit(manifest: bytes, epoch: bytes, when: datetime, cost: Cost) -> dict[str, object]:
    return {
        "manifest_sha256": manifest,
        "kind": cost.kind,
        "what": cost.what,
        "receiver": cost.receiver,
        "units": cost.units,
        "epoch": epoch,
        "day": sortable(when),
    }


def _same(cost: Cost) -> tuple[ColumnElement[bool], ...]:
    return _debits.c.kind == cost.kind, _debits.c.what == cost.what, _debits.c.receiver == cost.receiver


def _sum(units: ColumnElement[int]) -> ColumnElement[int]:
    return cast(func.sum(units), BigInteger)  # PostgreSQL adds them up as a decimal
