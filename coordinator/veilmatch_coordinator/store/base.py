"""What all tables of the coordinator's store share, and its settings."""

from sqlalchemy import Column, Connection, Engine, Integer, MetaData, String, Table, select

from veilmatch_transport import upsert

metadata = MetaData()
_settings = Table(
    "settings", metadata, Column("name", String, primary_key=True), Column("value", Integer, nullable=False)
)


class StorePart:
    """One part of the store: its database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def directory_version(self) -> int:
        """Return the highest directory version seen, 1 at first."""
        with self._engine.begin() as connection:
            return self._directory_version(connection)

    def set_directory_version(self, version: int) -> None:
        """Record a directory version that was seen; the highest stays."""
        with self._engine.begin() as connection:
            highest = max(version, self._directory_version(connection))
            upsert(connection, _settings, {"name": "directory", "value": highest})

    @staticmethod
    def _directory_version(connection: Connection) -> int:
        return connection.scalar(select(_settings.c.value).where(_settings.c.name == "directory")) or 1
