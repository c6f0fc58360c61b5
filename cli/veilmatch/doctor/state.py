"""Store and log: both open beside a running service, the store is whole, the log's chain is unbroken."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from veilmatch.doctor.examination import Examined, Line, refused
from veilmatch.operator import OperatorConfig
from veilmatch_coordinator.config import CoordinatorConfig
from veilmatch_crypto import IdentityKey
from veilmatch_evidence.errors import EvidenceError
from veilmatch_evidence.log import EvidenceLog
from veilmatch_node.config import NodeConfig
from veilmatch_transport import Schema, SettingsError, TransportError, read_secret, shared_engine
from veilmatch_transport.health import Finding, degraded, failed, ok


def look(member: Examined) -> Iterator[Line]:
    """Look at the store, then at the log."""
    config = member.config
    if isinstance(config, OperatorConfig):
        return
    try:
        yield Line("store", _store(config, _schema(config)))
    except (SettingsError, TransportError) as error:
        yield Line("store", refused(error))
    try:
        identity = IdentityKey.from_bytes(read_secret(config.keys.identity, "identity", member.unlock))
        yield Line("log", _log(config.log, config.name, identity))
    except SettingsError:
        return  # the key's own line says why
    except EvidenceError as error:
        yield Line("log", refused(error))


def _store(config: NodeConfig | CoordinatorConfig, schema: Schema) -> Finding:
    where = config.store
    if isinstance(where, Path):
        if not where.exists():
            return degraded(f"{where} is not there yet", "start the service once")
        if where.stat().st_mode & 0o077:
            return failed(f"{where}: others can read it", f"run chmod 600 on {where}")
        whole = _whole(where)
        if whole is not None:
            return whole
    shared_engine(where, schema).dispose()  # takes a transaction, and requires this release's tables
    return ok(f"opens, tables of revision {schema.head}")


def _whole(path: Path) -> Finding | None:
    """None where SQLite finds nothing wrong.  Reads only: a service that runs goes on writing."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            [(said,)] = connection.execute("PRAGMA integrity_check(1)").fetchall()
    except sqlite3.Error:
        said = "no SQLite file"
    if said == "ok":
        return None
    # SQLite names pages and indices, and might name what is in them: not repeated.
    return failed(f"{path}: its integrity check fails", "stop the service and restore a backup")


def _log(path: Path, name: str, identity: IdentityKey) -> Finding:
    if not path.exists():
        return degraded(f"{path} is not there yet", "start the service once")
    log = EvidenceLog(path, name, identity)
    try:
        return ok(f"{log.head().sequence:,} records, unbroken")
    finally:
        log.close()


def _schema(config: NodeConfig | CoordinatorConfig) -> Schema:
    # A service's tables are its own, and load what it loads.
    if isinstance(config, NodeConfig):
        from veilmatch_node.store import SCHEMA  # noqa: PLC0415  see above
    else:
        from veilmatch_coordinator.store import SCHEMA  # noqa: PLC0415  see above
    return SCHEMA
