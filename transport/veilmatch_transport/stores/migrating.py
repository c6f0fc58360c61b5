"""Alembic over one connection, without a file on the owner's disk; loaded only where a store must be upgraded."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from veilmatch_transport.stores.schema import Schema


def revisions(schema: Schema) -> frozenset[str]:
    """Every revision that this release knows, from the first to the schema's newest."""
    script = ScriptDirectory.from_config(_config(schema))
    return frozenset(each.revision for each in script.walk_revisions("base", schema.head))


def upgrade(connection: Connection, schema: Schema, found: str) -> None:
    """Bring the tables from the revision ``found`` to the newest, in the connection's transaction."""
    config = _config(schema)
    config.attributes["connection"] = connection
    command.stamp(config, found)
    command.upgrade(config, schema.head)


def _config(schema: Schema) -> Config:
    config = Config()
    for option, value in {
        "script_location": Path(__file__).with_name("alembic"),
        "version_locations": schema.migrations,
        "path_separator": "newline",
    }.items():
        config.set_main_option(option, str(value).replace("%", "%%"))
    return config
