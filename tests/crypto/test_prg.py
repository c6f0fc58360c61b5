"""The keyed generator against AES itself, and its streams against each other."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from veilmatch_crypto.prg import WORD_MASK, permutation, words40

KEY = bytes(range(32))
U32 = st.integers(0, 2**32 - 1)


def reference_word(key: bytes, outcome: int, chunk: int, j: int) -> int:
    """protocol.md, 4.4 read literally, on another library's single AES blocks."""
    block, half = divmod(j, 2)
    counter = outcome.to_bytes(4, "big") + chunk.to_bytes(4, "big") + block.to_bytes(8, "big")
    encryptor = Cipher(AES(key), ECB()).encryptor()
    stream = encryptor.update(counter)
    return int.from_bytes(stream[8 * half : 8 * half + 8], "little") & (2**40 - 1)


@given(st.binary(min_size=32, max_size=32), U32, U32, st.integers(1, 40))
def test_words_are_what_the_protocol_says(key: bytes, outcome: int, chunk: int, count: int) -> None:
    words = words40(key, outcome, chunk, count)
    assert words.dtype == np.uint64
    assert words.tolist() == [reference_word(key, outcome, chunk, j) for j in range(count)]


def test_a_short_stream_is_the_beginning_of_a_long_one() -> None:
    assert np.array_equal(words40(KEY, 1, 2, 7), words40(KEY, 1, 2, 1000)[:7])
    assert words40(KEY, 1, 2, 0).shape == (0,)


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_keys_of_other_lengths_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        words40(bytes(size), 0, 0, 1)


@pytest.mark.parametrize(("outcome", "chunk"), [(2**32, 0), (0, 2**32), (-1, 0), (0, -1)])
def test_numbers_that_would_wrap_into_another_stream_are_refused(outcome: int, chunk: int) -> None:
    with pytest.raises(OverflowError):
        words40(KEY, outcome, chunk, 1)


def test_words_are_uniform() -> None:
    words = words40(KEY, 3, 4, 1 << 17)
    for shift in (0, 16, 32):
        counts = np.bincount((words >> np.uint64(shift)) & np.uint64(255), minlength=256)
        assert chisquare(counts).pvalue > 1e-4
    assert words.max() <= WORD_MASK


@given(st.integers(0, 500))
def test_a_permutation_permutes(count: int) -> None:
    order = permutation(KEY, count)
    assert sorted(order.tolist()) == list(range(count))
    assert np.array_equal(order, permutation(KEY, count))


def test_permutations_are_uniform() -> None:
    ranks = np.array([permutation(number.to_bytes(32, "big"), 4) @ (64, 16, 4, 1) for number in range(4800)])
    values, counts = np.unique(ranks, return_counts=True)
    assert len(values) == 24
    assert chisquare(counts).pvalue > 1e-4
