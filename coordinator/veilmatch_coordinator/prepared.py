"""All that a coordinator reads before it serves, checked: configuration, TLS, directory, key.

Read at the start, and again when the service is told to begin anew; opens no store and no log.
"""

from dataclasses import dataclass, field
from pathlib import Path

from veilmatch_coordinator.config import CoordinatorConfig
from veilmatch_crypto import IdentityKey
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
    require_key,
    require_member,
)


@dataclass(frozen=True)
class Prepared:
    """What a coordinator serves with."""

    config: CoordinatorConfig
    tls: TlsIdentity
    directory: Directory
    identity: IdentityKey = field(repr=False)


def prepare(path: Path, *, oldest: int = 1) -> Prepared:
    """Read a coordinator's configuration file and what it names; ``oldest``: the highest directory version seen.

    Raises SettingsError, DirectoryError or CredentialError.
    """
    config = load_settings(path, CoordinatorConfig)
    if config.evidence.is_mount():
        # Packages are filled beside it and come into it by a rename, which no other disk's folder can.
        raise SettingsError(f"{config.evidence}: is a disk of its own; name a folder on it as evidence")
    unlock = read_passphrase(config.keys.unlock, path.parent)
    tls = read_tls(config.tls, unlock)
    check_workers(config.workers, config.tls)
    directory = read_directory(config.federation, oldest=oldest)
    require_member(directory, config.name, "coordinator", tls)
    identity = IdentityKey.from_bytes(read_secret(config.keys.identity, "identity", unlock))
    require_key(config.keys.identity, identity.public, directory.identity(config.name))
    return Prepared(config, tls, directory, identity)
