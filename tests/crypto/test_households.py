"""Household order: totals and carried bits against plain sums, through translation; the order is uniform."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from translation_world import opened, random_bits, random_words, run, split

from veilmatch_crypto.households import HouseholdOrder, Layers
from veilmatch_crypto.prg import WORD_MASK


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def labels_of(sizes: list[int], singles: int, seed: int) -> np.ndarray:
    """Labels of households of these sizes and of singles without a label, mixed."""
    rng = np.random.default_rng(seed)
    names = rng.choice(2**32 - 1, len(sizes), replace=False).astype(np.uint32) + np.uint32(1)
    labels = np.concatenate((np.repeat(names, sizes), np.zeros(singles, np.uint32))).astype(np.uint32)
    return rng.permutation(labels)


def household_of(labels: np.ndarray) -> list:
    """Each slot's household; a slot without a label is one of its own."""
    return [("label", int(label)) if label else ("slot", slot) for slot, label in enumerate(labels)]


SIZES = st.lists(st.sampled_from([1, 1, 2, 3, 4, 12, 32]), max_size=12)


@given(SIZES, st.integers(0, 20), st.integers(0, 2**32))
@settings(max_examples=40)
def test_totals_and_carried_bits_are_those_of_plain_households(sizes, singles: int, seed: int) -> None:
    labels = labels_of(sizes, singles + (not sizes), seed)
    people = len(labels)
    households = HouseholdOrder.draw(labels, key(seed))
    layers = households.layers
    owner = household_of(labels)
    assert sorted(households.order.tolist()) == list(range(people))
    at_place = [owner[slot] for slot in households.order]
    first_layer = at_place[: layers.households]
    member_counts = Counter(owner)
    assert sorted(map(str, first_layer)) == sorted(map(str, member_counts))
    assert [member_counts[one] for one in first_layer] == sorted(member_counts.values(), reverse=True)
    assert layers.counts == tuple(
        sum(size > j for size in member_counts.values()) for j in range(max(member_counts.values()))
    )

    words, bits = random_words(people, seed), random_bits(people, seed)
    there = run(households.order, [split(words, 1), split(bits, 2)], seed)
    word_shares, bit_shares = zip(there.recipient, there.coordinator, strict=True)
    totals = sum(layers.total(share) for share in word_shares) & WORD_MASK
    parities = layers.parity(bit_shares[0]) ^ layers.parity(bit_shares[1])
    for place, household in enumerate(first_layer):
        members = [slot for slot in range(people) if owner[slot] == household]
        assert int(totals[place]) == sum(map(int, words[members])) % 2**40
        assert parities[place] == np.bitwise_xor.reduce(bits[members])

    answers = random_bits(layers.households, seed)
    carried = run(households.back, [tuple(map(layers.spread, split(answers, 3)))], seed + 1)
    answer_of = dict(zip(first_layer, answers, strict=True))
    assert opened(carried)[0].tolist() == [answer_of[household] for household in owner]


def test_households_of_one_size_and_their_members_come_in_any_order() -> None:
    """Two pairs, a labelled single and one without: 2! (2!)^2 2! orders, one as likely as the other."""
    labels = np.array([9, 0, 5, 9, 7, 5], np.uint32)
    drawn = Counter(tuple(HouseholdOrder.draw(labels, key(i)).order.tolist()) for i in range(1600))
    assert len(drawn) == 16
    assert chisquare(list(drawn.values())).pvalue > 1e-4


def test_a_household_of_thousands() -> None:
    labels = labels_of([5000, 2], 100, 0)
    households = HouseholdOrder.draw(labels, key(0))
    ones = np.ones(5102, np.uint64)
    assert households.layers.total(ones).tolist() == [5000, 2, *[1] * 100]
    assert np.array_equal(
        households.layers.spread(households.layers.total(ones))[:102], [5000, 2] + [1] * 100
    )


def test_totals_wrap_modulo_2_to_the_40() -> None:
    assert Layers((1, 1)).total(np.array([WORD_MASK, 3], np.uint64)).tolist() == [2]


def test_vectors_are_left_alone() -> None:
    words = np.array([1, 2, 3], np.uint64)
    Layers((2, 1)).total(words)
    assert words.tolist() == [1, 2, 3]


@pytest.mark.parametrize("counts", [(), (0,), (2, 3), (2, 0), (2, -1)])
def test_layers_that_cannot_be_are_refused(counts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="layers"):
        Layers(counts)


def test_vectors_of_another_size_are_refused() -> None:
    layers = Layers((2, 1))
    for call in (
        lambda: layers.total(np.zeros(2, np.uint64)),
        lambda: layers.parity(np.zeros(4, bool)),
        lambda: layers.spread(np.zeros(3, bool)),
    ):
        with pytest.raises(ValueError, match="shape"):
            call()
    with pytest.raises(ValueError, match="no slots"):
        HouseholdOrder.draw(np.zeros(0, np.uint32), key(0))
