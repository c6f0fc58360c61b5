"""Encrypts what a party keeps on its own disk: job keys, frozen answers, OPRF outputs.

AES-256-GCM under the party's store key.  A value is bound to its place (table, row, column), so
that a value copied to another row does not open there.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from veilmatch_crypto.derive import KEY_BYTES
from veilmatch_crypto.encoding import encode_tuple
from veilmatch_crypto.errors import KeyRefusedError, SealError

_NONCE = 12  # bytes: NIST SP 800-38D, 8.2.2, random nonces
_TAG = 16  # bytes


class Vault:
    """Locks and unlocks values of one party's store."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise KeyRefusedError(f"store key: {KEY_BYTES} bytes expected, {len(key)} found")
        self._cipher = AESGCM(key)

    def __repr__(self) -> str:
        return "Vault(...)"

    def lock(self, place: tuple[str | int | bytes, ...], value: bytes) -> bytes:
        """Encrypt ``value`` for its place: nonce (12 bytes), tag (16 bytes), ciphertext."""
        nonce = os.urandom(_NONCE)
        sealed = self._cipher.encrypt(nonce, value, _bound_to(place))
        return nonce + sealed[-_TAG:] + sealed[:-_TAG]

    def unlock(self, place: tuple[str | int | bytes, ...], locked: bytes) -> bytes:
        """Decrypt what ``lock`` made for the same place.  Raises SealError otherwise."""
        nonce, tag, ciphertext = locked[:_NONCE], locked[_NONCE : _NONCE + _TAG], locked[_NONCE + _TAG :]
        try:
            return self._cipher.decrypt(nonce, ciphertext + tag, _bound_to(place))
        except (InvalidTag, ValueError):  # ValueError: not even a nonce is there
            raise SealError(
                "a stored value does not open: the store key is another one, or the file was changed; restore both"
            ) from None


def _bound_to(place: tuple[str | int | bytes, ...]) -> bytes:
    return encode_tuple("veilmatch/1/store", *place)
