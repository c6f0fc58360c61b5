"""All that a node reads before it serves, checked: configuration, TLS, catalog, directory, keys.

Read at the start, and again when the service is told to begin anew; opens no store and no log.
"""

from dataclasses import dataclass, field
from pathlib import Path

from veilmatch_crypto import AgreementKey, IdentityKey, Passphrase, Vault
from veilmatch_node.config import NodeConfig
from veilmatch_node.linkage import NodeKeys
from veilmatch_node.quota import read_quota
from veilmatch_policy.catalog import Catalog, load_catalog
from veilmatch_policy.directory import Directory
from veilmatch_transport import (
    SettingsError,
    TlsIdentity,
    check_workers,
    load_settings,
    read_directory,
    read_passphrase,
    read_secret,
    read_tls,
    require_member,
)


@dataclass(frozen=True)
class Prepared:
    """What a node serves with."""

    config: NodeConfig
    tls: TlsIdentity
    catalog: Catalog
    directory: Directory
    keys: NodeKeys = field(repr=False)
    vault: Vault = field(repr=False)


def prepare(path: Path, *, oldest: int = 1) -> Prepared:
    """Read a node's configuration file and what it names; ``oldest``: the highest directory version seen.

    Raises SettingsError, DirectoryError, CredentialError or PolicyError (a catalog that is refused).
    """
    config = load_settings(path, NodeConfig)
    unlock = read_passphrase(config.keys.unlock, path.parent)
    tls = read_tls(config.tls, unlock)
    check_workers(config.workers, config.tls)
    catalog = load_catalog(config.data.folder / "catalog.yaml")
    if catalog.department != config.name:
        raise SettingsError(
            f"{path}: name is {config.name}, the catalog is of {catalog.department}; correct one of the two"
        )
    directory = read_directory(config.federation, oldest=oldest)
    require_member(directory, config.name, "node", tls)
    vault = Vault(read_secret(config.keys.store, "store", unlock))
    return Prepared(config, tls, catalog, directory, _keys(config, directory, unlock), vault)


def _keys(config: NodeConfig, directory: Directory, unlock: Passphrase | None) -> NodeKeys:
    """Read the node's keys; SettingsError for one whose public half the directory does not give."""
    name, files = config.name, config.keys
    identity = IdentityKey.from_bytes(read_secret(files.identity, "identity", unlock))
    sealing = AgreementKey.from_bytes(read_secret(files.sealing, "sealing", unlock))
    _require_listed(files.identity, identity.public, directory.identity(name), name)
    _require_listed(files.sealing, sealing.public, directory.sealing(name), name)
    officer = quota = None
    if files.officer is not None:
        officer = IdentityKey.from_bytes(read_secret(files.officer, "officer", unlock))
        _require_listed(files.officer, officer.public, directory.officer(name), name)
    if files.quota is not None:
        quota = read_quota(files.quota, name, directory.officer(name))
    return NodeKeys(identity, sealing, officer, quota)


def _require_listed(path: Path, own: bytes, listed: bytes, name: str) -> None:
    if own != listed:
        raise SettingsError(
            f"{path}: is not the key that the directory gives for {name}; restore it, or have a new directory signed"
        )
