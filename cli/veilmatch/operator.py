"""The operator's side: what its configuration file says, for the commands that call a coordinator."""

from pathlib import Path

from veilmatch_policy.directory import Directory
from veilmatch_transport import (
    Federation,
    Section,
    Tls,
    TlsIdentity,
    Unlock,
    load_settings,
    read_directory,
    read_passphrase,
    read_tls,
    require_member,
)


class Keys(Section):
    """How the key of TLS is opened; an operator signs nothing."""

    unlock: Unlock | None = None  # where the passphrase of the encrypted key is: file:PATH or env:NAME


class OperatorConfig(Section):
    """The whole file."""

    name: str
    federation: Federation
    tls: Tls
    keys: Keys = Keys()


def read_operator(path: Path) -> tuple[Directory, TlsIdentity]:
    """Read the operator's configuration, and what it names: the directory, and its side of TLS.

    Raises SettingsError, DirectoryError or CredentialError.
    """
    config = load_settings(path, OperatorConfig)
    tls = read_tls(config.tls, read_passphrase(config.keys.unlock, path.parent))
    directory = read_directory(config.federation, oldest=1)
    require_member(directory, config.name, "operator", tls)
    return directory, tls
