"""The citizen's view: which policies used a person's row here, from this node's log (docs/disclosures.md).

The log says over which epoch each job ran, and no more of anybody.  A job evaluates the rows of all people
whom its epoch linked, so it used this person's row where the person is among them (linked.py).  Of the
question nothing is kept but that one was answered.
"""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import pyarrow as pa

from veilmatch_evidence.actions import (
    Closed,
    Contributed,
    Delivered,
    Disclosed,
    PolicyUse,
    Presented,
    Refused,
    Started,
    ToldHouseholds,
)
from veilmatch_evidence.log import EvidenceLog
from veilmatch_node.errors import DataError
from veilmatch_node.identifiers import linkage_inputs, normalise
from veilmatch_node.linked import is_linked
from veilmatch_node.store import TAG_KEY, DeskStore, LinkageState
from veilmatch_policy.approvals import Decision
from veilmatch_policy.catalog import Catalog

Role = Literal["recipient", "contributor", "household-register"]


@dataclass(frozen=True)
class Approval:
    """By what right a policy ran: the approval's SHA-256 (hex), and which of its runs this was.

    ``signed_by`` ("one-machine": whoever ran a federation alone, in the officer's name) and ``expires`` are None
    where the approval itself is not in this node's store any more.
    """

    digest: str
    run: int
    signed_by: Literal["officer", "one-machine"] | None
    expires: datetime | None


@dataclass(frozen=True)
class Use:
    """One policy of one job that evaluated the person's row here.

    ``columns`` were read.  ``approval`` is None where everything that was read is open.  ``reveal``: whether
    the recipient learns who is eligible ("members"), or the office how many are ("count").  ``left``: whether
    anything left this department, encrypted answers or, at the recipient, who is asked about.  ``delivered``:
    whether the result was written here, which only a recipient that learns members does.  ``refused`` is the
    rule by which this node broke the job off, and ``closed`` whether its keys were erased here.
    """

    started: datetime
    job: str
    policy: str
    version: int
    recipient: str
    purpose: str
    roles: tuple[Role, ...]
    columns: tuple[str, ...]
    approval: Approval | None
    reveal: Literal["members", "count"]
    left: bool
    delivered: bool
    refused: str | None
    closed: bool


@dataclass(frozen=True)
class Answer:
    """What a person is told: the uses, oldest first, and since when the log knows.

    ``not_remembered`` jobs ran over epochs of which this node's store does not know whom they linked.
    """

    department: str
    since: datetime
    uses: tuple[Use, ...]
    not_remembered: int


@dataclass
class _Run:
    """A started job, and what the log says of it since."""

    started: datetime
    record: Started
    contributed: bool = False
    told: bool = False
    presented: set[int] = field(default_factory=set)
    delivered: set[str] = field(default_factory=set)
    refused: str | None = None
    closed: bool = False


class Disclosures:
    """What one department's front desk can say.  It keeps nothing, so it may be open beside the running node."""

    def __init__(
        self, name: str, *, catalog: Catalog, linkage: LinkageState, desk: DeskStore, log: EvidenceLog
    ) -> None:
        self._name = name
        self._catalog = catalog
        self._linkage = linkage
        self._desk = desk
        self._log = log

    def of(self, identifier: bytes) -> Answer:
        """Answer for a person; ``identifier`` is as somebody wrote it, UTF-8, without a line break.

        It is looked up under every scheme of the catalog that accepts it.  That an answer was given is on
        record first.  Raises DataError, without the identifier, where no scheme accepts it, and LogError
        where the log takes nothing more: then nothing is told.
        """
        inputs = self._inputs(identifier)
        self._log.append(Disclosed())
        since, runs = self._runs()
        linked = {epoch: self._linked(epoch, inputs) for epoch in {run.record.epoch for run in runs}}
        approvals = self._approvals()
        uses = [use for run in runs if linked[run.record.epoch] for use in self._uses(run, approvals)]
        not_remembered = sum(linked[run.record.epoch] is None for run in runs)
        return Answer(self._name, since, tuple(uses), not_remembered)

    def _inputs(self, identifier: bytes) -> list[bytes]:
        """The person's linkage inputs under the schemes of the catalog's tables."""
        try:
            cell = pa.array([identifier.decode()], pa.string())
        except UnicodeDecodeError:
            raise _refused(["not UTF-8"]) from None
        inputs, refused = [], []
        for scheme in dict.fromkeys(table.identifier for table in self._catalog.tables.values()):
            normal = normalise(cell, scheme)
            if normal.reasons.null_count:
                inputs += linkage_inputs(normal.forms, scheme.scheme).to_pylist()
            else:
                refused += [f"{scheme.scheme}: {reason}" for reason in normal.reasons.to_pylist()]
        if refused and not inputs:
            raise _refused(refused)
        return inputs

    def _linked(self, epoch: str, inputs: Sequence[bytes]) -> bool | None:
        """Whether an epoch linked the person; None where it is not remembered whom it linked."""
        tags, key = self._linkage.linked(bytes.fromhex(epoch)), self._linkage.setting(TAG_KEY)
        return None if tags is None or key is None else is_linked(tags, key, inputs)

    def _runs(self) -> tuple[datetime, list[_Run]]:
        """The time of the log's first record, and every job that started here, oldest first."""
        entries = (entry for record in self._log.records() if (entry := record.read()) is not None)
        first = next(entries)  # the log has this answer's at least
        runs: dict[str, _Run] = {}  # by manifest
        newest: dict[str, _Run] = {}  # by job: a refusal names no manifest
        for time, action in itertools.chain([first], entries):
            match action:
                case Started(manifest=manifest, job=job):
                    runs[manifest] = newest[job] = _Run(time, action)
                case Contributed(manifest=manifest) if manifest in runs:
                    runs[manifest].contributed = True
                case ToldHouseholds(manifest=manifest) if manifest in runs:
                    runs[manifest].told = True
                case Presented(manifest=manifest, policy=number) if manifest in runs:
                    runs[manifest].presented.add(number)
                case Delivered(manifest=manifest, policy=name) if manifest in runs:
                    runs[manifest].delivered.add(name)
                case Closed(manifest=manifest) if manifest in runs:
                    runs[manifest].closed = True
                case Refused(job=str(job), rule=rule) if job in newest:
                    newest[job].refused = newest[job].refused or rule
        return first[0], list(runs.values())

    def _approvals(self) -> Mapping[str, Decision]:
        """This department's decisions by hash: the log has the hash, so no signature is verified again."""
        return {
            hashlib.sha256(stored.statement).hexdigest(): Decision.model_validate_json(stored.statement)
            for stored in self._desk.decisions()
        }

    def _uses(self, run: _Run, approvals: Mapping[str, Decision]) -> Iterator[Use]:
        """The policies of a job that this department had a part in beside dealing."""
        for number, use in enumerate(run.record.policies):
            receives = use.recipient == self._name
            # `count(*)` and the household register read rows without a column of the catalog.
            if not (receives or use.columns or use.approval or run.contributed or run.told):
                continue
            yield Use(
                started=run.started,
                job=run.record.job,
                policy=use.policy,
                version=use.version,
                recipient=use.recipient,
                purpose=use.purpose,
                roles=tuple(_roles(run, use, receives=receives)),
                columns=use.columns,
                approval=_approval(use, approvals),
                reveal=use.reveal,
                left=run.contributed or run.told or number in run.presented,
                delivered=use.policy in run.delivered,
                refused=run.refused,
                closed=run.closed,
            )


def _roles(run: _Run, use: PolicyUse, *, receives: bool) -> Iterator[Role]:
    if receives:
        yield "recipient"
    elif use.columns or run.contributed or not run.told:
        yield "contributor"
    if run.told:
        yield "household-register"


def _approval(use: PolicyUse, approvals: Mapping[str, Decision]) -> Approval | None:
    if use.approval is None:
        return None
    decision = approvals.get(use.approval)
    if decision is None:
        return Approval(use.approval, use.run, None, None)
    return Approval(use.approval, use.run, decision.by, decision.expires)


def _refused(reasons: Sequence[str]) -> DataError:
    return DataError("identifier", f"is refused ({'; '.join(reasons)})", "read it again from the document")
