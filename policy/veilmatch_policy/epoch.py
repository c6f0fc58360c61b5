"""The statement that opens an epoch: one linkage, used by every job until the next (protocol.md, 3)."""

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from veilmatch_crypto import SignatureRefusedError, encode_tuple, verify
from veilmatch_policy import canonical
from veilmatch_policy.directory import Directory
from veilmatch_policy.errors import ManifestError

LinkageMode = Literal["oprf", "shared-key"]
SlotMode = Literal["union", "register"]


class Epoch(BaseModel):
    """What the coordinator states, and every node checks against its own directory."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epoch: Annotated[
        str, StringConstraints(pattern=r"^[0-9a-f]{32}$")
    ]  # drawn at random: no two epochs share it
    federation: str
    directory: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    linkage: LinkageMode
    slots: SlotMode
    # In register mode the node that keeps the register.  BaseModel has a method ``register`` (ABCMeta's).
    register_node: str | None = Field(default=None, alias="register")
    reference_date: date
    nodes: Annotated[tuple[str, ...], Field(min_length=2)]
    trustees: tuple[str, ...]  # who draw the keys; in oprf mode each also evaluates, in this order

    @property
    def register(self) -> str | None:
        """The node that keeps the register, None in union mode."""
        return self.register_node

    def encode(self) -> bytes:
        """Return the canonical bytes that the coordinator signs."""
        return canonical.encode(self.model_dump(mode="json", by_alias=True))


@dataclass(frozen=True)
class OpenEpoch:
    """An epoch whose statement was verified, with the hash that its keys and messages are bound to."""

    epoch: Epoch
    statement: bytes

    @property
    def context(self) -> bytes:
        """H(directory, epoch) of protocol.md, 1: 32 bytes; the statement names the directory's hash."""
        return hashlib.sha256(encode_tuple("veilmatch/1/epoch-statement", self.statement)).digest()


@dataclass(frozen=True)
class Confirmation:
    """What a node says about the epoch's keys that it received: their digest, signed (protocol.md, 3 step 3)."""

    name: str
    digest: bytes
    signature: bytes


def signed_confirmation(epoch: OpenEpoch, name: str, digest: bytes) -> bytes:
    """What a node signs to confirm keys with this digest."""
    return encode_tuple("veilmatch/1/epoch-confirmed", epoch.context, name, digest)


@dataclass(frozen=True)
class RegisterStatement:
    """What the register says about the epoch's list: how many people, the SHA-256 of their values, signed.

    ``signature``: Ed25519 over ``signed_register`` (protocol.md, 3 step 4).
    """

    count: int
    digest: bytes
    signature: bytes

    @property
    def padded(self) -> int:
        """How many slots the epoch has: no dummies, and one where nobody is registered."""
        return max(self.count, 1)


def signed_register(epoch: OpenEpoch, keys: bytes, count: int, digest: bytes) -> bytes:
    """What the register signs about a list; ``keys`` is the digest of the epoch's keys that it received."""
    return encode_tuple("veilmatch/1/register", epoch.context, keys, count.to_bytes(8, "big"), digest)


def signed_statement(statement: bytes) -> bytes:
    """What the coordinator signs for an epoch."""
    return encode_tuple("veilmatch/1/epoch-statement", statement)


def open_epoch(statement: bytes, signature: bytes, directory: Directory) -> OpenEpoch:
    """Verify a statement against this party's own directory.

    Raises ManifestError where the signature is not the coordinator's or the statement names
    another federation, directory, set of nodes or trustees, or another register than the directory
    does, or asks for register slots without the OPRF.
    """
    try:
        verify(directory.identity(directory.coordinator), signed_statement(statement), signature)
    except SignatureRefusedError:
        raise ManifestError(
            "epoch", "not signed by the coordinator of the directory", "check both sides' federation.toml"
        ) from None
    try:
        canonical.decode(statement)  # refuses a second spelling of the same document
        epoch = Epoch.model_validate_json(statement)
    except (ValidationError, ValueError):
        raise ManifestError(
            "epoch", "the statement cannot be read", "check that all parties run the same release"
        ) from None
    expected = (directory.federation, directory.digest.hex(), directory.nodes, directory.trustees)
    if (epoch.federation, epoch.directory, epoch.nodes, epoch.trustees) != expected:
        raise ManifestError(
            "epoch", "states other members than this node's directory", "bring both sides to the same version"
        )
    _check_register(epoch, directory)
    return OpenEpoch(epoch, statement)


def _check_register(epoch: Epoch, directory: Directory) -> None:
    """Raise ManifestError unless the slot mode, the linkage mode and the register go together."""
    if epoch.slots == "union":
        if epoch.register is not None:
            raise ManifestError("epoch", "names a register in union mode", "check the coordinator's release")
        if directory.register is not None:
            # The coordinator alone picks the mode, and would see who is in which table.
            raise ManifestError(
                "epoch",
                "asks for union slots where the directory names a register",
                "link with register slots",
            )
        return
    if directory.register is None:
        raise ManifestError(
            "epoch", "asks for register slots, and the directory names no register", "link with union slots"
        )
    if epoch.register != directory.register:
        raise ManifestError(
            "epoch", "states another register than this node's directory", "bring both sides to one version"
        )
    if epoch.linkage != "oprf":
        # Every node could compute every value under a key that it holds: a list of values would be a list of people.
        raise ManifestError(
            "epoch", "asks for register slots in shared-key mode", "link in oprf mode, or with union slots"
        )


def reopen_epoch(statement: bytes) -> OpenEpoch:
    """Read a statement from this party's own store, where only a verified one was put."""
    return OpenEpoch(Epoch.model_validate_json(statement), statement)
