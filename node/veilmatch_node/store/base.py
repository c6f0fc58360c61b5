"""The parts that all tables of a node's store share, and its settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Column, Connection, Engine, LargeBinary, MetaData, String, Table, select

from veilmatch_crypto import Vault
from veilmatch_node.errors import StoreError
from veilmatch_transport import insert_once, upsert

metadata = MetaData()
settings = Table(
    "settings",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
_DIRECTORY_VERSION = "directory-version"  # the setting that holds the highest directory version seen


class VaultStore:
    """One part of the store: its database, and the vault that locks what it keeps."""

    def __init__(self, engine: Engine, vault: Vault) -> None:
        self._engine = engine
        self._vault = vault

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection

    # Settings: the directory's version, keys that this node drew.

    def setting(self, name: str) -> bytes | None:
        """Return a setting, or None where it was never set."""
        with self._transaction() as connection:
            return self._setting(connection, name)

    def set_setting(self, name: str, value: bytes) -> None:
        """Set a setting, replacing what it was."""
        locked = self._vault.lock(("settings", name), value)
        with self._transaction() as connection:
            upsert(connection, settings, {"name": name, "value": locked})

    def setting_once(self, name: str, drawn: bytes) -> bytes:
        """Set a setting unless it was ever set, and return what it is: the same to all who ask at once."""
        locked = self._vault.lock(("settings", name), drawn)
        with self._transaction() as connection:
            insert_once(connection, settings, {"name": name, "value": locked})
            value = self._setting(connection, name)
        if value is None:
            raise StoreError(name, "cannot be kept", "look at the store's disk")
        return value

    def directory_version(self) -> int:
        """Return the highest directory version seen, 1 at first."""
        with self._transaction() as connection:
            return self._directory_version(connection)

    def set_directory_version(self, version: int) -> None:
        """Record a directory version that was seen; the highest stays."""
        with self._transaction() as connection:
            highest = max(version, self._directory_version(connection)).to_bytes(8, "big")
            locked = self._vault.lock(("settings", _DIRECTORY_VERSION), highest)
            upsert(connection, settings, {"name": _DIRECTORY_VERSION, "value": locked})

    def _directory_version(self, connection: Connection) -> int:
        seen = self._setting(connection, _DIRECTORY_VERSION)
        return 1 if seen is None else int.from_bytes(seen, "big")

    def _setting(self, connection: Connection, name: str) -> bytes | None:
        value = connection.scalar(select(settings.c.value).where(settings.c.name == name))
        return None if value is None else self._vault.unlock(("settings", name), value)


def sortable(moment: datetime) -> str:
    """A moment as text that sorts by time: UTC, whole seconds."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")
