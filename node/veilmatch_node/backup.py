"""A node's store and log in a backup, its start from one, and a new key for its store (docs/operations.md).

What an older store has forgotten must not be had a second time.  The log says which runs and budgets were used
since, and they are taken again; the rest is given up: jobs are closed, epochs forgotten, numbers of sealed messages
jump ahead, and what an officer refused or revoked since takes the approvals of that request with it.
"""

import mmap
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from veilmatch_evidence.actions import Decided, ServiceStarted, Started
from veilmatch_evidence.log import EvidenceLog, goes_on_from
from veilmatch_evidence.records import Record
from veilmatch_node.config import NodeConfig
from veilmatch_node.prepared import Prepared, prepare
from veilmatch_node.rights import Rules
from veilmatch_node.store import DIRECTORY_VERSION, SCHEMA, DeskStore, NodeStore
from veilmatch_node.store.desk import Debited
from veilmatch_policy.budgets import ROWS, Cost, budget_groups
from veilmatch_policy.clock import utc_now
from veilmatch_transport import SettingsError, load_settings
from veilmatch_transport.backups import About, restoring, write_backup

_NEVER = datetime.max.replace(tzinfo=UTC)
_STARTED = b'"action":"started"'  # as a line of the log has it: quotation marks within texts are escaped


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
    ) as place:
        store = NodeStore(place, prepared.vault)
        log = EvidenceLog(config.log, config.name, prepared.keys.identity)
        try:
            return _make_safe(store, log.records(), prepared, log_lost=log_lost)
        finally:
            log.close()
            store.close()


def require_whole(desk: DeskStore, log: Path) -> None:
    """Raise SettingsError where a log's newest job is not in the store: the store is older than the log."""
    started = _newest_started(log)
    if started is None:
        return
    took = started.debits or any(policy.approval for policy in started.policies)
    if took and not desk.debited(bytes.fromhex(started.manifest)):
        raise SettingsError(
            "store: is older than the log, and would give again what was used since; run veilmatch node restore"
        )


def _make_safe(
    store: NodeStore, records: Iterable[Record], prepared: Prepared, *, log_lost: bool
) -> Restored:
    version, lost, decided = 0, list[Debited](), set[bytes]()
    known = store.desk.decided()
    for record in records:
        when, action = record.read() or (_NEVER, None)
        match action:
            case ServiceStarted():
                version = max(version, action.directory_version)
            case Started() if not store.desk.debited(bytes.fromhex(action.manifest)):
                lost.append(_as_logged(when, action))
            case Decided() if action.kind != "approve" and bytes.fromhex(action.decision) not in known:
                decided.add(bytes.fromhex(action.request))
    store.desk.take_again([*lost, *([_everything(prepared)] if log_lost else [])])
    store.desk.give_up_approvals(None if log_lost else decided)
    store.close_expired(_NEVER)
    store.forget_people()
    store.jump_ahead()
    seen = store.setting(DIRECTORY_VERSION)
    if version > (0 if seen is None else int.from_bytes(seen, "big")):
        store.set_setting(DIRECTORY_VERSION, version.to_bytes(8, "big"))
    return Restored(len(lost), len(decided))


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


def _newest_started(log: Path) -> Started | None:
    """The newest job that a log says was started here; without reading what is before it."""
    if not log.stat().st_size:
        return None
    with log.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        found = text.rfind(_STARTED)
        if found < 0:
            return None
        line = text[text.rfind(b"\n", 0, found) + 1 : text.find(b"\n", found)]
    read = Record.decode(line).read()
    return read[1] if read is not None and isinstance(read[1], Started) else None
