"""A shared vector through translation, with all three parties in lockstep."""

import numpy as np
from lockstep import Exchange, exchange

from veilmatch_crypto.circuit import Steps
from veilmatch_crypto.prg import WORD_MASK
from veilmatch_crypto.translation import (
    CoordinatorTranslation,
    DealerTranslation,
    RecipientTranslation,
    Translation,
)

MODULUS = 2**40


def random_words(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, MODULUS, count, dtype=np.uint64)


def random_bits(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, count).astype(bool)


def split(vector: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The recipient's share, drawn at random, and the coordinator's."""
    if vector.dtype == bool:
        share = random_bits(len(vector), seed)
        return share, vector ^ share
    share = random_words(len(vector), seed)
    return share, (vector - share) & WORD_MASK


def translate_all(arranging: Steps[Translation], shares: list[np.ndarray]) -> Steps[list[np.ndarray]]:
    """The program that all three run."""
    translation = yield from arranging
    results = []
    for share in shares:
        if share.dtype == bool:
            results.append((yield from translation.bits(share)))
        else:
            results.append((yield from translation.words(share)))
    return results


def run(order: np.ndarray, shares: list[tuple[np.ndarray, np.ndarray]], seed: int = 0) -> Exchange:
    people = len(order)
    return exchange(
        lambda r: translate_all(RecipientTranslation.arrange(r, people), [one for one, _ in shares]),
        lambda r: translate_all(CoordinatorTranslation.arrange(r, order), [other for _, other in shares]),
        lambda r: translate_all(DealerTranslation.arrange(r, people), [np.zeros_like(s) for s, _ in shares]),
        seed,
    )


def opened(result: Exchange) -> list[np.ndarray]:
    return [
        one ^ other if one.dtype == bool else (one + other) & WORD_MASK
        for one, other in zip(result.recipient, result.coordinator, strict=True)
    ]
