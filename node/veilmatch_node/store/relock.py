"""All that a store keeps locked, locked under another key, in one transaction."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, Row, select, update

from veilmatch_crypto import Vault
from veilmatch_node.store.base import metadata
from veilmatch_transport import forget_erased

# Every locked column, with the place that its values are bound to (veilmatch_crypto.Vault).
_LOCKED: tuple[tuple[str, str, Callable[[Row[Any]], tuple[str | bytes | int, ...]]], ...] = (
    ("settings", "value", lambda row: ("settings", row.name)),
    ("epochs", "people", lambda row: ("epochs", row.context)),
    ("linked", "tags", lambda row: ("linked", row.context)),
    ("requests", "request", lambda row: ("requests", row.digest)),
    ("outputs", "outputs", lambda row: ("outputs", row.number)),
    ("jobs", "secrets", lambda row: ("jobs", row.manifest_sha256, "secrets")),
    ("jobs", "answers", lambda row: ("jobs", row.manifest_sha256, "answers")),
    ("jobs", "results", lambda row: ("jobs", row.manifest_sha256, "results")),
)


def relock(engine: Engine, old: Vault, new: Vault) -> None:
    """Unlock every value with ``old`` and lock it with ``new``.

    Raises SealError, and changes nothing, where one does not open.
    """
    with engine.begin() as connection:
        for name, locked, place in _LOCKED:
            table = metadata.tables[name]
            column = table.c[locked]
            keys = [each for each in table.c if each.primary_key or each.unique]
            for row in connection.execute(select(*keys).where(column.is_not(None))).all():
                this = [key == getattr(row, key.name) for key in keys]
                value = connection.execute(select(column).where(*this)).scalar_one()
                relocked = new.lock(place(row), old.unlock(place(row), value))
                connection.execute(update(table).where(*this).values({column: relocked}))
    forget_erased(engine)
