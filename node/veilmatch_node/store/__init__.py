"""What a node must remember after a crash, in one SQLite file (SQLAlchemy).

protocol.md, 4.7 shapes it: a manifest starts once, ever; the answers are frozen in the same
transaction; a ciphertext is on disk before it leaves and is resent from there, byte for byte;
closing a job erases its keys and bytes but not the fact that it ran.  SQLite runs with
``synchronous=FULL``: a committed transaction survives a power cut.
"""

from pathlib import Path

from veilmatch_crypto import Vault
from veilmatch_node.store.base import metadata
from veilmatch_node.store.desk import DeskStore
from veilmatch_node.store.jobs import JobState, StoredChunk, StoredJob
from veilmatch_node.store.linkage import OUTPUTS, TAG_KEY, LinkageState, StoredEpoch
from veilmatch_transport import durable_engine

__all__ = [
    "OUTPUTS",
    "TAG_KEY",
    "DeskStore",
    "LinkageState",
    "NodeStore",
    "StoredChunk",
    "StoredEpoch",
    "StoredJob",
]


class NodeStore(LinkageState, JobState):
    """The node's one store, open in one process at a time.  Every method is one transaction.

    ``desk`` is the data officer's part of it, which another process may open beside this one.
    """

    def __init__(self, path: Path, vault: Vault) -> None:
        super().__init__(durable_engine(path), vault)
        metadata.create_all(self._engine)
        self.desk = DeskStore(self._engine)

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()
