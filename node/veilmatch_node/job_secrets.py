"""A node's secrets of one job: drawn before its keys are given, erased when it closes (protocol.md, 4.7)."""

import hashlib
import os
from dataclasses import dataclass
from typing import Self

from veilmatch_crypto import AgreementKey, PrivateKey, PublicKey

_SECRET_BYTES = 32


@dataclass(frozen=True)
class JobSecrets:
    """This node's secrets of a job, erased when it closes."""

    agreement: AgreementKey
    noise: bytes
    paillier: PrivateKey | None

    def __repr__(self) -> str:
        return "JobSecrets(...)"

    @classmethod
    def draw(cls, paillier: PrivateKey | None) -> Self:
        """Draw fresh ones; ``paillier`` is the recipient's key, None at everybody else."""
        return cls(AgreementKey.generate(), os.urandom(_SECRET_BYTES), paillier)

    def encode(self) -> bytes:
        """Return them as the store keeps them, locked."""
        key = b"" if self.paillier is None else self.paillier.to_bytes()
        return self.agreement.to_bytes() + self.noise + key

    @classmethod
    def decode(cls, data: bytes, key_bits: int) -> Self:
        """Read what ``encode`` gave."""
        agreement, noise, key = (
            data[:_SECRET_BYTES],
            data[_SECRET_BYTES : 2 * _SECRET_BYTES],
            data[2 * _SECRET_BYTES :],
        )
        paillier = PrivateKey.from_bytes(key, key_bits) if key else None
        return cls(AgreementKey.from_bytes(agreement), noise, paillier)


def modulus_hash(key: PublicKey) -> bytes:
    """What is remembered of a key; without h, or the same modulus would pass under another h."""
    return hashlib.sha256(key.n.to_bytes(key.bits // 8, "big")).digest()
