"""Counts: the number itself, what is opened of it and to whom, and what each message shows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lockstep import Exchange, exchange, keys
from scipy.stats import chisquare

from veilmatch_crypto.circuit import Steps
from veilmatch_crypto.counting import CoordinatorTally, DealerTally, RecipientTally, count
from veilmatch_crypto.errors import CircuitError
from veilmatch_crypto.triples import CoordinatorRandomness, DealerRandomness, RecipientRandomness
from veilmatch_crypto.vectors import CHUNK


def random_bits(size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, size).astype(bool)


def run(bits: np.ndarray, noises: tuple[int, int], min_count: int, seed: int = 0) -> Exchange:
    share = random_bits(len(bits), seed)
    return exchange(
        lambda r: count(RecipientTally(r), share, noises[0], min_count),
        lambda r: count(CoordinatorTally(r), bits ^ share, noises[1], min_count),
        lambda r: count(DealerTally(r), np.zeros_like(bits), 0, min_count),
        seed,
    )


NOISE = st.integers(-50, 50) | st.sampled_from([-(10**9), 10**9])


@given(
    st.lists(st.booleans(), max_size=200),
    NOISE,
    NOISE,
    st.integers(0, 220) | st.just(2**38 - 1),
    st.integers(0, 2**32),
)
@settings(max_examples=40)
def test_the_coordinator_learns_the_noisy_count_or_that_it_is_too_small(
    bits, recipients: int, coordinators: int, min_count: int, seed: int
) -> None:
    result = run(np.array(bits, bool), (recipients, coordinators), min_count, seed)
    total = sum(bits) + recipients + coordinators
    assert result.coordinator == (total if total >= min_count else None)
    assert result.recipient is None
    assert result.dealer is None


@pytest.mark.parametrize("true", [0, 9, 10, 11, 300])
def test_min_count_is_the_least_count_that_is_told(true: int) -> None:
    bits = np.arange(300) < true
    assert run(bits, (0, 0), 10).coordinator == (true if true >= 10 else None)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, CHUNK + 1])
def test_everyone_and_no_one(size: int) -> None:
    assert run(np.ones(size, bool), (0, 0), 0).coordinator == size
    assert run(np.zeros(size, bool), (0, 0), 0).coordinator == 0


RUNS = 300
SIZE = 40


def runs(true: int) -> list[Exchange]:
    """The same shares every time; only the dealer's keys are new."""
    bits = np.arange(SIZE) < true
    share = random_bits(SIZE, 5)
    return [
        exchange(
            lambda r: count(RecipientTally(r), share, 0, 10),
            lambda r: count(CoordinatorTally(r), bits ^ share, 0, 10),
            lambda r: count(DealerTally(r), np.zeros(SIZE, bool), 0, 10),
            seed,
        )
        for seed in range(RUNS)
    ]


@pytest.fixture(scope="module", params=[3, 25])
def repeated(request: pytest.FixtureRequest) -> tuple[int, list[Exchange]]:
    return request.param, runs(request.param)


def lane(body: bytes) -> np.ndarray:
    """The item's bit in each row of a body."""
    return np.frombuffer(body, "<u8") & np.uint64(1)


def uniform(values, cells: int) -> bool:
    return chisquare(np.bincount(np.asarray(values, np.int64), minlength=cells)).pvalue > 1e-5


def test_every_message_is_uniform_over_runs_with_fixed_data(repeated) -> None:
    _, exchanges = repeated
    rounds = len(exchanges[0].sent)
    for party in (0, 1):
        # The opening of the bits, then the openings of the circuit; the last round is the answer's.
        first = np.array([list(run.sent[0][party][: SIZE // 8]) for run in exchanges])
        for column in first.T:
            assert uniform(column >> 4, 16)
        for i in range(1, rounds - 1):
            rows = np.array([lane(run.sent[i][party]) for run in exchanges])
            ones = rows.sum(axis=0)
            assert abs(ones - RUNS / 2).max() < 5.5 * (RUNS / 4) ** 0.5
    corrections = np.array([list(run.corrections[0]) for run in exchanges])
    for column in corrections.T:
        assert uniform(column >> 4, 16)


def test_what_is_opened_of_the_bits_is_uniform(repeated) -> None:
    """Both shares of bit ^ rho together: neither party learns a result bit."""
    _, exchanges = repeated
    opened = np.array(
        [
            np.unpackbits(
                np.frombuffer(run.sent[0][0], np.uint8) ^ np.frombuffer(run.sent[0][1], np.uint8),
                bitorder="little",
            )[:SIZE]
            for run in exchanges
        ]
    )
    ones = opened.sum(axis=0)
    assert abs(ones - RUNS / 2).max() < 5.5 * (RUNS / 4) ** 0.5


def test_exactly_one_number_is_opened_and_only_to_the_coordinator(repeated) -> None:
    """The last round is the only one whose two shares are not masked: 41 bits, zeros where too few.

    With its own share of the sum the coordinator could tell what the recipient's is; where the
    count is too small it must not come.
    """
    true, exchanges = repeated
    enough = true >= 10
    shapes = {
        tuple((len(one), len(other)) for one, other in run.sent) + tuple(map(len, run.corrections))
        for run in exchanges
    }
    assert len(shapes) == 1, "lengths do not depend on the answer"
    for run in exchanges:
        assert run.coordinator == (true if enough else None)
        assert run.recipient is None
        recipients, coordinators = run.sent[-1]
        assert len(recipients) == 8 * 41
        assert coordinators == b"", "the recipient is sent nothing in return"


def answer(body: bytes, randomness: CoordinatorRandomness, sent: list[bytes]) -> np.ndarray:
    """The 41 bits that the coordinator opens, by replaying it with its gates watched."""
    seen = []
    tally = CoordinatorTally(randomness)
    original = tally.to_coordinator

    def watched(x):
        opened = yield from original(x)
        seen.append(opened)
        return opened

    tally.to_coordinator = watched
    steps = count(tally, random_bits(SIZE, 6), 0, 10)
    next(steps)
    for reply in sent:
        steps.send(reply)
    with pytest.raises(StopIteration):
        steps.send(body)
    return seen[0]


@pytest.mark.parametrize("true", [3, 9, 10, 25])
def test_a_count_that_is_too_small_leaves_zeros_only(true: int) -> None:
    coordinators = random_bits(SIZE, 6)
    share = (np.arange(SIZE) < true) ^ coordinators
    opened = []
    for seed in range(12):
        run = exchange(
            lambda r: count(RecipientTally(r), share, 0, 10),
            lambda r: count(CoordinatorTally(r), coordinators, 0, 10),
            lambda r: count(DealerTally(r), np.zeros(SIZE, bool), 0, 10),
            seed,
        )
        randomness = CoordinatorRandomness(keys(seed)[1], iter(run.corrections))
        *sent, last = (recipients for recipients, _ in run.sent)
        opened.append(answer(last, randomness, sent)[:, 0])
    told = np.array([rows & np.uint64(1) for rows in opened])
    if true < 10:
        assert not told.any()
    else:
        assert told[:, 0].all()
        assert len(np.unique(told, axis=0)) == 12, "the recipient's share is fresh each time"
    # What stands beside the item in its row is nobody's and always the same.
    beside = np.array([rows >> np.uint64(1) for rows in opened])
    assert len(np.unique(beside, axis=0)) == 1


def test_the_dealing_depends_on_the_size_alone() -> None:
    dealt = [run(np.ones(70, bool), (5, -3), 10).corrections, run(np.zeros(70, bool), (0, 0), 70).corrections]
    assert dealt[0] == dealt[1]


def test_what_a_count_costs() -> None:
    """A person: 5 bytes of corrections, a bit of opening each way; the comparison is one item's."""
    small, large = (run(np.ones(size, bool), (0, 0), 0).total_bytes for size in (6400, 12800))
    assert large - small == 6400 * (5 + 2 / 8)
    assert small - 6400 * (5 + 2 / 8) < 10_000


def first_steps(tally, bits: np.ndarray) -> Steps[int | None]:
    steps = count(tally, bits, 0, 10)
    next(steps)
    return steps


def test_bodies_of_a_wrong_length_are_refused() -> None:
    bits = np.ones(70, bool)
    for length in (0, 8, 15, 17, 24):
        recipient = RecipientTally(RecipientRandomness(keys(0)[0]))
        with pytest.raises(CircuitError, match="length"):
            first_steps(recipient, bits).send(bytes(length))
        coordinator = CoordinatorTally(CoordinatorRandomness(keys(0)[1], iter([bytes(350)])))
        with pytest.raises(CircuitError, match="length"):
            first_steps(coordinator, bits).send(bytes(length))
    with pytest.raises(CircuitError, match="corrections"):
        first_steps(CoordinatorTally(CoordinatorRandomness(keys(0)[1], iter([bytes(349)]))), bits).send(
            bytes(16)
        )


def test_an_answer_of_a_wrong_length_is_refused() -> None:
    rows = np.zeros((41, 1), np.uint64)
    steps = CoordinatorTally(CoordinatorRandomness(keys(0)[1], iter(()))).to_coordinator(rows)
    assert next(steps) == b""
    with pytest.raises(CircuitError, match="length"):
        steps.send(bytes(8 * 40))
    steps = RecipientTally(RecipientRandomness(keys(0)[0])).to_coordinator(rows)
    assert len(next(steps)) == 8 * 41
    with pytest.raises(CircuitError, match="length"):
        steps.send(b"x")


@pytest.mark.parametrize("min_count", [-1, 2**38])
def test_a_least_count_out_of_range_is_refused(min_count: int) -> None:
    with pytest.raises(ValueError, match="least count"):
        next(count(DealerTally(DealerRandomness(*keys(0))), np.ones(3, bool), 0, min_count))
