"""Contribution, combination and opening at 3072 bits on one core, beside their bare products and phe.

Required, medians: contribution (masks of five departments, packing, encryption) 13 us a person and
department, combination 1.2 us (the coordinator's own B is encrypted beside it), opening 32 us a
person, all three together 1,000 times phe a value.  Each round measures the work and its floor in
turns, so that a busy machine slows both: ``over_floor`` says what is ours, the floor what is GMP's.
"""

import os
import statistics
import time
from functools import cache

import gmpy2
import numpy as np
import phe
import pytest
from gmpy2 import mpz

from veilmatch_crypto.ciphertexts import (
    ResidueGuard,
    encrypt_chunk,
    multiply_chunks,
    open_chunk,
    read_chunk,
)
from veilmatch_crypto.fixed_base import EXPONENT_BITS, FixedBase, choose_window
from veilmatch_crypto.masks import ContributorMasks, CoordinatorMasks, answer_words
from veilmatch_crypto.packing import Layout
from veilmatch_crypto.paillier import generate

BITS = 3072
LAYOUT = Layout(BITS)
CIPHERTEXTS = 64
PEOPLE = CIPHERTEXTS * LAYOUT.data_slots
DEPARTMENTS = 5
EXPECTED = LAYOUT.ciphertexts_for(200_000)  # the size of the required run decides the table
ROUNDS = 15


@cache
def key():
    return generate(BITS)


@cache
def numbers(bits: int) -> list[mpz]:
    return [mpz.from_bytes(os.urandom(bits // 8), "big") for _ in range(CIPHERTEXTS)]


def secret_keys(count: int) -> tuple[bytes, ...]:
    return tuple(os.urandom(32) for _ in range(count))


@cache
def contributor() -> ContributorMasks:
    others = DEPARTMENTS - 1
    return ContributorMasks(secret_keys(others // 2 + 1), secret_keys(others - others // 2), os.urandom(32))


@cache
def holds() -> np.ndarray:
    return np.frombuffer(os.urandom(PEOPLE), np.uint8) < 128


def contribute(public, ciphertexts=CIPHERTEXTS) -> bytes:
    answers = answer_words(holds()[: ciphertexts * LAYOUT.data_slots], b"n" * 32, LAYOUT, 0, 0)
    return encrypt_chunk(public, contributor().apply(answers, 0, 0), EXPECTED)


@cache
def contributions() -> tuple[bytes, ...]:
    return tuple(contribute(key().public) for _ in range(DEPARTMENTS + 1))


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(
    benchmark, work, floor, *, people: int, required: float | None = None, rounds: int = ROUNDS
) -> float:
    """Run ``work`` and ``floor`` in turns and return the median of their times' ratios.

    ``people`` and ``required`` (microseconds a person) are for one run of ``work``.
    """
    floors: list[float] = []
    benchmark.pedantic(work, setup=lambda: floors.append(seconds(floor)), rounds=rounds, warmup_rounds=1)
    works = benchmark.stats.stats.data
    us = round(statistics.median(works) / people * 1e6, 2)
    ratio = statistics.median(ours / bare for ours, bare in zip(works, floors[-len(works) :], strict=True))
    benchmark.extra_info.update(us_per_person=us, required_us=required, over_floor=round(ratio, 4))
    print(f"\n{benchmark.name}: {us} us a person (required {required}), {ratio:.4f} of its floor")
    return ratio


@pytest.mark.benchmark(group="paillier")
def test_contribution(benchmark) -> None:
    public = key().public
    square = mpz(public.n) ** 2
    rows = -(-EXPONENT_BITS // choose_window(EXPECTED, BITS))

    def floor() -> None:
        for x, residue in zip(numbers(2 * BITS), numbers(BITS), strict=True):
            product = x
            for _ in range(rows):
                product = product * residue % square

    measure(benchmark, lambda: contribute(public), floor, people=PEOPLE, required=13)


@pytest.mark.benchmark(group="paillier")
def test_combination(benchmark) -> None:
    """A person and department; residues are compared too.  B's own encryption is measured next."""
    public = key().public
    square = mpz(public.n) ** 2

    def combine() -> None:
        guard = ResidueGuard(public)
        for chunk in contributions():
            guard.admit(chunk)
        multiply_chunks(public, contributions())

    def floor() -> None:
        for x, y in zip(numbers(2 * BITS), reversed(numbers(2 * BITS)), strict=True):
            for _ in range(DEPARTMENTS):
                _ = x * y % square

    measure(benchmark, combine, floor, people=PEOPLE * DEPARTMENTS, required=1.2)


@pytest.mark.benchmark(group="paillier")
def test_own_ciphertext_of_the_coordinator(benchmark) -> None:
    public = key().public
    masks = CoordinatorMasks(secret_keys(DEPARTMENTS), os.urandom(32))
    rows = LAYOUT.spread(holds())
    measure(
        benchmark,
        lambda: encrypt_chunk(public, masks.own_words(rows, 0, 0), EXPECTED),
        lambda: contribute(public),
        people=PEOPLE,
    )


@pytest.mark.benchmark(group="paillier")
def test_opening(benchmark) -> None:
    product = multiply_chunks(key().public, contributions())
    ciphertexts = read_chunk(key().public, product)

    def floor() -> None:
        for prime, order in zip((key()._p, key()._q), key()._orders, strict=True):
            for ciphertext in ciphertexts:
                gmpy2.powmod(ciphertext, order, prime * prime)

    measure(benchmark, lambda: open_chunk(key(), product), floor, people=PEOPLE, required=32)


@pytest.mark.benchmark(group="paillier")
def test_strict_contribution(benchmark) -> None:
    """Plain Paillier's noise r**n: what the subgroup saves."""
    strict = generate(BITS, strict=True)
    square = mpz(strict.public.n) ** 2
    measure(
        benchmark,
        lambda: contribute(strict.public, ciphertexts=2),
        lambda: [gmpy2.powmod(x, strict.public.n, square) for x in numbers(BITS)[:2]],
        people=2 * LAYOUT.data_slots,
        rounds=5,
    )


@pytest.mark.benchmark(group="paillier")
def test_strict_opening(benchmark) -> None:
    strict = generate(BITS, strict=True)
    chunk = contribute(strict.public, ciphertexts=4)
    measure(
        benchmark,
        lambda: open_chunk(strict, chunk),
        lambda: [key().decrypt_full(c) for c in read_chunk(key().public, contributions()[0][: len(chunk)])],
        people=4 * LAYOUT.data_slots,
        rounds=5,
    )


@pytest.mark.benchmark(group="paillier")
def test_together_against_phe(benchmark) -> None:
    """One department's value encrypted, added and opened: ours a person, phe a value."""
    public = phe.PaillierPublicKey(key().public.n)
    private = phe.PaillierPrivateKey(public, int(key()._p), int(key()._q))
    other = public.encrypt(1)

    def floor() -> None:
        assert private.decrypt(public.encrypt(12345) + other) == 12346

    def ours() -> None:
        open_chunk(key(), multiply_chunks(key().public, [contribute(key().public), contributions()[1]]))

    # The floor is one value of phe's, a round of ours PEOPLE of them.
    times = round(PEOPLE / measure(benchmark, ours, floor, people=PEOPLE, rounds=7))
    benchmark.extra_info.update(times_faster_than_phe=times, required_times=1000)
    print(f"{times} times faster than phe {phe.__version__} a value (required 1000)")


@pytest.mark.benchmark(group="paillier table")
def test_table(benchmark) -> None:
    """Made once a process and key: for 200,000 people."""
    public = key().public
    window = choose_window(EXPECTED, BITS)
    benchmark.extra_info.update(window=window, entries=-(-EXPONENT_BITS // window) << window)
    benchmark.pedantic(lambda: FixedBase(public.n, public.h, window), rounds=3)
