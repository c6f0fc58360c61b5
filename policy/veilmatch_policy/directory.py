"""The federation's signed directory: who the members are and which keys speak for them.

protocol.md, 2.  The file is TOML, signed by the federation's root; whoever reads it checks the
signature before anything else and refuses a version older than one already seen (the caller
keeps that number: this module does no I/O).
"""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from veilmatch_crypto import SignatureRefusedError, encode_tuple, verify
from veilmatch_policy.errors import DirectoryError

Role = Literal["node", "coordinator", "operator"]
Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Member(BaseModel):
    """One member: a department's node, the coordinator, or the office's operator."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role
    title: str = ""
    address: str = ""  # host:port where the member listens; empty: it dials the coordinator
    certificate: Hex32  # SHA-256 of its TLS certificate
    identity: Hex32  # Ed25519 public key: what it signs with
    sealing: Hex32 | None = None  # X25519 public key: what is sealed to it between jobs
    officer: Hex32 | None = None  # Ed25519 public key of its data officer


class Revocation(BaseModel):
    """Since when a former member is none, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: date
    reason: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    federation: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    version: Annotated[int, Field(ge=1)]
    trustees: Annotated[tuple[str, ...], Field(min_length=1)]
    members: Mapping[str, Member]
    revoked: Mapping[str, Revocation] = {}  # former members
    purposes: Mapping[str, str] = {}
    dealers: tuple[str, ...] = ()  # nodes that may deal, in the order in which they are asked to
    # The node that keeps the register of everybody.  BaseModel has a method ``register`` (ABCMeta's).
    register_node: str | None = Field(default=None, alias="register")


@dataclass(frozen=True)
class Directory:
    """A verified directory.  ``digest`` is the SHA-256 of the file's bytes."""

    federation: str
    version: int
    trustees: tuple[str, ...]
    members: Mapping[str, Member]
    purposes: Mapping[str, str]
    digest: bytes
    root: bytes  # the Ed25519 public key that signed it
    dealers: tuple[str, ...] = ()
    register: str | None = None
    revoked: Mapping[str, Revocation] = field(default_factory=dict)
    file: bytes = b""  # as it was signed, and the signature: for evidence
    signature: bytes = b""

    @property
    def coordinator(self) -> str:
        """Name of the coordinator."""
        return next(name for name, member in self.members.items() if member.role == "coordinator")

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the departments, sorted."""
        return tuple(sorted(name for name, member in self.members.items() if member.role == "node"))

    @property
    def may_deal(self) -> tuple[str, ...]:
        """Who may deal, in the order in which they are asked to: the dealers, where there are none all nodes."""
        return self.dealers or self.nodes

    def identity(self, name: str) -> bytes:
        """Return a member's Ed25519 public key.  Raises DirectoryError for a stranger."""
        return bytes.fromhex(self.member(name).identity)

    def sealing(self, name: str) -> bytes:
        """Return a node's static X25519 key.  Raises DirectoryError where there is none."""
        key = self.member(name).sealing
        if key is None:
            raise DirectoryError("directory", f"{name} has no sealing key", "ask the root to add it")
        return bytes.fromhex(key)

    def officer(self, name: str) -> bytes:
        """Return a department's officer's Ed25519 key.  Raises DirectoryError where there is none."""
        key = self.member(name).officer
        if key is None:
            raise DirectoryError("directory", f"{name} has no officer's key", "ask the root to add it")
        return bytes.fromhex(key)

    def member(self, name: str) -> Member:
        """Return a member.  Raises DirectoryError for a stranger and for one that was revoked."""
        if name in self.revoked:
            past = self.revoked[name]
            raise DirectoryError(
                "directory", f"{name} was revoked on {past.on} ({past.reason})", "ask the federation's root"
            )
        try:
            return self.members[name]
        except KeyError:
            raise DirectoryError(
                "directory",
                f"{name} is no member of {self.federation}",
                f"members are {', '.join(sorted(self.members))}",
            ) from None

    def roles_of(self, name: str, fingerprint: str) -> frozenset[str] | None:
        """Roles of whoever shows a certificate with this name and SHA-256, or None for a stranger."""
        member = self.members.get(name)
        return frozenset({member.role}) if member is not None and member.certificate == fingerprint else None


def signed_bytes(data: bytes) -> bytes:
    """What the root signs for a directory file with the bytes ``data``."""
    return encode_tuple("veilmatch/1/directory", data)


def encode_directory(
    federation: str,
    version: int,
    trustees: tuple[str, ...],
    members: Mapping[str, Member],
    purposes: Mapping[str, str],
    *,
    dealers: tuple[str, ...] = (),
    register: str | None = None,
    revoked: Mapping[str, Revocation] | None = None,
) -> bytes:
    """Return the bytes of a directory file, ready to be signed."""
    file = _File(
        federation=federation,
        version=version,
        trustees=trustees,
        members=members,
        revoked=revoked or {},
        purposes=purposes,
        dealers=dealers,
        register=register,
    )
    return tomli_w.dumps(file.model_dump(exclude_none=True, by_alias=True)).encode()


def open_directory(data: bytes, signature: bytes, root: bytes, *, oldest: int = 1) -> Directory:
    """Verify and read a directory file.

    ``root`` is the federation's Ed25519 public key, ``oldest`` the highest version already
    seen.  Raises DirectoryError where the signature, the version or the content is wrong.
    """
    try:
        verify(root, signed_bytes(data), signature)
    except SignatureRefusedError:
        raise DirectoryError(
            "directory", "not signed by the federation's root", "get federation.toml and its .sig again"
        ) from None
    try:
        file = _File.model_validate(tomllib.loads(data.decode()))
    except (ValidationError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise DirectoryError(
            "directory", f"cannot be read ({_first(error)})", "ask the root for a new one"
        ) from None
    if file.version < oldest:
        raise DirectoryError(
            "directory", f"version {file.version} is older than {oldest}, seen before", "get the newest"
        )
    coordinators = [name for name, member in file.members.items() if member.role == "coordinator"]
    if len(coordinators) != 1:
        raise DirectoryError("directory", f"{len(coordinators)} coordinators", "a federation has one")
    if len(set(file.trustees)) != len(file.trustees):
        raise DirectoryError("directory", "names a trustee twice", "name each once")
    _require_nodes(file)
    for name in file.revoked:
        if name in file.members:
            raise DirectoryError("directory", f"{name} is a member and revoked", "list it once")
    return Directory(
        file.federation,
        file.version,
        file.trustees,
        file.members,
        file.purposes,
        hashlib.sha256(data).digest(),
        root,
        file.dealers,
        file.register_node,
        file.revoked,
        data,
        signature,
    )


def _require_nodes(file: _File) -> None:
    """Raise DirectoryError where somebody who is no department has a department's part."""
    register = () if file.register_node is None else (file.register_node,)
    for part, names in (("trustee", file.trustees), ("dealer", file.dealers), ("register", register)):
        for name in names:
            if name not in file.members or file.members[name].role != "node":
                raise DirectoryError("directory", f"{part} {name} is no node", "name departments")


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).splitlines()[0]
