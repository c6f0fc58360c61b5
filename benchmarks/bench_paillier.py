"""Contribution, combination and opening at 3072 bits on one core, beside their bare products and phe.

Required, medians: contribution (masks of five departments, packing, encryption) 13 us a person and
department, combination 1.2 us (the coordinator's own B is encrypted beside it), opening 32 us a
person, all three together 1,000 times phe a value.  Each round measures the work and its floor in
turns, so that a busy machine slows both: ``over_floor`` says what is ours, the floor what is GMP's.
`veilmatch bench` has the first four beside other peers.
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

from veilmatch.bench.kinds.ciphertexts import Bench, Floors
from veilmatch_crypto.ciphertexts import encrypt_chunk, open_chunk, read_chunk
from veilmatch_crypto.fixed_base import EXPONENT_BITS, FixedBase, choose_window
from veilmatch_crypto.masks import CoordinatorMasks
from veilmatch_crypto.paillier import generate

BITS = 3072
DEPARTMENTS = 5
PEOPLE_OF_RUN = 200_000  # the size of the required run decides the table
ROUNDS = 15


@cache
def bench() -> Bench:
    return Bench(BITS, DEPARTMENTS, PEOPLE_OF_RUN)


@cache
def floors() -> Floors:
    return Floors(bench(), BITS, DEPARTMENTS)


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
    measure(benchmark, bench().contribute, floors().noise, people=bench().people, required=13)


@pytest.mark.benchmark(group="paillier")
def test_combination(benchmark) -> None:
    """A person and department; residues are compared too.  B's own encryption is measured next."""
    people = bench().people * DEPARTMENTS
    measure(benchmark, bench().combine, floors().products, people=people, required=1.2)


@pytest.mark.benchmark(group="paillier")
def test_own_ciphertext_of_the_coordinator(benchmark) -> None:
    masks = CoordinatorMasks(tuple(os.urandom(32) for _ in range(DEPARTMENTS)), os.urandom(32))
    rows = bench().layout.spread(np.frombuffer(os.urandom(bench().people), np.uint8) < 128)
    measure(
        benchmark,
        lambda: encrypt_chunk(bench().key.public, masks.own_words(rows, 0, 0), bench().expected),
        bench().contribute,
        people=bench().people,
    )


@pytest.mark.benchmark(group="paillier")
def test_opening(benchmark) -> None:
    measure(benchmark, bench().open, floors().powers, people=bench().people, required=32)


@pytest.mark.benchmark(group="paillier")
def test_strict_contribution(benchmark) -> None:
    """Plain Paillier's noise r**n: what the subgroup saves."""
    strict = generate(BITS, strict=True).public
    square = mpz(strict.n) ** 2
    units = [mpz.from_bytes(os.urandom(BITS // 8), "big") for _ in range(2)]
    measure(
        benchmark,
        lambda: encrypt_chunk(strict, bench().words[:2], bench().expected),
        lambda: [gmpy2.powmod(x, strict.n, square) for x in units],
        people=2 * bench().layout.data_slots,
        rounds=5,
    )


@pytest.mark.benchmark(group="paillier")
def test_strict_opening(benchmark) -> None:
    strict, key = generate(BITS, strict=True), bench().key
    chunk = encrypt_chunk(strict.public, bench().words[:4], bench().expected)
    measure(
        benchmark,
        lambda: open_chunk(strict, chunk),
        lambda: [key.decrypt_full(c) for c in read_chunk(key.public, bench().chunks[0][: len(chunk)])],
        people=4 * bench().layout.data_slots,
        rounds=5,
    )


@pytest.mark.benchmark(group="paillier")
def test_together_against_phe(benchmark) -> None:
    """One department's value encrypted, added and opened: ours a person, phe a value."""
    key, people = bench().key, bench().people
    public = phe.PaillierPublicKey(key.public.n)
    private = phe.PaillierPrivateKey(public, int(key._p), int(key._q))
    other = public.encrypt(1)

    def floor() -> None:
        assert private.decrypt(public.encrypt(12345) + other) == 12346

    # The floor is one value of phe's, a round of ours as many of them as there are people.
    times = round(people / measure(benchmark, bench().value, floor, people=people, rounds=7))
    benchmark.extra_info.update(times_faster_than_phe=times, required_times=1000)
    print(f"{times} times faster than phe {phe.__version__} a value (required 1000)")


@pytest.mark.benchmark(group="paillier table")
def test_table(benchmark) -> None:
    """Made once a process and key: for 200,000 people."""
    public = bench().key.public
    window = choose_window(bench().expected, BITS)
    benchmark.extra_info.update(window=window, entries=-(-EXPONENT_BITS // window) << window)
    benchmark.pedantic(lambda: FixedBase(public.n, public.h, window), rounds=3)
