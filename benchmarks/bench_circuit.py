"""Comparison and zero test of 200,000 people's shared numbers, all three parties on one core.

Required a person, medians, recipient, coordinator and dealer together, slicing included: 1.5 us of
CPU for a 40-bit comparison and for a zero test, 80 bytes on the wire for the comparison.  Each
round measures the work and its floor in turns; the floor is the AES that the triples take, at
every party, and nothing else.  ``chunks`` in the report is the work at other chunk sizes: small
ones pay for calls, large ones leave the second-level cache.
"""

import os
import statistics
import time
from functools import cache

import numpy as np
import pytest

from veilmatch_crypto.bitslices import PEOPLE_PER_WORD, slice_words
from veilmatch_crypto.circuit import CoordinatorGates, DealerGates, RecipientGates, negated, negative, zero
from veilmatch_crypto.prg import WORD_MASK, KeyedStream
from veilmatch_crypto.triples import CoordinatorRandomness, DealerRandomness, RecipientRandomness

PEOPLE = 200_000
CHUNK = 65_536  # the fastest of CHUNKS for the comparison: its largest round fits 2 MiB of cache
CHUNKS = (8_192, 16_384, 32_768, 65_536, 131_072, 200_000)
ROUNDS = 15
STREAM_WORDS = 10  # an AND: three at the recipient, two at the coordinator, both again at the dealer


@cache
def shares() -> tuple[np.ndarray, np.ndarray]:
    one, other = (np.frombuffer(os.urandom(8 * PEOPLE), np.uint64) & WORD_MASK for _ in range(2))
    return one, other


def send(steps, body):
    """One step of a party: its body, or None where the circuit has ended."""
    try:
        return steps.send(body)
    except StopIteration:
        return None


class Wire:
    """Recipient, coordinator and dealer, with a list between them; counts what crosses it."""

    def __init__(self) -> None:
        recipient, coordinator = os.urandom(32), os.urandom(32)
        self.corrections: list[bytes] = []
        arriving = iter(lambda: self.corrections.pop(0), None)
        self.dealer = DealerGates(DealerRandomness(recipient, coordinator))
        self.recipient = RecipientGates(RecipientRandomness(recipient))
        self.coordinator = CoordinatorGates(CoordinatorRandomness(coordinator, arriving))
        self.bytes_sent = 0
        self.bytes_dealt = 0

    def run(self, test, one, other) -> None:
        """One chunk from words to the shared result."""
        mine, theirs = slice_words(one), slice_words(negated(other) if test is zero else other)
        dealer = test(self.dealer, np.zeros(mine.shape, np.uint64))
        recipient, coordinator = test(self.recipient, mine), test(self.coordinator, theirs)
        to_coordinator = to_recipient = None
        while (correction := send(dealer, None)) is not None:
            self.corrections.append(correction)
            to_coordinator, to_recipient = send(recipient, to_recipient), send(coordinator, to_coordinator)
            self.bytes_sent += len(to_coordinator) + len(to_recipient)
            self.bytes_dealt += len(correction)
        send(recipient, to_recipient)
        send(coordinator, to_coordinator)


def work(test, chunk: int) -> Wire:
    wire = Wire()
    one, other = shares()
    for start in range(0, PEOPLE, chunk):
        wire.run(test, one[start : start + chunk], other[start : start + chunk])
    return wire


def cpu_seconds(function, *arguments) -> float:
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def measure(benchmark, test, required: float) -> Wire:
    wire = work(test, CHUNK)
    ands = wire.bytes_dealt * 8 / -(-PEOPLE // PEOPLE_PER_WORD) / PEOPLE_PER_WORD
    words = round(STREAM_WORDS * ands * PEOPLE / PEOPLE_PER_WORD)
    stream = KeyedStream(os.urandom(32))

    def floor() -> None:
        # About as much at a time as a round of one chunk takes: all at once would measure memory.
        pieces = 7 * -(-PEOPLE // CHUNK)
        for _ in range(pieces):
            stream.words64(words // pieces)

    turns = [(cpu_seconds(work, test, CHUNK), cpu_seconds(floor)) for _ in range(ROUNDS)]
    ours, bare = (statistics.median(column) for column in zip(*turns, strict=True))
    chunks = {
        size: round(statistics.median(cpu_seconds(work, test, size) for _ in range(5)) / PEOPLE * 1e6, 3)
        for size in CHUNKS
    }
    benchmark.extra_info.update(
        us_per_person=round(ours / PEOPLE * 1e6, 3),
        required_us=required,
        aes_us_per_person=round(bare / PEOPLE * 1e6, 3),
        over_floor=round(statistics.median(one / other for one, other in turns), 2),
        ands=round(ands),
        bytes_per_person=round((wire.bytes_sent + wire.bytes_dealt) / PEOPLE, 1),
        bytes_dealt_per_person=round(wire.bytes_dealt / PEOPLE, 1),
        chunks=chunks,
    )
    print(f"\n{benchmark.name}: {benchmark.extra_info}")
    benchmark.pedantic(work, (test, CHUNK), rounds=ROUNDS)
    return wire


@pytest.mark.benchmark(group="circuit")
def test_comparison(benchmark) -> None:
    """83 ANDs, 7 rounds a chunk."""
    wire = measure(benchmark, negative, required=1.5)
    benchmark.extra_info["required_bytes"] = 80
    assert wire.bytes_sent + wire.bytes_dealt <= 80 * PEOPLE


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
