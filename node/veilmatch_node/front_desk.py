"""The citizen's view beside a running node: what the front desk's command line opens."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from veilmatch_crypto import IdentityKey, Vault
from veilmatch_evidence.log import EvidenceLog
from veilmatch_node.config import NodeConfig
from veilmatch_node.disclosures import Disclosures
from veilmatch_node.store import SCHEMA, DeskStore, LinkageState
from veilmatch_policy.catalog import load_catalog
from veilmatch_transport import load_settings, read_passphrase, read_secret, shared_engine


@contextmanager
def open_disclosures(path: Path) -> Iterator[Disclosures]:
    """Open the front desk of the node that a configuration file describes, whether or not the node runs.

    Raises SettingsError, CatalogError or LogError.
    """
    config = load_settings(path, NodeConfig)
    unlock = read_passphrase(config.keys.unlock, path.parent)
    vault = Vault(read_secret(config.keys.store, "store", unlock))
    identity = IdentityKey.from_bytes(read_secret(config.keys.identity, "identity", unlock))
    catalog = load_catalog(config.data.folder / "catalog.yaml")
    with ExitStack() as stack:
        engine = shared_engine(config.store, SCHEMA)
        stack.callback(engine.dispose)
        log = EvidenceLog(config.log, config.name, identity)
        stack.callback(log.close)
        yield Disclosures(
            config.name,
            catalog=catalog,
            linkage=LinkageState(engine, vault),
            desk=DeskStore(engine),
            log=log,
        )
