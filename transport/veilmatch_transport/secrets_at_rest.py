"""Private keys on disk: plain or encrypted, and where the passphrase comes from.

Every file with a secret in it must be for its owner alone.  A passphrase comes from such a file or from an
environment variable, never from the command line, where other users of the machine can read it.
No message holds what a file holds.
"""

import os
from pathlib import Path

from veilmatch_crypto import KeyFileError, KeyUse, Passphrase, is_key_file
from veilmatch_transport.settings import SettingsError, Tls, read_file
from veilmatch_transport.tls import TlsIdentity

_OTHERS = 0o077  # permission bits of group and others
# What systemd gives to one service (LoadCredential) may show 0440: there the group's bits are the mask of an access
# list that names that service's user alone (systemd 254 and newer, its issue 29435).
_CREDENTIALS, _MASK = Path("/run/credentials"), 0o040


def read_passphrase(unlock: str | None, base: Path) -> Passphrase | None:
    """Read the passphrase that ``unlock`` says: ``file:PATH``, relative to ``base``, or ``env:NAME``.

    None where ``unlock`` is.  The file's last line break does not count.  Raises SettingsError where
    there is none, it is empty, or others can read the file.
    """
    if unlock is None:
        return None
    kind, _, where = unlock.partition(":")
    if kind == "file":
        path = base / where
        try:
            return _passphrase(_private(path).decode().removesuffix("\n").removesuffix("\r"), str(path))
        except UnicodeError:
            raise SettingsError(f"{path}: is not UTF-8; write the passphrase as text") from None
    if kind != "env":  # what was said is not repeated: it may be the passphrase itself
        raise SettingsError("the passphrase: is said to be nowhere; say file:PATH or env:NAME")
    if where not in os.environ:
        raise SettingsError(f"{where}: is not set; set this variable to the passphrase")
    return _passphrase(os.environ[where], where)


def read_secret(path: Path, use: KeyUse, unlock: Passphrase | None) -> bytes:
    """Read a private key of 32 bytes: hex, or a key file for ``use`` that ``unlock`` opens.

    Raises SettingsError where others can read the file, or it is neither or does not open.
    """
    try:
        text = _private(path).decode("ascii")
        secret = _opened(path, text, use, unlock) if is_key_file(text) else bytes.fromhex(text.strip())
    except (ValueError, UnicodeError):
        secret = b""
    if len(secret) != 32:
        raise SettingsError(f"{path}: is not a key of 32 bytes in hex; restore it")
    return secret


def read_tls(tls: Tls, unlock: Passphrase | None) -> TlsIdentity:
    """Read this party's side of TLS.  Raises SettingsError or CredentialError with the file that is wrong."""
    return TlsIdentity(
        root=read_file(tls.root),
        certificate=read_file(tls.certificate),
        key=read_tls_key(tls.key, unlock),
    )


def read_tls_key(path: Path, unlock: Passphrase | None) -> bytes:
    """Read a private key of TLS, in PEM or in a key file that holds PEM; plain PEM comes back.

    Raises SettingsError where others can read the file, or it does not open.
    """
    data = _private(path)
    text = data.decode("ascii", errors="replace")
    return _opened(path, text, "tls", unlock) if is_key_file(text) else data


def _private(path: Path) -> bytes:
    open_to = path.stat().st_mode & _OTHERS if path.exists() else 0
    if open_to & ~(_MASK if path.resolve().is_relative_to(_CREDENTIALS) else 0):
        raise SettingsError(f"{path}: others can read this key; run chmod 600 on it")
    return read_file(path)


def _opened(path: Path, text: str, use: KeyUse, unlock: Passphrase | None) -> bytes:
    try:
        return _required(path, unlock).unlock(use, text)
    except KeyFileError as error:
        raise SettingsError(f"{path}: {error}") from None


def _required(path: Path, unlock: Passphrase | None) -> Passphrase:
    if unlock is None:
        raise SettingsError(f"{path}: is encrypted; say in keys.unlock where its passphrase is")
    return unlock


def _passphrase(text: str, where: str) -> Passphrase:
    try:
        return Passphrase(text)
    except KeyFileError as error:
        raise SettingsError(f"{where}: {error}") from None
