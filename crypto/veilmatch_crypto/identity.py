"""Who a message is from, and what two parties agree on: Ed25519 and X25519 (protocol.md, 1 and 2).

Keys and signatures are raw bytes: 32 bytes a key (RFC 8032, 5.1.5; RFC 7748, 5), 64 bytes a signature.
This module says whether a signature belongs to a key.  Whether the key belongs to a member, the
federation's signed directory says.
"""

import hashlib
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from veilmatch_crypto.errors import KeyRefusedError, SignatureRefusedError

RAW_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64


class IdentityKey:
    """A member's or an officer's Ed25519 signing key."""

    __slots__ = ("_key", "public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public: Final[bytes] = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Self:
        """Draw a fresh key from the operating system."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, secret: bytes) -> Self:
        """Read the 32 bytes that ``to_bytes`` gave.  Raises KeyRefusedError for another length."""
        _require_length(secret, "private Ed25519 key")
        return cls(Ed25519PrivateKey.from_private_bytes(secret))

    def to_bytes(self) -> bytes:
        """The secret itself, 32 bytes, for the owner's own key file."""
        return self._key.private_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Sign ``message``: 64 bytes, the same for the same message (RFC 8032, 5.1.6)."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"<IdentityKey {key_fingerprint(self.public)[:16]}>"


class AgreementKey:
    """An X25519 key: fresh for each job, or the static key that epoch messages are sealed to."""

    __slots__ = ("_key", "public")

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key
        self.public: Final[bytes] = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Self:
        """Draw a fresh key from the operating system."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, secret: bytes) -> Self:
        """Read the 32 bytes that ``to_bytes`` gave.  Raises KeyRefusedError for another length."""
        _require_length(secret, "private X25519 key")
        return cls(X25519PrivateKey.from_private_bytes(secret))

    def to_bytes(self) -> bytes:
        """The secret itself, 32 bytes, for the owner's own key file."""
        return self._key.private_bytes_raw()

    def agree(self, peer_public: bytes) -> bytes:
        """The 32 bytes shared with the holder of ``peer_public``; input of a key derivation, not a key.

        Raises KeyRefusedError when ``peer_public`` is not 32 bytes or is a point of small order:
        the result would be all zero whatever the secret (RFC 7748, 6.1; protocol.md, 7).
        """
        _require_length(peer_public, "public X25519 key")
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(peer_public))
        except ValueError as error:  # the library's word for the all-zero result
            raise KeyRefusedError("the public X25519 key has small order: nothing can be agreed") from error

    def __repr__(self) -> str:
        return f"<AgreementKey {key_fingerprint(self.public)[:16]}>"


def verify(public: bytes, message: bytes, signature: bytes) -> None:
    """Return if ``signature`` is that of ``message`` under ``public`` (RFC 8032, 5.1.7).

    Raises SignatureRefusedError otherwise, also for a key or signature of the wrong length.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise SignatureRefusedError(
            f"the signature is not by the key {key_fingerprint(public)[:16]}"
        ) from error


def key_fingerprint(public: bytes) -> str:
    """What people compare over the telephone: SHA-256 of the raw public key, 64 hex digits."""
    return hashlib.sha256(public).hexdigest()


def _require_length(key: bytes, what: str) -> None:
    if len(key) != RAW_KEY_BYTES:
        raise KeyRefusedError(f"a {what} has {RAW_KEY_BYTES} bytes, not {len(key)}")
