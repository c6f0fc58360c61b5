"""The version of a store's tables, and how a store of an earlier release comes to this one's (alembic).

A new store is made whole, and marked with the newest revision; only a store that has another mark is worth
loading alembic.  Release 0.1.0 wrote no mark: what it left is revision `FIRST`.
"""

from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, insert, inspect, select

from veilmatch_transport.settings import SettingsError
from veilmatch_transport.stores import sqlite

FIRST = "0001"

_log = structlog.get_logger(__name__)
# Alembic's own.
_mark = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


@dataclass(frozen=True)
class Schema:
    """The tables of a service's store; ``head`` is the newest revision in the folder ``migrations``."""

    tables: MetaData
    head: str
    migrations: Path


def bring_up(engine: Engine, schema: Schema) -> None:
    """Make the tables of a new store, or bring an earlier release's to this one's, in one transaction.

    A SQLite file is copied first, beside itself, as ``FILE.before-REVISION``.  Raises SettingsError for a store of
    a newer release.
    """
    with engine.begin() as connection:
        found = _revision(connection, schema)
        if found is None:
            schema.tables.create_all(connection, checkfirst=False)  # looking takes as long as making them
            _mark.create(connection)
            connection.execute(insert(_mark).values(version_num=schema.head))
            return
    if found == schema.head:
        return
    from veilmatch_transport.stores import migrating  # noqa: PLC0415  alembic: a second that only an upgrade needs

    if found not in migrating.revisions(schema):
        raise SettingsError(
            f"{_name(engine)}: the store is of a newer release (its revision is {found}, this one's {schema.head}); "
            "install that release again, or restore a backup of this one's"
        )
    if engine.dialect.name == "sqlite":
        file = Path(str(engine.url.database))
        sqlite.copy(engine, file.with_name(f"{file.name}.before-{schema.head}"))
    with engine.begin() as connection:
        migrating.upgrade(connection, schema, found)
    _log.info("store upgraded", before=found, now=schema.head)


def require_current(engine: Engine, schema: Schema) -> None:
    """Raise SettingsError unless a store has exactly this release's tables."""
    with engine.begin() as connection:
        found = _revision(connection, schema)
    if found is None:
        raise SettingsError(f"{_name(engine)}: there is no store yet; start the service once")
    if found != schema.head:
        raise SettingsError(
            f"{_name(engine)}: the store is of another release; start the service of this release once"
        )


def _revision(connection: Connection, schema: Schema) -> str | None:
    """Which revision a store is, None where it has no tables yet."""
    there = set(inspect(connection).get_table_names())
    if _mark.name in there:
        return connection.scalar(select(_mark.c.version_num))
    return FIRST if there & schema.tables.tables.keys() else None


def _name(engine: Engine) -> str:
    return str(engine.url.database) if engine.dialect.name == "sqlite" else "store"
