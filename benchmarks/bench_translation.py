"""Translation of 200,000 people's shares into household order, all three parties on one core.

Required a person and vector, medians, recipient, coordinator and dealer together: 1 us of CPU and 16 bytes
on the wire, with the order drawn and sent for one vector.  Each round measures the work and its
floor in turns; the floor is three bare gathers of the same numbers, one a party: ``over_floor`` is
what masks, packing and drawing the order add.
"""

import os
import statistics
import time
from functools import cache

import numpy as np
import pytest

from veilmatch_crypto.households import HouseholdOrder
from veilmatch_crypto.prg import WORD_MASK, permutation
from veilmatch_crypto.translation import CoordinatorTranslation, DealerTranslation, RecipientTranslation
from veilmatch_crypto.triples import CoordinatorRandomness, DealerRandomness, RecipientRandomness

PEOPLE = 200_000
ROUNDS = 15


@cache
def order() -> np.ndarray:
    """Households of four, in slots at random."""
    slots = permutation(os.urandom(32), PEOPLE)
    return HouseholdOrder.draw((slots // 4 + 1).astype(np.uint32), os.urandom(32)).order


@cache
def words() -> tuple[np.ndarray, np.ndarray]:
    one, other = (np.frombuffer(os.urandom(8 * PEOPLE), np.uint64) & WORD_MASK for _ in range(2))
    return one, other


@cache
def bits() -> tuple[np.ndarray, np.ndarray]:
    one, other = (np.frombuffer(os.urandom(PEOPLE), np.uint8) < 128 for _ in range(2))
    return one, other


class Wire:
    """The three parties with a list between them; counts what crosses it."""

    def __init__(self) -> None:
        recipient, coordinator = os.urandom(32), os.urandom(32)
        self.corrections: list[bytes] = []
        arriving = iter(lambda: self.corrections.pop(0), None)
        self.bytes = 0
        self.dealer, self.recipient, self.coordinator = self._run(
            DealerTranslation.arrange(DealerRandomness(recipient, coordinator), PEOPLE),
            RecipientTranslation.arrange(RecipientRandomness(recipient), PEOPLE),
            CoordinatorTranslation.arrange(CoordinatorRandomness(coordinator, arriving), order()),
        )

    def words(self) -> None:
        one, other = words()
        self._run(self.dealer.words(one), self.recipient.words(one), self.coordinator.words(other))

    def bits(self) -> None:
        one, other = bits()
        self._run(self.dealer.bits(one), self.recipient.bits(one), self.coordinator.bits(other))

    def _run(self, dealer, recipient, coordinator) -> list:
        to_recipient = to_coordinator = None
        results = []
        while not results:
            for steps in (dealer, recipient, coordinator):
                body = to_recipient if steps is recipient else to_coordinator
                try:
                    sent = steps.send(None if steps is dealer else body)
                except StopIteration as end:
                    results.append(end.value)
                    continue
                self.bytes += len(sent)
                if steps is dealer:
                    self.corrections.append(sent)
                elif steps is recipient:
                    for_coordinator = sent
                else:
                    to_recipient, to_coordinator = sent, for_coordinator
        return results


def one_vector() -> None:
    Wire().words()


def cpu_seconds(function) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def measure(benchmark, work, vectors, byte_count: int, required_us: float | None) -> None:
    """Report one run of ``work`` a person, beside a gather a party of ``vectors``."""
    index = order()

    def floor() -> None:
        for vector in (*vectors, vectors[0]):
            vector.take(index)

    turns = [(cpu_seconds(work), cpu_seconds(floor)) for _ in range(ROUNDS)]
    ours, bare = (statistics.median(column) for column in zip(*turns, strict=True))
    benchmark.extra_info.update(
        us_per_person=round(ours / PEOPLE * 1e6, 3),
        required_us=required_us,
        gathers_us_per_person=round(bare / PEOPLE * 1e6, 3),
        over_floor=round(statistics.median(one / other for one, other in turns), 1),
        bytes_per_person=round(byte_count / PEOPLE, 2),
    )
    print(f"\n{benchmark.name}: {benchmark.extra_info}")
    benchmark.pedantic(work, rounds=ROUNDS)


@pytest.mark.benchmark(group="translation")
def test_order_and_one_vector_of_words(benchmark) -> None:
    """P drawn by two parties, S sent, one vector: the dearest a vector can be."""
    wire = Wire()
    wire.words()
    measure(benchmark, one_vector, words(), wire.bytes, 1.0)
    assert wire.bytes <= 16 * PEOPLE


@pytest.mark.benchmark(group="translation")
def test_a_further_vector_of_words(benchmark) -> None:
    wire = Wire()
    before = wire.bytes
    wire.words()
    measure(benchmark, wire.words, words(), wire.bytes - before, 1.0)


@pytest.mark.benchmark(group="translation")
def test_a_further_vector_of_bits(benchmark) -> None:
    wire = Wire()
    before = wire.bytes
    wire.bits()
    measure(benchmark, wire.bits, bits(), wire.bytes - before, 1.0)


@pytest.mark.benchmark(group="translation")
def test_the_order_of_households(benchmark) -> None:
    """The coordinator's own, once an epoch's job: from labels to the order."""
    labels = (permutation(os.urandom(32), PEOPLE) // 4 + 1).astype(np.uint32)
    benchmark.extra_info["people"] = PEOPLE
    benchmark.pedantic(HouseholdOrder.draw, (labels, os.urandom(32)), rounds=5)
