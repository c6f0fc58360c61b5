"""A node's store and log in a backup, its start from one, and a new key for its store (docs/operations.md).

What an older store has forgotten must not be had a second time.  The log says which runs and budgets were used
since, and they are taken again; the rest is given up: jobs are closed, epochs forgotten, numbers of sealed messages
jump ahead, and what an officer refused or revoked since takes the approvals of that request with it.

The debits come last: until they are there, a store that is made safe where it is stands for what it is, an older
one (`require_whole`), and an interrupted `restore` is run again.
"""

import mmap
import secrets
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from veilmatch_evidence.actions import Decided, ServiceStarted, Started
from veilmatch_evidence.log import EvidenceLog, goes_on_from
from veilmatch_evidence.records import Record
from veilmatch_node.config import NodeConfig
from veilmatch_node.prepared import Prepared, prepare
from veilmatch_node.rights import Rules
from veilmatch_node.store import SCHEMA, DeskStore, NodeStore
from veilmatch_node.store.desk import Debited
from veilmatch_policy.budgets import ROWS, Cost, budget_groups
from veilmatch_policy.clock import utc_now
from veilmatch_transport import SettingsError, load_settings
from veilmatch_transport.backups import About, restoring, write_backup

_NEVER = datetime.max.replace(tzinfo=UTC)
# As a line of the log has them: quotation marks within texts are escaped.
_STARTED = b'"action":"started"'
_DECIDED = b'"action":"decided"'


@dataclass(frozen=True)
class Restored:
    """What a restored store has taken from the log: jobs that it did not know, and requests decided since."""

    jobs: int
    decided: int


def back_up(path: Path, to: Path) -> About:
    """Copy the store and the log of the node that a configuration file describes, whether or not it serves.

    Raises SettingsError.
    """
    config = load_settings(path, NodeConfig)
    return write_backup(to, party=config.name, store=config.store, schema=SCHEMA, log=config.log)


def restore(path: Path, source: Path | None, *, log_lost: bool) -> Restored:
    """Put a backup in the place of the store; without ``source`` the store was put there by other means.

    With ``log_lost`` nothing says what was used since: every approval is given up, and every budget of this year
    is spent.  Raises SettingsError, DirectoryError, CredentialError, PolicyError or LogError.
    """
    prepared = prepare(path)
    config = prepared.config
    with restoring(
        source,
        party=config.name,
        store=config.store,
        log=config.log,
        log_lost=log_lost,
        goes_on_from=goes_on_from,
    ) as places:
        store = NodeStore(places.store, prepared.vault)
        log = EvidenceLog(places.log, config.name, prepared.keys.identity)
        try:
            return _make_safe(store, log.records(), prepared, log_lost=log_lost)
        finally:
            log.close()
            store.close()


def require_whole(desk: DeskStore, log: Path) -> None:
    """Raise SettingsError where the newest job of a log that took something is not in the store: that is older."""
    started = next((each for each in _newest_started(log) if _took(each)), None)
    if started is not None and not desk.debited(bytes.fromhex(started.manifest)):
        raise SettingsError(
            "store: is older than the log, and would give again what was used since; run veilmatch node restore"
        )


def give_up_lost(desk: DeskStore, log: Path) -> int:
    """Give up the approvals of requests of which the log has a refusal or revocation that the store has not.

    A decision is in the log before it is in the store (desk.py), so an older store lacks it, and so does one whose
    officer's command ended in between.  The log does not hold the signed decision; without its approvals the request
    waits for the officer, and a job that rests on one stops.  Approvals that came after it stay.  How many were
    given up.
    """
    known = desk.decided()
    return desk.give_up_approvals(_lost(_decided(log), known))


def _make_safe(
    store: NodeStore, records: Iterable[Record], prepared: Prepared, *, log_lost: bool
) -> Restored:
    version, lost, decided = 0, list[Debited](), list[Decided]()
    for record in records:
        when, action = record.read() or (_NEVER, None)
        match action:
            case ServiceStarted():
                version = max(version, action.directory_version)
            case Started() if _took(action) and not store.desk.debited(bytes.fromhex(action.manifest)):
                lost.append(_as_logged(when, action))
            case Decided():
                decided.append(action)
    requests = _lost(decided, store.desk.decided())
    store.set_directory_version(version)
    store.close_expired(_NEVER)
    store.forget_people()
    store.jump_ahead()
    store.desk.give_up_approvals(None if log_lost else requests)
    store.desk.take_again([*lost, *([_everything(prepared)] if log_lost else [])])
    return Restored(len(lost), len(requests))


def _lost(decided: Iterable[Decided], known: Collection[bytes]) -> dict[bytes, set[bytes]]:
    """Requests of which a refusal or revocation is not `known`, each with the approvals since, all by their hashes.

    ``decided`` is in the order of the log.
    """
    lost: dict[bytes, set[bytes]] = {}
    for each in decided:
        request, decision = bytes.fromhex(each.request), bytes.fromhex(each.decision)
        if each.kind != "approve" and decision not in known:
            lost[request] = set()
        elif each.kind == "approve" and request in lost:
            lost[request].add(decision)
    return lost


def _as_logged(when: datetime, started: Started) -> Debited:
    """What a job took; in the log a budget with two windows stands twice."""
    return Debited(
        bytes.fromhex(started.manifest),
        bytes.fromhex(started.epoch),
        when,
        tuple(bytes.fromhex(policy.approval) for policy in started.policies if policy.approval is not None),
        tuple({Cost(each.kind, each.what, each.receiver, each.units) for each in started.debits}),
    )


def _everything(prepared: Prepared) -> Debited:
    """All that a year's budgets give to whoever may learn a result."""
    catalog, directory = prepared.catalog, prepared.directory
    rules = Rules(**prepared.config.budget.model_dump())
    household = [] if catalog.household is None else [catalog.household]
    groups = {
        *budget_groups(catalog).values(),
        *(f"{table}.{ROWS}" for table in catalog.tables),
        *(f"{table.name}.{listed.column}" for table, listed in household),
    }
    receivers = {*directory.nodes, directory.coordinator} - {prepared.config.name}
    most = {limit.kind: limit.most for limit in rules.limits if limit.window == "year"}
    costs = [
        cost
        for receiver in sorted(receivers)
        for cost in (
            *(Cost("runs", group, receiver, most["runs"]) for group in sorted(groups)),
            Cost("epsilon", "", receiver, most["epsilon"]),
        )
    ]
    in_a_manifests_place = secrets.token_bytes(32)
    return Debited(in_a_manifests_place, b"", utc_now(), (), tuple(costs))


def _took(started: Started) -> bool:
    """Whether a job took anything that the store must know."""
    return bool(started.debits) or any(policy.approval for policy in started.policies)


def _newest_started(log: Path) -> Iterator[Started]:
    """The jobs that a log says were started here, the newest first; without reading what is before the last asked."""
    if not log.stat().st_size:
        return
    with log.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        begins = len(text)
        while (found := text.rfind(_STARTED, 0, begins)) >= 0:
            begins = text.rfind(b"\n", 0, found) + 1
            match Record.decode(text[begins : text.find(b"\n", found)]).read():
                case (_, Started() as started):
                    yield started


def _decided(log: Path) -> Iterator[Decided]:
    """What a log says that the officer decided, the oldest first."""
    with log.open("rb") as file:
        for line in file:
            if _DECIDED in line and line.endswith(b"\n"):  # the officer's command may be writing one
                match Record.decode(line[:-1]).read():
                    case (_, Decided() as decided):
                        yield decided
