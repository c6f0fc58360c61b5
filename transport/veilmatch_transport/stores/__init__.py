"""Where a service keeps what must survive a crash: a SQLite file, or a schema of a PostgreSQL database.

protocol.md, 4.7 asks the same of both: a commit returns when it is on disk; transactions that read and then write
(ledgers, sequences, states) do not interleave; the store is one service's at a time.  What the two need for that is
in `sqlite` and `postgresql`; nothing above this package asks which of them it has.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, InstanceOf
from sqlalchemy import URL, Connection, Engine, Table, event, make_url
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.exc import ArgumentError

from veilmatch_transport.settings import SettingsError
from veilmatch_transport.stores import sqlite
from veilmatch_transport.stores.schema import Schema, bring_up, require_current

_POSTGRESQL = ("postgresql", "postgres")  # schemes, as libpq has them


def _address(written: object) -> object:
    """Tell a URL from a path, in a configuration file."""
    if not isinstance(written, str) or "://" not in written:
        return written
    try:
        url = make_url(written)
    except (ArgumentError, ValueError):  # whose text may quote a password
        url = None
    if url is None or url.drivername not in _POSTGRESQL:
        raise ValueError("is neither a path nor a postgresql:// URL; write one of the two")
    return url


__all__ = [
    "Schema",
    "StoreAddress",
    "durable_engine",
    "forget_erased",
    "insert_once",
    "shared_engine",
    "upsert",
]

StoreAddress = Annotated[Path | InstanceOf[URL], BeforeValidator(_address)]
"""The setting `store`: the path of a SQLite file, or a postgresql:// URL, which prints without its password."""


def durable_engine(address: Path | URL, schema: Schema) -> Engine:
    """Open, or make, a store whose committed transactions survive a power cut.

    The store is this engine's alone until ``dispose``, and the engine of no use afterwards: two services over one
    store would each believe what they remember of it.  A store of an earlier release is brought to this one's
    tables.  Raises SettingsError where another service has it, where it cannot be made, or is of a newer release;
    then and later StoreFailedError where file or database fail, or the engine was disposed.
    """
    engine: Engine = _kind(address).durable_engine(address)
    try:
        bring_up(engine, schema)
    except BaseException:
        engine.dispose()
        raise
    return engine


def shared_engine(address: Path | URL, schema: Schema) -> Engine:
    """Open a store beside the service that has it, for what keeps nothing of it in memory.

    Raises SettingsError where there is none yet, or it is another release's.
    """
    engine: Engine = _kind(address).shared_engine(address)
    try:
        require_current(engine, schema)
    except BaseException:
        engine.dispose()
        raise
    return engine


def forget_erased(engine: Engine) -> None:
    """Overwrite what was erased, where the store can: PostgreSQL cannot (docs/security.md)."""
    if engine.dialect.name == "sqlite":
        sqlite.forget_erased(engine)


def measure(engine: Engine, told: Callable[[float], None]) -> None:
    """Tell of every transaction how many seconds it took, with waiting for others and its commit."""
    event.listen(
        engine, "checkout", lambda _dbapi, record, _proxy: record.info.update(began=time.monotonic())
    )
    event.listen(engine, "checkin", lambda _dbapi, record: told(time.monotonic() - record.info["began"]))


def upsert(connection: Connection, table: Table, row: dict[str, Any]) -> None:
    """Insert a row, or replace the columns that it names in the row of the same primary key."""
    statement = _insert(connection, table).values(row)
    key = [column.name for column in table.primary_key]
    newer = {name: statement.excluded[name] for name in row if name not in key}
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=newer))


def insert_once(connection: Connection, table: Table, row: dict[str, Any]) -> None:
    """Insert a row unless there is one of the same primary key; that one stays as it is."""
    statement = _insert(connection, table).values(row)
    key = [column.name for column in table.primary_key]
    connection.execute(statement.on_conflict_do_nothing(index_elements=key))


def _insert(connection: Connection, table: Table) -> Any:
    """The insert of a connection's database, which knows what to do about a row that is there."""
    if connection.dialect.name == "sqlite":
        return Insert(table)
    from sqlalchemy.dialects.postgresql import Insert as Other  # noqa: PLC0415  as below

    return Other(table)


def _kind(address: Path | URL) -> Any:
    """The module that opens such a store."""
    if isinstance(address, Path):
        return sqlite
    try:
        from veilmatch_transport.stores import postgresql  # noqa: PLC0415  half a second that few need
    except ImportError:
        raise SettingsError("store: PostgreSQL needs psycopg; install psycopg[binary]") from None
    return postgresql
