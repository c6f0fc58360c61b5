"""A member's own folder: its keys, made here and never leaving it, and its request to the root.

``identity.key``, ``tls.key``, at a department also ``sealing.key`` and ``store.key``, encrypted under the
service's passphrase; ``NAME.request``.  What an officer adds is in officer.py, what the root gives in joining.py.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from veilmatch.errors import UsageError
from veilmatch.membership.documents import Request, Signed, read_request, sign
from veilmatch.membership.officer import officer_key, require_another
from veilmatch_crypto import AgreementKey, IdentityKey, KeyUse, Passphrase, make_request
from veilmatch_node.whole_file import write_whole
from veilmatch_policy.directory import Role
from veilmatch_transport import SettingsError, read_secret, read_tls_key
from veilmatch_transport.settings import read_file


@dataclass(frozen=True)
class Asked:
    """What a member says of itself; None: as it said before."""

    title: str | None = None
    address: str | None = None  # host:port; empty: it dials the coordinator


def make_home(folder: Path, name: str, role: Role, asked: Asked, passphrase: Passphrase) -> Signed[Request]:
    """Make all keys of a member in its folder, encrypted, and its request.

    An officer's public key that lies there goes into the request.  Raises UsageError where there are keys
    already, the officer's key opens under the same passphrase, or a request cannot hold what is asked, and
    KeyFileError for a passphrase that is too short.
    """
    if (folder / "identity.key").exists():
        raise UsageError(f"{folder}: holds a member's keys already; name another folder with --home")
    require_another(folder / "officer.key", "officer", passphrase)
    identity = IdentityKey.generate()
    sealing = AgreementKey.generate() if role == "node" else None
    fields: dict[str, object] = {
        "name": name,
        "role": role,
        "title": asked.title or "",
        "address": asked.address or "",
        "identity": identity.public.hex(),
        "sealing": None if sealing is None else sealing.public.hex(),
    }
    request, tls = _request(folder, fields, None)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sealing is not None:
        _lock(folder, "sealing", sealing.to_bytes(), passphrase)
        _lock(folder, "store", secrets.token_bytes(32), passphrase)
    _lock(folder, "tls", tls, passphrase)
    _lock(folder, "identity", identity.to_bytes(), passphrase)  # last: its presence says that all are there
    return _kept(folder, request, identity)


def ask_again(folder: Path, asked: Asked, passphrase: Passphrase) -> Signed[Request]:
    """Make a later request with the same keys, and with the officer's public key that lies in the folder now.

    Raises UsageError, SettingsError or DocumentRefusedError.
    """
    old = own_request(folder).content
    identity = IdentityKey.from_bytes(read_secret(folder / "identity.key", "identity", passphrase))
    fields = old.model_dump(exclude={"officer", "made", "certificate"})
    fields |= {key: value for key, value in vars(asked).items() if value is not None}
    request, _ = _request(folder, fields, read_tls_key(folder / "tls.key", passphrase))
    return _kept(folder, request, identity)


def own_request(folder: Path) -> Signed[Request]:
    """Read the request that lies in a member's folder.  Raises SettingsError or DocumentRefusedError."""
    found = sorted(folder.glob("*.request"))
    if len(found) != 1:
        raise SettingsError(f"{folder}: holds {len(found)} requests, not one; check --home, or run init")
    return read_request(read_file(found[0]), str(found[0]))


def _request(folder: Path, fields: dict[str, object], tls_key: bytes | None) -> tuple[Request, bytes]:
    """A request, and the private key that its certificate will be for."""
    officer = officer_key(folder) if fields["role"] == "node" else None
    try:
        # Before anything is made from it: a name also becomes a file's.
        request = Request.model_validate({**fields, "made": datetime.now(UTC), "certificate": ""})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the request"
        raise UsageError(
            f"{where}: {first['msg'].removeprefix('Value error, ')}; correct the option"
        ) from None
    tls = make_request(request.name, tls_key)
    return request.model_copy(update={"certificate": tls.request.decode(), "officer": officer}), tls.key


def _lock(folder: Path, use: KeyUse, secret: bytes, passphrase: Passphrase) -> None:
    write_whole(folder / f"{use}.key", passphrase.lock(use, secret).encode())


def _kept(folder: Path, request: Request, identity: IdentityKey) -> Signed[Request]:
    signed = sign(request, identity)
    write_whole(folder / f"{request.name}.request", signed.encode())
    return signed
