"""The desk beside a running node: what the officer's command line opens."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from veilmatch_crypto import IdentityKey
from veilmatch_evidence.log import EvidenceLog
from veilmatch_node.config import NodeConfig
from veilmatch_node.desk import Desk
from veilmatch_node.rights import Rules
from veilmatch_node.store import SCHEMA, DeskStore
from veilmatch_policy.catalog import load_catalog
from veilmatch_transport import load_settings, read_directory, read_passphrase, read_secret, shared_engine


@contextmanager
def open_desk(path: Path) -> Iterator[Desk]:
    """Open the desk of the node that a configuration file describes, whether or not the node runs.

    Raises SettingsError, DirectoryError, CatalogError or LogError.
    """
    config = load_settings(path, NodeConfig)
    unlock = read_passphrase(config.keys.unlock, path.parent)
    with ExitStack() as stack:
        engine = shared_engine(config.store, SCHEMA)
        stack.callback(engine.dispose)
        identity = IdentityKey.from_bytes(read_secret(config.keys.identity, "identity", unlock))
        log = EvidenceLog(config.log, config.name, identity)
        stack.callback(log.close)
        yield Desk(
            config.name,
            catalog=load_catalog(config.data.folder / "catalog.yaml"),
            directory=read_directory(config.federation, oldest=1),
            store=DeskStore(engine),
            log=log,
            rules=Rules(**config.budget.model_dump()),
        )
