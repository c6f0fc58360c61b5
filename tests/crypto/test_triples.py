"""Triples: three views agree, corrections arrive in any pieces, nothing serves twice."""

from itertools import pairwise

import numpy as np
import pytest
from circuit_world import keys
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from veilmatch_crypto.errors import CircuitError, CryptoError
from veilmatch_crypto.triples import CoordinatorRandomness, DealerRandomness, RecipientRandomness

SHAPES = [(3, 2), (1, 1), (0, 4), (26, 5), (2, 0), (7,)]
SHAPE = st.tuples(st.integers(0, 6), st.integers(0, 6))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.lists(SHAPE, max_size=6), st.lists(st.integers(0, 2000), max_size=8), st.integers(0, 2**32))
def test_the_three_views_are_one_dealing(shapes, places, seed) -> None:
    dealer = DealerRandomness(*keys(seed))
    corrections = b"".join(dealer.triples(shape) for shape in shapes)
    recipient = RecipientRandomness(keys(seed)[0])
    coordinator = CoordinatorRandomness(keys(seed)[1], iter(cut(corrections, places)))
    for shape in shapes:
        one, other = recipient.triples(shape), coordinator.triples(shape)
        a, b, c = (mine ^ theirs for mine, theirs in zip(one, other, strict=True))
        assert a.shape == b.shape == c.shape == shape
        assert np.array_equal(c, a & b)
    coordinator.finish()


def test_triples_are_uniform_and_so_are_the_corrections() -> None:
    recipient, coordinator = keys(1)
    shape = (4, 2000)
    body = DealerRandomness(recipient, coordinator).triples(shape)
    arrays = [
        *RecipientRandomness(recipient).triples(shape),
        *CoordinatorRandomness(coordinator, iter([body])).triples(shape),
    ]
    a, b = arrays[0] ^ arrays[3], arrays[1] ^ arrays[4]
    arrays += [a, b, a ^ b]  # what nobody knows must be no less random
    for array in arrays:
        counts = np.bincount(np.frombuffer(array.tobytes(), np.uint8), minlength=256)
        assert chisquare(counts).pvalue > 1e-4


def test_nothing_drawn_comes_again() -> None:
    """Forward only: also across triples and the streams' other draws, every word is new."""
    recipient, coordinator = (
        RecipientRandomness(keys(2)[0]),
        CoordinatorRandomness(keys(2)[1], iter([bytes(8 * 5000)])),
    )
    words = []
    for shape in SHAPES * 2:
        words += [array.ravel() for array in recipient.triples(shape)]
        words += [array.ravel() for array in coordinator.triples(shape)[:2]]
        words += [recipient.stream.words64(3), coordinator.stream.words64(3)]
    drawn = np.concatenate(words)
    assert len(np.unique(drawn)) == len(drawn)


def test_other_draws_keep_the_views_in_step() -> None:
    dealer = DealerRandomness(*keys(3))
    first = dealer.triples((2, 2))
    assert np.array_equal(
        dealer.recipient_stream.words64(5), drawn_after_a_triple(RecipientRandomness(keys(3)[0]))
    )
    coordinator = CoordinatorRandomness(keys(3)[1], iter([first]))
    assert np.array_equal(dealer.coordinator_stream.words64(5), drawn_after_a_triple(coordinator))


def drawn_after_a_triple(randomness):
    randomness.triples((2, 2))
    return randomness.stream.words64(5)


@pytest.mark.parametrize("chunks", [[], [b""], [bytes(31)], [bytes(16), b"", bytes(15)]])
def test_corrections_that_end_early_are_refused(chunks: list[bytes]) -> None:
    coordinator = CoordinatorRandomness(keys(0)[1], iter(chunks))
    with pytest.raises(CircuitError, match="end before the circuit"):
        coordinator.triples((2, 2))


@pytest.mark.parametrize("chunks", [[bytes(33)], [bytes(32), bytes(8)], [bytes(32), b"", b"", bytes(1)]])
def test_corrections_that_go_on_are_refused(chunks: list[bytes]) -> None:
    coordinator = CoordinatorRandomness(keys(0)[1], iter(chunks))
    coordinator.triples((2, 2))
    with pytest.raises(CircuitError, match="go on after the circuit"):
        coordinator.finish()


def test_empty_chunks_at_the_end_are_nothing() -> None:
    coordinator = CoordinatorRandomness(keys(0)[1], iter([bytes(32), b"", b""]))
    coordinator.triples((2, 2))
    coordinator.finish()


def test_corrections_are_taken_as_they_are_needed() -> None:
    """A chunk is asked for when the one before is used up: the stream may still be growing."""
    asked = []

    def chunks():
        for number in range(4):
            asked.append(number)
            yield bytes([number]) * 8

    coordinator = CoordinatorRandomness(keys(0)[1], chunks())
    assert coordinator.corrections(0) == b""
    assert asked == []
    assert coordinator.corrections(4) == bytes(4)
    assert coordinator.corrections(4) == bytes(4)
    assert asked == [0]
    assert coordinator.corrections(12) == bytes([1] * 8 + [2] * 4)
    assert asked == [0, 1, 2]


def test_one_key_for_both_parties_is_refused() -> None:
    """Every a and b would be 0 and the openings the wires themselves."""
    with pytest.raises(ValueError, match="independently"):
        DealerRandomness(bytes(32), bytes(32))


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_keys_of_other_lengths_are_refused(size: int) -> None:
    for make in (
        RecipientRandomness,
        lambda key: CoordinatorRandomness(key, iter([])),
        lambda key: DealerRandomness(key, bytes(32)),
        lambda key: DealerRandomness(bytes(32), key),
    ):
        with pytest.raises(ValueError, match="32 bytes"):
            make(bytes(size))


def test_nothing_shows_when_printed() -> None:
    recipient, coordinator = b"R" * 32, b"C" * 32
    for thing in (
        RecipientRandomness(recipient),
        CoordinatorRandomness(coordinator, iter([b"X" * 32])),
        DealerRandomness(recipient, coordinator),
    ):
        shown = f"{thing!r} {thing}"
        assert not any(secret in shown for secret in ("RRRR", "CCCC", "XXXX", "5252", "4343"))


def test_the_error_is_one_of_the_package() -> None:
    assert issubclass(CircuitError, CryptoError)
