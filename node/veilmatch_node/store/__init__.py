"""What a node must remember after a crash, in one SQLite file or PostgreSQL schema (SQLAlchemy).

protocol.md, 4.7 shapes it: a manifest starts once, ever; the answers are frozen in the same
transaction; a ciphertext is on disk before it leaves and is resent from there, byte for byte;
closing a job erases its keys and bytes but not the fact that it ran.  A committed transaction survives a
power cut (veilmatch_transport.stores).
"""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import URL

from veilmatch_crypto import Vault
from veilmatch_node.store.base import metadata
from veilmatch_node.store.desk import DeskStore
from veilmatch_node.store.jobs import JobState, StoredChunk, StoredJob
from veilmatch_node.store.linkage import OUTPUTS, TAG_KEY, LinkageState, StoredEpoch
from veilmatch_node.store.relock import relock
from veilmatch_transport import Schema, durable_engine, measure

__all__ = [
    "OUTPUTS",
    "SCHEMA",
    "TAG_KEY",
    "DeskStore",
    "LinkageState",
    "NodeStore",
    "StoredChunk",
    "StoredEpoch",
    "StoredJob",
]

SCHEMA = Schema(metadata, head="0003", migrations=Path(__file__).with_name("migrations"))


class NodeStore(LinkageState, JobState):
    """The node's one store, open in one process at a time.  Every method is one transaction.

    ``desk`` is the data officer's part of it, which another process may open beside this one.
    """

    def __init__(self, address: Path | URL, vault: Vault) -> None:
        super().__init__(durable_engine(address, SCHEMA), vault)
        self.desk = DeskStore(self._engine)

    def relock(self, old: Vault, new: Vault) -> None:
        """Lock everything under another key.  Raises SealError, and changes nothing, where ``old`` does not open it."""
        relock(self._engine, old, new)

    def measure(self, told: Callable[[float], None]) -> None:
        """Tell of every transaction how many seconds it took."""
        measure(self._engine, told)

    def close(self) -> None:
        """Close the file, or the connections."""
        self._engine.dispose()
