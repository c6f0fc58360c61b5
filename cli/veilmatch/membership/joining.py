"""Taking the root's reply: nothing of it is believed before the root's fingerprint and signature are right."""

import hmac
import re
from dataclasses import dataclass
from pathlib import Path

from veilmatch.errors import DocumentRefusedError, UsageError
from veilmatch.membership.documents import Reply, Request, read, require_signed
from veilmatch.membership.home import own_request
from veilmatch.membership.samples import fill, sample
from veilmatch_crypto import (
    CertificateRefusedError,
    fingerprint,
    key_fingerprint,
    member_name,
    verify_issued,
)
from veilmatch_node.whole_file import write_whole
from veilmatch_policy.directory import Directory, open_directory
from veilmatch_transport.settings import read_file

DEFAULT_UNLOCK = "env:VEILMATCH_PASSPHRASE"


@dataclass(frozen=True)
class Place:
    """What only the member knows about its own machine; it goes into a configuration that is made anew."""

    listen: str | None  # host:port; None: every address of this machine, at the port of the directory's
    data: Path | None  # the folder with catalog.yaml; nodes
    unlock: str  # where the passphrase of the keys is


@dataclass(frozen=True)
class Joined:
    """What was written."""

    request: Request
    directory: Directory
    config: Path
    made: bool  # whether the configuration is new; one that was there stays as it is


def join(folder: Path, reply: Path, root: str | None, place: Place) -> Joined:
    """Check the root's reply to this folder's request, and write what the service reads.

    ``root`` is the fingerprint of the root's key as its office said it; None where this folder has joined
    already.  Raises DocumentRefusedError, DirectoryError or CertificateRefusedError for a reply that is not
    right, with nothing written, and UsageError where something that must be said is not.
    """
    own = own_request(folder).content
    if own.role == "node" and place.data is None and not (folder / "node.toml").exists():
        raise UsageError("--data: is missing; say where the department's catalog.yaml is")
    where = str(reply)
    signed = read(read_file(reply), Reply, where)
    content = signed.content
    public = bytes.fromhex(content.root)
    _require_root(folder, root, public, where)
    require_signed(signed, public, where)
    if content.member != own.name:
        raise DocumentRefusedError(f"{where}: is the reply to {content.member}; get the one to {own.name}")
    directory = open_directory(
        content.directory.encode(), bytes.fromhex(content.signature), public, oldest=_version(folder, public)
    )
    _require_ours(content, own, directory, where)
    write_whole(folder / "root.pub", content.root.encode() + b"\n")
    write_whole(folder / "root.pem", content.tls_root.encode())
    write_whole(folder / "tls.pem", content.certificate.encode())
    write_whole(folder / "federation.toml", content.directory.encode())
    write_whole(folder / "federation.toml.sig", content.signature.encode() + b"\n")
    config = folder / f"{own.role}.toml"
    made = not config.exists()
    if made:
        write_whole(config, _configuration(folder, own, content.root, place).encode())
    return Joined(own, directory, config, made)


def _require_root(folder: Path, typed: str | None, public: bytes, where: str) -> None:
    known = folder / "root.pub"
    if typed is not None:
        expected = re.sub(r"[\s:-]", "", typed).lower()
    elif known.exists():
        expected = key_fingerprint(bytes.fromhex(read_file(known).decode("ascii").strip()))
    else:
        raise UsageError(
            "--root: is missing; say the fingerprint of the federation's root, as its office told you"
        )
    if not hmac.compare_digest(expected.encode(), key_fingerprint(public).encode()):
        raise DocumentRefusedError(
            f"{where}: is from another root than the fingerprint says; ask its office, by telephone"
        )


def _version(folder: Path, public: bytes) -> int:
    """The version of the directory that is here; a reply must not be older."""
    path = folder / "federation.toml"
    if not path.exists():
        return 1
    signature = bytes.fromhex(read_file(path.with_name(path.name + ".sig")).decode("ascii").strip())
    return open_directory(read_file(path), signature, public).version


def _require_ours(reply: Reply, own: Request, directory: Directory, where: str) -> None:
    """Raise where certificate or directory are not about the keys that lie here."""
    certificate = reply.certificate.encode()
    try:
        verify_issued(reply.tls_root.encode(), certificate, own.certificate.encode())
        named = member_name(certificate, directory.federation)
    except CertificateRefusedError as error:
        raise DocumentRefusedError(f"{where}: {error}; ask the root for another reply") from None
    listed = directory.member(own.name)
    asked = (own.name, own.role, own.identity, own.sealing, own.officer, fingerprint(certificate))
    given = (named, listed.role, listed.identity, listed.sealing, listed.officer, listed.certificate)
    if asked != given:
        raise DocumentRefusedError(
            f"{where}: lists other keys of {own.name} than its newest request; send that to the root"
        )


def _configuration(folder: Path, own: Request, root: str, place: Place) -> str:
    values: dict[str, str | bool | None] = {
        "name": own.name,
        "federation.root": root,
        "keys.unlock": place.unlock,
    }
    port = own.address.rpartition(":")[2]
    listen = place.listen or f"0.0.0.0:{port}"
    if own.role == "coordinator":
        values["listen"] = listen
    if own.role == "node":
        values |= {"listen": listen, "connect": None} if own.address else {"listen": None, "connect": True}
        values["data.folder"] = str(place.data.resolve()) if place.data is not None else None
        values["keys.quota"] = "quota.toml" if (folder / "quota.toml").exists() else None
    return fill(sample(own.role), values)
