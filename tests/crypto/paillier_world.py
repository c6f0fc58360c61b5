"""Small keys and a whole AND job in memory, for the tests of the Paillier half.

The keys here have 512-bit moduli and 64-bit orders: they are for speed and protect nothing.
"""

from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256

import numpy as np

from veilmatch_crypto.ciphertexts import encrypt_chunk, multiply_chunks, open_chunk
from veilmatch_crypto.masks import (
    ContributorMasks,
    CoordinatorMasks,
    RecipientChecks,
    answer_words,
    noise_key,
)
from veilmatch_crypto.paillier import PrivateKey, _generate, _generate_strict, generate

SMALL_BITS = 512
COORDINATOR = "office"
RECIPIENT = "insurance"


@cache
def small_key() -> PrivateKey:
    return _generate(SMALL_BITS, 64)


@cache
def small_strict_key() -> PrivateKey:
    return _generate_strict(SMALL_BITS)


@cache
def real_key() -> PrivateKey:
    return generate(2048)


def secret(*names: str) -> bytes:
    """A fixed 32 bytes for these names in any order: stands for an X25519 result or a node's secret."""
    return sha256("|".join(sorted(names)).encode()).digest()


def split(chunk: bytes, key: PrivateKey) -> list[bytes]:
    size = key.public.layout.ciphertext_bytes
    return [chunk[at : at + size] for at in range(0, len(chunk), size)]


class AndJob:
    """Contributors' answers through masks, encryption, combination and opening."""

    def __init__(self, contributors: Sequence[str], manifest: bytes = b"m" * 32) -> None:
        self.contributors = list(contributors)
        self.manifest = manifest
        self.layout = small_key().public.layout
        self.coordinator = CoordinatorMasks.derive(
            self.contributors,
            {name: secret(name, COORDINATOR) for name in self.contributors},
            secret("coordinator's own"),
            coordinator=COORDINATOR,
            manifest=manifest,
        )
        self.checks = RecipientChecks.derive(
            self.contributors,
            {name: secret(name, RECIPIENT) for name in self.contributors},
            recipient=RECIPIENT,
            manifest=manifest,
        )

    def masks(self, name: str) -> ContributorMasks:
        return ContributorMasks.derive(
            name,
            self.contributors,
            {other: secret(name, other) for other in [*self.contributors, COORDINATOR, RECIPIENT]},
            coordinator=COORDINATOR,
            recipient=RECIPIENT,
            manifest=self.manifest,
        )

    def words(self, name: str, holds: np.ndarray, outcome: int = 0, chunk: int = 0) -> np.ndarray:
        noise = noise_key(secret("own", name), self.manifest)
        answers = answer_words(holds, noise, self.layout, outcome, chunk)
        return self.masks(name).apply(answers, outcome, chunk)

    def own(self, recipient_rows: np.ndarray, outcome: int = 0, chunk: int = 0) -> np.ndarray:
        return self.coordinator.own_words(self.layout.spread(recipient_rows), outcome, chunk)

    def contributions(self, answers: dict[str, np.ndarray], outcome: int = 0) -> list[bytes]:
        public = small_key().public
        return [
            encrypt_chunk(public, self.words(name, answers[name], outcome), 100) for name in self.contributors
        ]

    def run(
        self,
        answers: dict[str, np.ndarray],
        recipient_rows: np.ndarray,
        tamper: Callable[[list[bytes]], list[bytes]] = lambda chunks: chunks,
    ) -> np.ndarray:
        """The words of the people that the recipient opens, shape (people,); raises as the protocol does."""
        key = small_key()
        own = encrypt_chunk(key.public, self.own(recipient_rows), 100)
        product = multiply_chunks(key.public, [*tamper(self.contributions(answers)), own])
        opened = open_chunk(key, product)
        self.checks.verify(opened, 0, 0)
        return self.layout.gather(opened, len(recipient_rows))
