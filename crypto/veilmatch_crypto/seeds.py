"""The dealer's seeds: 32 bytes for each party, sealed to its key of the job (protocol.md, 5.4).

A seed, the manifest and the circuits' sizes give the key of a party's correlated randomness, drawn in
the order of the program.  A seed serves one run of one manifest's circuits.
"""

import os
from collections.abc import Sequence

from veilmatch_crypto.derive import derive_key
from veilmatch_crypto.errors import SealError
from veilmatch_crypto.identity import AgreementKey, IdentityKey
from veilmatch_crypto.sealing import Address, Sealed, open_sealed, seal

_KIND = "circuit-seed"
_SEED_BYTES = 32


def circuit_key(seed: bytes, manifest: bytes, *, households: int, presented: Sequence[int]) -> bytes:
    """Derive the key of a party's randomness from its seed (32 bytes), H(manifest) and the circuits' sizes.

    ``households`` is how many there are, ``presented`` how many slots each policy asks about: each party
    takes the sizes that it goes by itself.  Or a coordinator that told the dealer other sizes than the
    recipient has would be sent, as corrections, what the recipient masks its shares with.
    """
    sizes = (f"{households} households", *(f"{count} presented" for count in presented))
    return derive_key(seed, context=manifest, label="triple", names=sizes)


def draw_seed() -> bytes:
    """Draw a seed: 32 bytes from the operating system."""
    return os.urandom(_SEED_BYTES)


def seal_seed(
    seed: bytes,
    dealer: str,
    receiver: str,
    *,
    manifest: bytes,
    sequence: int,
    receiver_key: bytes,
    identity: IdentityKey,
) -> Sealed:
    """Seal a seed to ``receiver_key``, the receiver's X25519 key of this job; signed by the dealer's ``identity``.

    Raises SealError for a key that is none.
    """
    address = Address(dealer, receiver, _KIND, manifest)
    return seal(seed, address, sequence=sequence, receiver_key=receiver_key, identity=identity)


def open_seed(
    sealed: Sealed, dealer: str, receiver: str, *, manifest: bytes, key: AgreementKey, dealer_identity: bytes
) -> bytes:
    """Open the one seed of a manifest.

    Raises SignatureRefusedError where the dealer did not sign it for this receiver and manifest,
    SealError where it was sealed to another key or is no seed.  That it is opened once is the
    caller's to see to: a manifest's circuits run once.
    """
    address = Address(dealer, receiver, _KIND, manifest)
    seed = open_sealed(sealed, address, last_sequence=None, key=key, sender_identity=dealer_identity)
    if len(seed) != _SEED_BYTES:
        raise SealError(f"{dealer} dealt a seed of another length")
    return seed
