"""The circuit: known answers, costs, what each message shows, and bodies that are wrong."""

from math import ceil, log2

import numpy as np
import pytest
from circuit_world import ands, deal, keys, masks, run, run_on_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, chisquare

from veilmatch_crypto.bitslices import pack_bits, row_words, slice_words, unpack_bits
from veilmatch_crypto.circuit import (
    CoordinatorGates,
    DealerGates,
    RecipientGates,
    all_of,
    any_of,
    at_least,
    negated,
    negative,
    reveal_to_recipient,
    zero,
)
from veilmatch_crypto.errors import CircuitError
from veilmatch_crypto.triples import CoordinatorRandomness, DealerRandomness, RecipientRandomness

TOP = 2**39
MODULUS = 2**40
EDGES = [0, -1, 1, 2, -2, TOP - 1, -TOP, TOP - 2, -TOP + 1, 2**38, -(2**38), 0x5555555555, -0x5555555555]
PEOPLE = [1, 63, 64, 65, 1000]

VALUES = st.one_of(
    st.sampled_from(EDGES),
    st.integers(-TOP, TOP - 1),
    st.integers(0, 39).map(lambda shift: (1 << shift) - 1),
    st.integers(0, 39).map(lambda shift: -(1 << shift)),
)
SHARES = st.one_of(st.sampled_from([0, 1, TOP - 1, TOP, MODULUS - 1]), st.integers(0, MODULUS - 1))


def words(numbers) -> np.ndarray:
    return np.array([int(number) % MODULUS for number in numbers], dtype=np.uint64)


def shares(values, recipient) -> tuple[np.ndarray, np.ndarray]:
    """Additive shares of ``values`` of which the recipient's is given."""
    return words(recipient), words(int(x) - int(a) for x, a in zip(values, recipient, strict=True))


def signs(values, recipient) -> list[bool]:
    a, b = shares(values, recipient)
    return unpack_bits(run(negative, slice_words(a), slice_words(b)).bits[0], len(values)).tolist()


def zeros(values, recipient) -> list[bool]:
    a, b = shares(values, recipient)
    return unpack_bits(run(zero, slice_words(a), slice_words(negated(b))).bits[0], len(values)).tolist()


@pytest.mark.parametrize("share", [0, 1, TOP - 1, TOP, TOP + 1, MODULUS - 1, 0x123456789A])
def test_known_answers_at_the_edges(share: int) -> None:
    assert signs(EDGES, [share] * len(EDGES)) == [value < 0 for value in EDGES]
    assert zeros(EDGES, [share] * len(EDGES)) == [value == 0 for value in EDGES]


def test_every_position_carries() -> None:
    """A carry that starts at bit i and runs to bit j, for all i and j, and then one more bit."""
    spans = [(i, j) for i in range(40) for j in range(i, 40)]
    a = [(1 << j) - (1 << i) for i, j in spans]
    values = [x + (1 << i) for x, (i, _) in zip(a, spans, strict=True)]
    signed = [value - MODULUS if value >= TOP else value for value in values]
    assert signs(signed, a) == [value < 0 for value in signed]
    assert zeros(signed, a) == [False] * len(a)


@given(st.lists(st.tuples(VALUES, SHARES), min_size=1, max_size=70))
def test_any_values_and_any_shares(pairs) -> None:
    values, recipient = zip(*pairs, strict=True)
    assert signs(values, recipient) == [value < 0 for value in values]
    assert zeros(values, recipient) == [value == 0 for value in values]


@pytest.mark.parametrize("people", PEOPLE)
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_any_number_of_people(people: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-TOP, TOP, people)
    values[rng.random(people) < 0.3] = 0
    recipient = rng.integers(0, MODULUS, people)
    a, b = shares(values, recipient)
    signed = run(negative, slice_words(a), slice_words(b), seed)
    assert np.array_equal(unpack_bits(signed.bits[0], people), values < 0)
    assert signed.bits.shape == (1, row_words(people))
    assert (ands(signed, people), len(signed.openings)) == (83, 7)
    same = run(zero, slice_words(a), slice_words(negated(b)), seed)
    assert np.array_equal(unpack_bits(same.bits[0], people), values == 0)
    assert (ands(same, people), len(same.openings)) == (39, 6)


def test_nobody_at_all() -> None:
    for program in (negative, zero):
        assert run(program, slice_words(words([])), slice_words(words([]))).bits.shape == (1, 0)


def test_two_numbers_are_compared_by_their_difference() -> None:
    left = [5, 5, 5, TOP - 1, 0, 0]
    right = [5, 6, 4, TOP - 1, 1, 0]
    a, b = words(left), negated(words(right))
    below = run(negative, slice_words(a), slice_words(b)).bits[0]
    equal = run(zero, slice_words(a), slice_words(words(right))).bits[0]
    assert unpack_bits(below, 6).tolist() == [x < y for x, y in zip(left, right, strict=True)]
    assert unpack_bits(equal, 6).tolist() == [x == y for x, y in zip(left, right, strict=True)]


def test_tests_side_by_side_cost_the_rounds_of_one() -> None:
    people, tests = 100, 3
    values = np.random.default_rng(5).integers(-TOP, TOP, (tests, people))
    a = np.random.default_rng(6).integers(0, MODULUS, (tests, people))
    sides = [shares(x, y) for x, y in zip(values, a, strict=True)]
    recipient, coordinator = (np.hstack([slice_words(side[i]) for side in sides]) for i in (0, 1))
    result = run(negative, recipient, coordinator)
    assert len(result.openings) == 7
    rows = result.bits.reshape(tests, row_words(people))
    assert np.array_equal([unpack_bits(row, people) for row in rows], values < 0)


def truth_table(m: int) -> np.ndarray:
    """2**m people, in whom m wires take every combination: shape (m, 2**m)."""
    return np.arange(1 << m) >> np.arange(m)[:, np.newaxis] & 1 == 1


def answers(program, table: np.ndarray):
    people = table.shape[1]
    result = run_on_bits(program, np.stack([pack_bits(row) for row in table]), seed=people)
    assert result.bits.shape == (1, row_words(people))
    return unpack_bits(result.bits[0], people), ands(result, people), len(result.openings)


@pytest.mark.parametrize("m", range(1, 10))
def test_all_and_any(m: int) -> None:
    table = truth_table(m)
    rounds = ceil(log2(m))
    for program, expected in ((all_of, table.all(axis=0)), (any_of, table.any(axis=0))):
        result, count, taken = answers(program, table)
        assert np.array_equal(result, expected)
        assert (count, taken) == (m - 1, rounds)


@pytest.mark.parametrize("m", range(1, 9))
def test_at_least_of_every_combination(m: int) -> None:
    table = truth_table(m)
    for count in range(1, m + 1):
        result, gates, rounds = answers(lambda g, x, count=count: at_least(g, count, x), table)
        assert np.array_equal(result, table.sum(axis=0) >= count)
        assert gates <= m - 1
        assert rounds <= 2 * ceil(log2(m)) + 1


@pytest.mark.parametrize("m", [9, 16, 21, 32, 33, 64])
def test_at_least_of_many(m: int) -> None:
    rng = np.random.default_rng(m)
    table = rng.random((m, 320)) < rng.random(320)
    for count in {1, 2, m // 3, m // 2, m - 1, m}:
        result, gates, rounds = answers(lambda g, x, count=count: at_least(g, count, x), table)
        assert np.array_equal(result, table.sum(axis=0) >= count)
        assert gates <= m - 1
        assert rounds <= 2 * ceil(log2(m)) + 1


def test_two_of_three_is_one_and() -> None:
    assert answers(lambda gates, x: at_least(gates, 2, x), truth_table(3))[1:] == (1, 1)


@pytest.mark.parametrize("count", [-1, 0, 4])
def test_thresholds_out_of_range_are_refused(count: int) -> None:
    gates = DealerGates(DealerRandomness(*keys(0)))
    with pytest.raises(ValueError, match="not a question"):
        next(at_least(gates, count, np.zeros((3, 1), np.uint64)))


def test_not_and_private_inputs() -> None:
    """Each party's own bits enter as they are and meet in one AND."""

    def program(gates, own):
        mine, theirs = gates.of_recipient(own), gates.of_coordinator(own)
        return (yield from gates.both(gates.inverse(mine), theirs))

    recipient, coordinator = masks((3, 2), 1), masks((3, 2), 2)
    assert np.array_equal(run(program, recipient, coordinator).bits, ~recipient & coordinator)


def test_one_row_meets_every_row() -> None:
    rows, row = masks((32, 3), 1), masks((1, 3), 2)
    result = run_on_bits(lambda gates, x: gates.both(x[:-1], x[-1:]), np.concatenate((rows, row)))
    assert np.array_equal(result.bits, rows & row)


def test_arguments_are_left_alone() -> None:
    a, b = masks((40, 2), 1), masks((40, 2), 2)
    a.flags.writeable = b.flags.writeable = False
    for program in (negative, zero, any_of, partial_at_least, reveal_to_recipient):
        run(program, a, b)


def partial_at_least(gates, x):
    return at_least(gates, 17, x)


@pytest.mark.parametrize("shape", [(39, 1), (41, 1), (40,), (40, 1, 1)])
def test_numbers_of_another_width_are_refused(shape: tuple[int, ...]) -> None:
    for program in (negative, zero):
        with pytest.raises(ValueError, match="slices"):
            deal(program, shape, 0)


def test_only_the_recipient_is_shown_the_result() -> None:
    bits = masks((2, 3), 9)
    result = run_on_bits(reveal_to_recipient, bits)
    assert np.array_equal(result.recipient, bits)
    assert not result.coordinator.any()
    assert [len(recipients) for recipients, _ in result.openings] == [0]
    assert result.corrections == [b""]


# What the messages show.  One fixed input, fresh keys each run: every position of every message
# and of both parties' shares must be a fair coin, and so must be the bytes.

RUNS = 300


def fair(samples: np.ndarray) -> None:
    """Samples of one message, shape (runs, bytes): the sum of squares over positions, then the bytes."""
    runs = len(samples)
    ones = np.unpackbits(samples, axis=1).sum(axis=0, dtype=np.int64)
    square = ((ones - runs / 2) ** 2 / (runs / 4)).sum()
    assert 1e-4 < chi2.sf(square, len(ones)) < 1 - 1e-4
    assert (np.abs(ones - runs / 2) < 6 * np.sqrt(runs / 4)).all()
    assert chisquare(np.bincount(samples.ravel(), minlength=256)).pvalue > 1e-4


@pytest.mark.parametrize("program", [negative, zero, any_of, partial_at_least])
def test_every_message_and_share_is_uniform(program) -> None:
    a, b = shares([0, -1, 5, TOP - 1] * 16, [0, 7, MODULUS - 1, TOP] * 16)
    recipient, coordinator = slice_words(a), slice_words(b)
    records = []
    for seed in range(RUNS):
        result = run(program, recipient, coordinator, seed)
        bodies = [body for pair in result.openings for body in pair]
        records.append(
            [*bodies, *result.corrections, result.recipient.tobytes(), result.coordinator.tobytes()]
        )
    for message in zip(*records, strict=True):
        fair(np.array([np.frombuffer(body, np.uint8) for body in message]))


def test_an_opening_does_not_repeat_over_attempts() -> None:
    share = slice_words(words(EDGES))
    bodies = [
        body for seed in range(50) for pair in run(negative, share, share, seed).openings for body in pair
    ]
    assert len(set(bodies)) == len(bodies)


# Bodies that are wrong.


def party(name: str, program, share):
    """One party's steps, with its dealt corrections."""
    recipient_key, coordinator_key = keys(0)
    if name == "recipient":
        return program(RecipientGates(RecipientRandomness(recipient_key)), share)
    corrections = iter(deal(program, share.shape, 0))
    return program(CoordinatorGates(CoordinatorRandomness(coordinator_key, corrections)), share)


@pytest.mark.parametrize("name", ["recipient", "coordinator"])
@pytest.mark.parametrize("wrong_round", range(7))
@pytest.mark.parametrize("change", [lambda b: b"", lambda b: b[:-1], lambda b: b + b"\0", lambda b: b + b])
def test_a_body_of_wrong_length_ends_the_circuit(name: str, wrong_round: int, change) -> None:
    steps = party(name, negative, masks((40, 2), 3))
    body = next(steps)
    for _ in range(wrong_round):
        body = steps.send(bytes(len(body)))
    with pytest.raises(CircuitError, match="length of this round") as caught:
        steps.send(change(body))
    assert not any(character.isdigit() for character in str(caught.value))


@pytest.mark.parametrize(
    ("name", "body"), [("recipient", b""), ("recipient", bytes(15)), ("coordinator", b"\0")]
)
def test_a_revelation_of_wrong_length_ends_the_circuit(name: str, body: bytes) -> None:
    steps = party(name, reveal_to_recipient, masks((1, 2), 3))
    next(steps)
    with pytest.raises(CircuitError, match="length of this round"):
        steps.send(body)


@given(st.lists(st.one_of(st.binary(max_size=40), st.none()), max_size=8))
def test_no_body_does_more_than_end_the_circuit(bodies: list[bytes | None]) -> None:
    """None stands for bytes of the right length but arbitrary content."""
    steps = party("recipient", zero, masks((40, 1), 4))
    expected = next(steps)
    for body in bodies:
        try:
            expected = steps.send(b"\xa5" * len(expected) if body is None else body)
        except CircuitError:
            assert body is not None
            assert len(body) != len(expected)
            return
        except StopIteration:
            return


def test_corrections_that_end_early_end_the_circuit() -> None:
    share = masks((40, 2), 3)
    corrections = b"".join(deal(negative, share.shape, 0))
    gates = CoordinatorGates(CoordinatorRandomness(keys(0)[1], iter([corrections[:-1]])))
    steps = negative(gates, share)
    body = next(steps)
    for _ in range(5):
        body = steps.send(bytes(len(body)))
    with pytest.raises(CircuitError, match="end before the circuit"):
        steps.send(bytes(len(body)))


def test_nothing_shows_when_printed() -> None:
    gates = [
        RecipientGates(RecipientRandomness(b"R" * 32)),
        CoordinatorGates(CoordinatorRandomness(b"C" * 32, iter([]))),
        DealerGates(DealerRandomness(b"R" * 32, b"C" * 32)),
    ]
    for thing in (*gates, negative(gates[0], masks((40, 1), 1))):
        assert not any(secret in repr(thing) for secret in ("RRRR", "CCCC", "array"))
