"""What every service reads when it starts: its TOML file and the federation's directory.

Relative paths are relative to the file that names them.  Every setting is listed in
docs/configuration.md.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from veilmatch_crypto import fingerprint
from veilmatch_policy.directory import Directory, open_directory
from veilmatch_transport.tls import TlsIdentity

ADDRESS: Final = r"^(?:[^\s:\[\]]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$"  # host:port, [host]:port for IPv6
LEAST_LOG: Final = (
    400  # days: budgets and the citizen's view ask the log for a year (protocol.md, 7), and a month
)


class SettingsError(Exception):
    """A configuration file, or a file that it names, is wrong; ``str()`` is one line."""

    exit_code = 2  # of a command that ends with it (docs/exit-codes.md)


class Section(BaseModel):
    """A table of a configuration file: unknown settings are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Federation(Section):
    """Where the signed directory is and whose signature it must bear."""

    directory: Path  # federation.toml; its signature, hex, is beside it as federation.toml.sig
    root: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # the root's Ed25519 public key, hex


class Tls(Section):
    """PEM files of mutual TLS; the key may be in an encrypted key file."""

    root: Path
    certificate: Path
    key: Path


class MetricsSettings(Section):
    """Where the machine's own monitoring asks: /metrics and /health, plain HTTP."""

    listen: Annotated[str, Field(pattern=ADDRESS)]


class LoggingSettings(Section):
    """What a service writes to standard error."""

    format: Literal["json", "text"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


# Where the passphrase of encrypted keys is: a file, or an environment variable (secrets_at_rest.py).
Unlock = Annotated[str, Field(pattern=r"^(?:file:.+|env:[A-Za-z_][A-Za-z0-9_]*)$")]

_S = TypeVar("_S", bound=BaseModel)


def load_settings(path: Path, model: type[_S]) -> _S:
    """Read a configuration file.  Raises SettingsError naming the setting that is wrong."""
    try:
        settings = model.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); check --config") from None
    except (tomllib.TOMLDecodeError, UnicodeError) as error:
        raise SettingsError(f"{path}: is not TOML ({error}); correct it") from None
    except ValidationError as error:
        first = error.errors()[0]
        setting = ".".join(map(str, first["loc"])) or "the file"
        raise SettingsError(f"{path}: {setting}: {first['msg']}; see docs/configuration.md") from None
    return _below(settings, path.parent.resolve())


def _below(section: _S, base: Path) -> _S:
    changes: dict[str, object] = {}
    for name in type(section).model_fields:
        match getattr(section, name):
            case Path() as path:
                changes[name] = base / path
            case BaseModel() as inner:
                changes[name] = _below(inner, base)
    return section.model_copy(update=changes)


def read_file(path: Path) -> bytes:
    """Read a whole file.  Raises SettingsError with the reason."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); check the path") from None


def read_directory(federation: Federation, *, oldest: int) -> Directory:
    """Read and verify the federation's directory.

    ``oldest`` is the highest version that this party has seen.  Raises SettingsError for files
    that cannot be read and DirectoryError for a directory that is refused.
    """
    data = read_file(federation.directory)
    written = read_file(federation.directory.with_name(federation.directory.name + ".sig"))
    try:
        signature = bytes.fromhex(written.decode("ascii").strip())
    except (ValueError, UnicodeError):
        signature = b""
    return open_directory(data, signature, bytes.fromhex(federation.root), oldest=oldest)


def require_member(directory: Directory, name: str, role: str, tls: TlsIdentity) -> None:
    """Raise SettingsError unless the directory lists ``name`` with this role and our certificate.

    Raises DirectoryError, with day and reason, where it was revoked.
    """
    if name in directory.revoked:
        directory.member(name)
    if directory.roles_of(name, fingerprint(tls.certificate)) != frozenset({role}):
        raise SettingsError(
            f"{name}: the directory lists no {role} of this name with this certificate; "
            "check name, tls.certificate and federation.directory"
        )


def require_key(path: Path, public: bytes, listed: bytes) -> None:
    """Raise SettingsError unless a key file's public key is the one that the directory lists for us."""
    if public != listed:
        raise SettingsError(f"{path}: is not the key that the directory lists for this member; restore it")
