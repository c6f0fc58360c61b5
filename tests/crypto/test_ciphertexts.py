"""Chunks: the homomorphic laws, the formats, and a whole AND job from answers to opening."""

import gmpy2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from paillier_world import AndJob, real_key, small_key, small_strict_key, split

from veilmatch_crypto.ciphertexts import (
    ResidueGuard,
    encrypt,
    encrypt_chunk,
    multiply_chunks,
    open_chunk,
    read_chunk,
)
from veilmatch_crypto.errors import CiphertextError
from veilmatch_crypto.prg import WORD_BITS, WORD_MASK

KEYS = st.sampled_from([small_key, small_strict_key]).map(lambda make: make())
LAYOUT = small_key().public.layout


def words(m: int):
    return arrays(np.uint64, (m, LAYOUT.slots), elements=st.integers(0, 2**WORD_BITS - 1))


@given(KEYS, words(3))
@settings(max_examples=20, deadline=None)
def test_opening_undoes_encryption(key, plain) -> None:
    chunk = encrypt_chunk(key.public, plain, 10)
    assert len(chunk) == 3 * LAYOUT.ciphertext_bytes
    assert np.array_equal(open_chunk(key, chunk), plain)


@given(KEYS, st.lists(words(2), min_size=1, max_size=5))
@settings(max_examples=20, deadline=None)
def test_the_product_of_chunks_opens_to_the_sum_of_words(key, plains) -> None:
    product = multiply_chunks(key.public, [encrypt_chunk(key.public, plain, 10) for plain in plains])
    assert np.array_equal(open_chunk(key, product), sum(plains) & WORD_MASK)
    # Before the reduction the slots hold the sums over the integers: no carry reaches a neighbour.
    slots = key.public.layout.unpack([key.decrypt(c) for c in read_chunk(key.public, product)])
    assert np.array_equal(slots, sum(plains))


@given(KEYS, st.integers(0), st.integers(0), st.integers(0, 2**64))
@settings(max_examples=30, deadline=None)
def test_paillier_laws(key, a: int, b: int, factor: int) -> None:
    n, square = key.public.n, key.public.n**2
    a, b = a % n, b % n
    x, y = encrypt(key.public, [gmpy2.mpz(a), gmpy2.mpz(b)], 10)
    assert key.decrypt(x * y % square) == (a + b) % n
    assert key.decrypt(gmpy2.powmod(x, factor, square)) == a * factor % n
    assert key.decrypt(x * (1 + b * n) % square) == (a + b) % n
    assert key.decrypt(gmpy2.invert(x, square)) == -a % n


def test_two_encryptions_of_the_same_differ_in_their_randomness() -> None:
    for key in (small_key(), small_strict_key()):
        ciphertexts = encrypt(key.public, [gmpy2.mpz(1)] * 50, 50)
        assert len({int(c % key.public.n) for c in ciphertexts}) == 50


def test_noise_under_a_key_with_h_is_in_the_subgroup_of_h() -> None:
    key = real_key()
    [ciphertext] = encrypt(key.public, [gmpy2.mpz(0)], 1)
    v_p, v_q = key._orders
    assert gmpy2.powmod(ciphertext, v_p * v_q, key.public.n**2) == 1


def test_an_empty_chunk_stays_empty() -> None:
    key = small_key()
    chunk = encrypt_chunk(key.public, np.zeros((0, LAYOUT.slots), np.uint64), 1)
    assert chunk == b""
    assert open_chunk(key, multiply_chunks(key.public, [chunk, chunk])).shape == (0, LAYOUT.slots)


@pytest.mark.parametrize("fault", ["short", "zero", "n**2", "all ones"])
def test_malformed_chunks_are_refused(fault: str) -> None:
    key = small_key()
    size = LAYOUT.ciphertext_bytes
    good = encrypt_chunk(key.public, np.zeros((2, LAYOUT.slots), np.uint64), 2)
    bad = {
        "short": good[:-1],
        "zero": good[:size] + bytes(size),
        "n**2": good[:size] + (key.public.n**2).to_bytes(size, "big"),
        "all ones": good[:size] + b"\xff" * size,
    }[fault]
    for use in (
        lambda: read_chunk(key.public, bad),
        lambda: open_chunk(key, bad),
        lambda: multiply_chunks(key.public, [good, bad]),
        lambda: ResidueGuard(key.public).admit(bad),
    ):
        with pytest.raises(CiphertextError):
            use()


def test_chunks_of_different_lengths_are_not_multiplied() -> None:
    key = small_key()
    one, two = (encrypt_chunk(key.public, np.zeros((m, LAYOUT.slots), np.uint64), 2) for m in (1, 2))
    with pytest.raises(CiphertextError, match="differ"):
        multiply_chunks(key.public, [two, one])


def test_the_guard_refuses_randomness_that_comes_twice_and_names_no_place() -> None:
    key = small_key()
    public = key.public
    chunk = encrypt_chunk(public, np.zeros((4, LAYOUT.slots), np.uint64), 4)
    other = encrypt_chunk(public, np.zeros((4, LAYOUT.slots), np.uint64), 4)
    guard = ResidueGuard(public)
    guard.admit(chunk)
    # The same randomness under another plaintext: c (1 + 5 n) has the residue of c.
    third = int.from_bytes(split(chunk, key)[2], "big")
    changed = (third * (1 + 5 * public.n) % public.n**2).to_bytes(LAYOUT.ciphertext_bytes, "big")
    for repeat in (chunk, split(chunk, key)[3], changed, split(other, key)[0] * 2):
        with pytest.raises(CiphertextError, match="same randomness") as caught:
            guard.admit(repeat)
        assert not any(character.isdigit() for character in str(caught.value))
        assert caught.value.__notes__[0].startswith("ciphertext ")
    guard.admit(other)  # nothing of the refused chunks was taken in
    ResidueGuard(public).admit(chunk)


@given(st.integers(2, 5), st.integers(1, 60), st.data())
@settings(max_examples=15, deadline=None)
def test_the_recipient_reads_the_and_of_all_departments_in_its_own_slots(count, people, data) -> None:
    job = AndJob([f"department-{i}" for i in range(count)])
    answers = {name: data.draw(arrays(bool, people)) for name in job.contributors}
    rows = data.draw(arrays(bool, people))
    opened = job.run(answers, rows)
    eligible = np.logical_and.reduce(list(answers.values()))
    assert np.array_equal(opened == 0, eligible & rows)


def test_what_decryption_gives_are_the_sums_that_the_carry_tests_look_at() -> None:
    job, key = AndJob(["a", "b", "c"]), small_key()
    everybody = np.ones(20, bool)
    product = multiply_chunks(
        key.public,
        [
            *job.contributions(dict.fromkeys("abc", everybody)),
            encrypt_chunk(key.public, job.own(everybody), 3),
        ],
    )
    slots = key.public.layout.unpack([key.decrypt(c) for c in read_chunk(key.public, product)])
    assert np.array_equal(slots, sum(job.words(name, everybody) for name in "abc") + job.own(everybody))
