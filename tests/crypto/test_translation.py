"""Share Translation: any order, any sizes; what each message shows; what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lockstep import Exchange, exchange, keys
from scipy.stats import chisquare
from translation_world import MODULUS, opened, random_bits, random_words, run, split

from veilmatch_crypto.circuit import Steps
from veilmatch_crypto.errors import CircuitError
from veilmatch_crypto.prg import WORD_MASK, permutation
from veilmatch_crypto.translation import (
    CoordinatorTranslation,
    DealerTranslation,
    RecipientTranslation,
    Translation,
)
from veilmatch_crypto.triples import CoordinatorRandomness, DealerRandomness, RecipientRandomness
from veilmatch_crypto.vectors import CHUNK

EDGES = [0, 1, 2**32 - 1, 2**32, 2**39, MODULUS - 1]


@st.composite
def jobs(draw):
    people = draw(st.integers(1, 130))
    order = np.array(draw(st.permutations(range(people))))
    word = st.sampled_from(EDGES) | st.integers(0, MODULUS - 1)
    vectors = draw(
        st.lists(
            st.lists(word, min_size=people, max_size=people).map(lambda v: np.array(v, np.uint64))
            | st.lists(st.booleans(), min_size=people, max_size=people).map(lambda v: np.array(v, bool)),
            min_size=1,
            max_size=3,
        )
    )
    return order, vectors


@given(jobs(), st.integers(0, 2**32))
@settings(max_examples=40)
def test_any_vectors_come_into_any_order(job, seed: int) -> None:
    order, vectors = job
    result = run(order, [split(vector, seed + i) for i, vector in enumerate(vectors)], seed)
    for vector, got in zip(vectors, opened(result), strict=True):
        assert got.dtype == vector.dtype
        assert np.array_equal(got, vector[order])
    for share in (*result.recipient, *result.coordinator):
        assert share.max() <= WORD_MASK


@pytest.mark.parametrize("people", [CHUNK - 1, CHUNK, CHUNK + 1])
def test_vectors_that_fill_chunks_and_what_they_cost(people: int) -> None:
    order = permutation(b"o" * 32, people)
    words, bits = random_words(people, 1), random_bits(people, 2)
    result = run(order, [split(words, 3), split(bits, 4)])
    assert np.array_equal(opened(result)[0], words[order])
    assert np.array_equal(opened(result)[1], bits[order])
    rows = 8 * -(-people // 64)
    assert result.total_bytes == (4 + 5 + 5) * people + 2 * rows
    assert max(len(body) for bodies in result.sent for body in bodies) <= 5 * CHUNK
    assert max(map(len, result.corrections)) <= 5 * CHUNK


RUNS = 1000
ORDER = np.array([2, 0, 3, 1])
WORDS, BITS = np.array([7, 0, MODULUS - 1, 7], np.uint64), np.array([True, True, False, True])


@pytest.fixture(scope="module")
def runs() -> list[Exchange]:
    """The same shares and the same order every time; only the dealer's keys are new."""
    shares = [split(WORDS, 1), split(BITS, 2)]
    return [run(ORDER, shares, seed) for seed in range(RUNS)]


def uniform(values, cells: int) -> bool:
    return chisquare(np.bincount(np.asarray(values, np.int64), minlength=cells)).pvalue > 1e-4


def words_of(body: bytes) -> list[int]:
    return [int.from_bytes(body[at : at + 5], "little") for at in range(0, len(body), 5)]


def test_every_message_is_uniform_over_runs_with_fixed_data(runs) -> None:
    # Rounds: S, words, bits; the dealer deals in the second and the third.
    for bodies in ([one.sent[1][0] for one in runs], [one.corrections[1] for one in runs]):
        words = np.array([words_of(body) for body in bodies])
        for place in range(len(ORDER)):
            for shift in (0, 16, 36):
                assert uniform(words[:, place] >> shift & 15, 16)
    for bodies in ([one.sent[2][0] for one in runs], [one.corrections[2] for one in runs]):
        assert uniform([body[0] for body in bodies], 16)
        assert not any(any(body[1:]) for body in bodies), "bits of nobody are zero"
    ranks = [np.frombuffer(one.sent[0][1], "<u4") @ (64, 16, 4, 1) for one in runs]
    values, counts = np.unique(ranks, return_counts=True)
    assert len(values) == 24
    assert chisquare(counts).pvalue > 1e-4


def test_every_new_share_is_uniform_over_runs_with_fixed_data(runs) -> None:
    for party in ("recipient", "coordinator"):
        words = np.array([getattr(one, party)[0] for one in runs])
        bits = np.array([getattr(one, party)[1] for one in runs])
        for place in range(len(ORDER)):
            assert uniform(words[:, place] >> np.uint64(36), 16)
            assert uniform(bits[:, place], 2)


def test_nothing_else_is_sent(runs) -> None:
    assert [[len(body) for body in bodies] for bodies in runs[0].sent] == [[0, 16], [20, 0], [8, 0]]
    assert [len(body) for body in runs[0].corrections] == [0, 20, 8]


def test_the_order_does_not_show_in_what_the_recipient_and_the_dealer_see() -> None:
    """S and the order of the dealing are uniform together: a known order does not tell S."""
    for order in (np.arange(3), np.array([2, 1, 0])):
        seen = [np.frombuffer(run(order, [], seed).sent[0][1], "<u4") @ (9, 3, 1) for seed in range(400)]
        values, counts = np.unique(seen, return_counts=True)
        assert len(values) == 6
        assert chisquare(counts).pvalue > 1e-4


def test_each_vector_has_masks_of_its_own() -> None:
    nothing = np.zeros(50, np.uint64)
    result = run(np.arange(50), [(nothing, nothing), (nothing, nothing)])
    first, second = (words_of(sent[0]) for sent in result.sent[1:])
    assert not set(first) & set(second)
    assert not set(words_of(result.corrections[1])) & set(words_of(result.corrections[2]))


def test_both_directions_have_orders_of_their_own() -> None:
    def twice(arrange):
        yield from arrange()
        yield from arrange()

    order = np.arange(100)
    result = exchange(
        lambda r: twice(lambda: RecipientTranslation.arrange(r, 100)),
        lambda r: twice(lambda: CoordinatorTranslation.arrange(r, order)),
        lambda r: twice(lambda: DealerTranslation.arrange(r, 100)),
    )
    assert result.sent[0][1] != result.sent[1][1]


def u4(*numbers: int) -> bytes:
    return np.array(numbers, "<u4").tobytes()


@pytest.mark.parametrize(
    "body",
    [b"", u4(0, 1), u4(0, 1, 2, 3), u4(0, 1, 2)[:-1], u4(0, 1, 1), u4(1, 2, 3), u4(0, 1, 2**32 - 1)],
    ids=["empty", "short", "long", "torn", "repeated", "beyond", "far beyond"],
)
def test_an_order_that_is_no_permutation_is_refused(body: bytes) -> None:
    steps = RecipientTranslation.arrange(RecipientRandomness(keys(0)[0]), 3)
    assert next(steps) == b""
    with pytest.raises(CircuitError) as caught:
        steps.send(body)
    assert not any(character.isdigit() for character in str(caught.value))


def finished(steps: Steps[Translation], *bodies: bytes) -> Translation:
    """What the steps return after these bodies of the peer."""
    try:
        next(steps)
        for body in bodies:
            steps.send(body)
    except StopIteration as end:
        return end.value
    raise AssertionError("the steps go on")


def recipient(people: int) -> Translation:
    steps = RecipientTranslation.arrange(RecipientRandomness(keys(0)[0]), people)
    return finished(steps, np.arange(people, dtype="<u4").tobytes())


def coordinator(people: int, corrections: list[bytes]) -> Translation:
    randomness = CoordinatorRandomness(keys(0)[1], iter(corrections))
    return finished(CoordinatorTranslation.arrange(randomness, np.arange(people)), b"")


@pytest.mark.parametrize("kind", ["words", "bits"])
def test_bodies_of_a_wrong_length_are_refused(kind: str) -> None:
    share = np.zeros(3, np.uint64 if kind == "words" else bool)
    size = 15 if kind == "words" else 8
    steps = getattr(recipient(3), kind)(share)
    next(steps)
    with pytest.raises(CircuitError, match="length"):
        steps.send(b"x")
    for length in (size - 1, size + 1, 0):
        steps = getattr(coordinator(3, [bytes(size)]), kind)(share)
        next(steps)
        with pytest.raises(CircuitError, match="length"):
            steps.send(bytes(length))
    steps = getattr(coordinator(3, [bytes(size - 1)]), kind)(share)
    next(steps)
    with pytest.raises(CircuitError, match="corrections"):
        steps.send(bytes(size))


def test_the_coordinator_is_sent_nothing_while_it_sends_the_order() -> None:
    steps = CoordinatorTranslation.arrange(CoordinatorRandomness(keys(0)[1], iter(())), np.arange(3))
    next(steps)
    with pytest.raises(CircuitError, match="length"):
        steps.send(b"x")


@pytest.mark.parametrize("order", [[0, 0, 1], [1, 2, 3], [-1, 0, 1]])
def test_the_coordinators_own_order_is_checked(order: list[int]) -> None:
    steps = CoordinatorTranslation.arrange(CoordinatorRandomness(keys(0)[1], iter(())), np.array(order))
    with pytest.raises(ValueError, match="permutation"):
        next(steps)


def test_a_vector_of_another_size_is_refused() -> None:
    dealer = finished(DealerTranslation.arrange(DealerRandomness(*keys(0)), 3), b"")
    for party in (recipient(3), coordinator(3, []), dealer):
        with pytest.raises(ValueError, match="shape"):
            party.words(np.zeros(4, np.uint64))
        with pytest.raises(ValueError, match="shape"):
            party.bits(np.zeros((3, 1), bool))
