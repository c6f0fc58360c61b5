"""Comparison and zero test of 200,000 people's shared numbers, all three parties on one core.

Required a person, medians, recipient, coordinator and dealer together, slicing included: 1.5 us of
CPU for a 40-bit comparison and for a zero test, 80 bytes on the wire for the comparison.  Each
round measures the work and its floor in turns; the floor is the AES that the triples take, at
every party, and nothing else.  ``chunks`` in the report is the work at other chunk sizes: small
ones pay for calls, large ones leave the second-level cache.
"""

import statistics
from functools import cache

import numpy as np
import pytest

from veilmatch.bench.kinds.comparison import triples_floor
from veilmatch.bench.rounds import cpu_seconds
from veilmatch.bench.three_parties import CHUNK, ThreeParties, random_shares, run_chunks
from veilmatch_crypto.bitslices import slice_words
from veilmatch_crypto.circuit import negative, zero

PEOPLE = 200_000
CHUNKS = (8_192, 16_384, 32_768, CHUNK, 131_072, 200_000)
ROUNDS = 15


@cache
def shares() -> tuple[np.ndarray, np.ndarray]:
    return random_shares(PEOPLE)


def work(test, chunk: int) -> ThreeParties:
    return run_chunks(test, *shares(), chunk)


def measure(benchmark, test, required: float) -> ThreeParties:
    parties = work(test, CHUNK)
    floor = triples_floor(parties, PEOPLE)
    turns = [(cpu_seconds(lambda: work(test, CHUNK)), cpu_seconds(floor.run)) for _ in range(ROUNDS)]
    ours, bare = (statistics.median(column) for column in zip(*turns, strict=True))
    chunks = {
        size: round(
            statistics.median(cpu_seconds(lambda: work(test, size)) for _ in range(5)) / PEOPLE * 1e6,  # noqa: B023  called here
            3,
        )
        for size in CHUNKS
    }
    benchmark.extra_info.update(
        us_per_person=round(ours / PEOPLE * 1e6, 3),
        required_us=required,
        aes_us_per_person=round(bare / PEOPLE * 1e6, 3),
        over_floor=round(statistics.median(one / other for one, other in turns), 2),
        bytes_per_person=round((parties.bytes_sent + parties.bytes_dealt) / PEOPLE, 1),
        bytes_dealt_per_person=round(parties.bytes_dealt / PEOPLE, 1),
        chunks=chunks,
    )
    print(f"\n{benchmark.name}: {benchmark.extra_info}")
    benchmark.pedantic(work, (test, CHUNK), rounds=ROUNDS)
    return parties


@pytest.mark.benchmark(group="circuit")
def test_comparison(benchmark) -> None:
    """83 ANDs, 7 rounds a chunk."""
    parties = measure(benchmark, negative, required=1.5)
    benchmark.extra_info["required_bytes"] = 80
    assert parties.bytes_sent + parties.bytes_dealt <= 80 * PEOPLE


@pytest.mark.benchmark(group="circuit")
def test_zero(benchmark) -> None:
    """39 ANDs, 6 rounds a chunk."""
    measure(benchmark, zero, required=1.5)


@pytest.mark.benchmark(group="circuit")
def test_slicing(benchmark) -> None:
    """One party's shares into bit slices: part of both figures above, twice."""
    one, _ = shares()
    benchmark.extra_info["people"] = CHUNK
    benchmark(lambda: slice_words(one[:CHUNK]))
