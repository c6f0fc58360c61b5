"""The coordinator's store and log in a backup, and its start from one (docs/operations.md).

What an older store has forgotten must not be had a second time: its epochs are forgotten, so that nothing is counted
again in one of them, and jobs that had not ended are cancelled, whatever became of them since.
"""

from pathlib import Path

from veilmatch_coordinator.config import CoordinatorConfig
from veilmatch_coordinator.queue import State
from veilmatch_coordinator.store import SCHEMA, CoordinatorStore
from veilmatch_crypto import IdentityKey
from veilmatch_evidence.actions import ServiceStarted
from veilmatch_evidence.log import EvidenceLog, goes_on_from
from veilmatch_policy.clock import utc_now
from veilmatch_transport import load_settings, read_passphrase, read_secret
from veilmatch_transport.backups import About, restoring, write_backup

_REASON = "coordinator: its store was restored from a backup; submit the job again"


def back_up(path: Path, to: Path) -> About:
    """Copy the store and the log of the coordinator that a configuration file describes, whether or not it serves.

    Raises SettingsError.
    """
    config = load_settings(path, CoordinatorConfig)
    return write_backup(to, party=config.name, store=config.store, schema=SCHEMA, log=config.log)


def restore(path: Path, source: Path | None, *, log_lost: bool) -> int:
    """Put a backup in the place of the store; without ``source`` the store was put there by other means.

    Returns how many jobs ended by that.  Raises SettingsError or LogError.
    """
    config = load_settings(path, CoordinatorConfig)
    unlock = read_passphrase(config.keys.unlock, path.parent)
    identity = IdentityKey.from_bytes(read_secret(config.keys.identity, "identity", unlock))
    with restoring(
        source,
        party=config.name,
        store=config.store,
        log=config.log,
        log_lost=log_lost,
        goes_on_from=goes_on_from,
    ) as places:
        store = CoordinatorStore(places.store)
        log = EvidenceLog(places.log, config.name, identity)
        try:
            return _make_safe(store, log)
        finally:
            log.close()
            store.close()


def _make_safe(store: CoordinatorStore, log: EvidenceLog) -> int:
    version = store.directory_version()
    for record in log.records():
        match record.read():
            case (_, ServiceStarted() as started):
                version = max(version, started.directory_version)
    store.set_directory_version(version)
    store.forget_epochs()
    unended = store.open_submissions()
    for submission in unended:
        store.save_submission(submission.end(State.CANCELLED, _REASON, 5, utc_now()))
    return len(unended)
