"""The keys of an epoch, without I/O (protocol.md, 3 steps 2, 3 and 5).

Roles: the first trustee draws the keys and seals them to each node; each node opens its own copy and countersigns
its digest; each node compares all countersignatures.  So the coordinator, which carries all of
it, can neither make the keys nor give two nodes different ones.  Whoever runs a step stores the
sequence numbers.
"""

import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass

from veilmatch_crypto import (
    Address,
    AgreementKey,
    CryptoError,
    IdentityKey,
    Sealed,
    derive_key,
    encode_tuple,
    open_sealed,
    seal,
    verify,
)
from veilmatch_node.errors import LinkageError
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import Confirmation, OpenEpoch, signed_confirmation

_KIND = "epoch-keys"
_SECRET_BYTES = 32


@dataclass(frozen=True)
class EpochKeys:
    """``pseudonym`` keys the pseudonyms; ``link`` stands in for the OPRF in shared-key mode.

    ``listing`` and ``claim`` key the register's list and the claims in register mode.  32 bytes each;
    ``digest`` is what the nodes confirm to each other.
    """

    pseudonym: bytes
    link: bytes
    listing: bytes
    claim: bytes
    digest: bytes

    def __repr__(self) -> str:
        return "EpochKeys(...)"


def draw_secret() -> bytes:
    """Draw the epoch's secret: 32 bytes from the operating system."""
    return os.urandom(_SECRET_BYTES)


def seal_secret(
    secret: bytes,
    sender: str,
    receiver: str,
    *,
    sequence: int,
    epoch: OpenEpoch,
    directory: Directory,
    identity: IdentityKey,
) -> Sealed:
    """Seal the epoch's secret to one node (step 3, the first trustee)."""
    address = Address(sender, receiver, _KIND, epoch.context)
    return seal(
        secret, address, sequence=sequence, receiver_key=directory.sealing(receiver), identity=identity
    )


def open_secret(
    sealed: Sealed,
    name: str,
    *,
    last_sequence: int,
    epoch: OpenEpoch,
    directory: Directory,
    key: AgreementKey,
) -> EpochKeys:
    """Open this node's copy and derive the epoch's keys.

    Raises LinkageError where the first trustee did not seal it to this node for this epoch.
    """
    sender = epoch.epoch.trustees[0]
    address = Address(sender, name, _KIND, epoch.context)
    try:
        secret = open_sealed(
            sealed, address, last_sequence=last_sequence, key=key, sender_identity=directory.identity(sender)
        )
    except CryptoError as error:
        raise LinkageError(
            "linkage", f"the epoch's keys do not come from {sender} ({error})", "link again"
        ) from None
    if len(secret) != _SECRET_BYTES:
        raise LinkageError("linkage", f"{sender} sent an epoch secret of another length", "check its release")
    return EpochKeys(
        derive_key(secret, context=epoch.context, label="pseudonym"),
        derive_key(secret, context=epoch.context, label="link"),
        derive_key(secret, context=epoch.context, label="list"),
        derive_key(secret, context=epoch.context, label="claim"),
        # The number is that of the functions under these keys: nodes that reckon otherwise refuse each other.
        hashlib.sha256(encode_tuple("veilmatch/2/epoch", secret)).digest(),
    )


def confirm(name: str, keys: EpochKeys, epoch: OpenEpoch, identity: IdentityKey) -> Confirmation:
    """Countersign which keys this node received."""
    return Confirmation(name, keys.digest, identity.sign(signed_confirmation(epoch, name, keys.digest)))


def compare(
    confirmations: Sequence[Confirmation], keys: EpochKeys, epoch: OpenEpoch, directory: Directory
) -> None:
    """Raise LinkageError unless every node of the epoch confirmed the keys that this node received."""
    if tuple(sorted(confirmation.name for confirmation in confirmations)) != epoch.epoch.nodes:
        raise LinkageError("linkage", "not every node confirmed the epoch's keys", "link again")
    for confirmation in confirmations:
        statement = signed_confirmation(epoch, confirmation.name, confirmation.digest)
        try:
            verify(directory.identity(confirmation.name), statement, confirmation.signature)
        except CryptoError:
            raise LinkageError(
                "linkage", f"the confirmation of {confirmation.name} is not its own", "link again"
            ) from None
        if not hmac.compare_digest(confirmation.digest, keys.digest):
            raise LinkageError(
                "linkage", f"{confirmation.name} received other keys than this node", "tell the officers"
            )
