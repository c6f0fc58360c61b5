"""Masks, checks and noise of protocol.md, 4.3 to 4.5."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paillier_world import COORDINATOR, RECIPIENT, AndJob, secret
from scipy.stats import chi2_contingency, chisquare

from veilmatch_crypto.errors import CheckError
from veilmatch_crypto.masks import amount_words, answer_words, blank_key, check_key, mask_key, noise_key
from veilmatch_crypto.packing import Layout
from veilmatch_crypto.prg import WORD_MASK, words40

NAMES = [
    "tax",
    "housing",
    "civil",
    "education",
    "police",
    "health",
    "land",
    "court",
    "labour",
    "army",
    "post",
    "zoo",
]
MANIFEST = b"m" * 32
LAYOUT = Layout(512)
PEOPLE = 3 * LAYOUT.data_slots - 2
EVERYBODY = np.ones(PEOPLE, bool)


def total(job: AndJob, names: list[str]) -> np.ndarray:
    return sum(job.words(name, EVERYBODY) for name in names) & WORD_MASK


@given(st.integers(2, 12), st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_pair_masks_cancel_over_all_contributors_and_over_no_fewer(count: int, shuffle) -> None:
    names = shuffle.sample(NAMES, count)
    job = AndJob(names)
    data = np.s_[:, : LAYOUT.data_slots]
    left = job.own(EVERYBODY)
    assert not LAYOUT.gather((total(job, names) + left) & WORD_MASK, PEOPLE).any()
    for missing in names:
        # Without one contributor, not one slot is readable by taking masks of the coordinator back.
        rest = [name for name in names if name != missing]
        coordinator = sum(
            words40(mask_key(secret(name, COORDINATOR), MANIFEST, name, COORDINATOR), 0, 0, left.size)
            for name in rest
        )
        sums = (total(job, rest) - coordinator.reshape(left.shape)) & WORD_MASK
        assert sums[data].all()


def test_of_a_pair_the_earlier_in_the_manifest_adds_whatever_the_names() -> None:
    for names in (["a", "b"], ["b", "a"]):
        job = AndJob(names)
        first, second = job.masks(names[0]), job.masks(names[1])
        pair = mask_key(secret("a", "b"), MANIFEST, "a", "b")
        assert first.adds == (pair, mask_key(secret(names[0], COORDINATOR), MANIFEST, COORDINATOR, names[0]))
        assert first.subtracts == ()
        assert second.subtracts == (pair,)


def test_both_ends_derive_the_same_key_and_each_use_its_own() -> None:
    shared = secret("a", "b")
    assert mask_key(shared, MANIFEST, "a", "b") == mask_key(shared, MANIFEST, "b", "a")
    keys = {
        mask_key(shared, MANIFEST, "a", "b"),
        mask_key(shared, MANIFEST, "a", "c"),
        mask_key(shared, b"n" * 32, "a", "b"),
        check_key(shared, MANIFEST, "a", "b"),
        noise_key(shared, MANIFEST),
        blank_key(shared, MANIFEST),
    }
    assert len(keys) == 6


def test_someone_who_is_no_contributor_of_the_outcome_has_no_masks() -> None:
    with pytest.raises(ValueError):
        AndJob(["a", "b"]).masks("c")


def test_no_mask_word_serves_twice() -> None:
    """Streams of different uses, pairs, outcomes and chunks have no word in common."""
    names = [*NAMES[:4], COORDINATOR, RECIPIENT]
    keys = [
        derive(secret(one, other), MANIFEST, one, other)
        for one, other in combinations(names, 2)
        for derive in (mask_key, check_key)
    ]
    keys += [derive(secret("own", name), MANIFEST) for name in names for derive in (noise_key, blank_key)]
    words = np.concatenate(
        [words40(key, outcome, chunk, 64) for key in keys for outcome in range(3) for chunk in range(3)]
    )
    # Fixed keys: two of these 24,192 words being equal by chance would have shown once and for all.
    assert len(np.unique(words)) == len(words)


def test_attack_one_mask_word_used_twice() -> None:
    """Under one mask two vectors differ by their answers; under the job's own streams by noise.

    The answer that changes between two runs would show as the only slot whose difference is not 0.
    """
    job = AndJob(["tax", "housing"])
    before, after = EVERYBODY.copy(), EVERYBODY.copy()
    after[5] = False
    reused = LAYOUT.gather((job.words("tax", after) - job.words("tax", before)) & WORD_MASK, PEOPLE)
    assert np.flatnonzero(reused).tolist() == [5], "the attack: why a manifest starts once (protocol.md, 4.7)"

    again = AndJob(["tax", "housing"], manifest=b"n" * 32)
    for words in (
        again.words("tax", after),
        job.words("tax", after, outcome=1),
        job.words("tax", after, chunk=1),
        job.words("housing", after),
    ):
        assert LAYOUT.gather((words - job.words("tax", before)) & WORD_MASK, PEOPLE).all()


def test_masked_words_are_uniform_whatever_the_answers() -> None:
    job = AndJob(NAMES[:3])
    everybody, nobody = np.ones(20_000, bool), np.zeros(20_000, bool)
    for name in job.contributors:
        for holds in (everybody, nobody):
            words = job.words(name, holds)
            for shift in (0, 32):
                counts = np.bincount(((words >> np.uint64(shift)) & np.uint64(255)).ravel(), minlength=256)
                assert chisquare(counts).pvalue > 1e-4
        padding = job.words(name, everybody)[:, LAYOUT.padding_index]
        assert len(np.unique(padding)) == len(padding)


def test_answers_are_zero_where_the_condition_holds_and_fixed_noise_elsewhere() -> None:
    key = noise_key(secret("own"), MANIFEST)
    holds = np.arange(PEOPLE) % 3 == 0
    words = answer_words(holds, key, LAYOUT, 2, 1)
    assert np.array_equal(LAYOUT.gather(words, PEOPLE) == 0, holds)
    assert not words[:, LAYOUT.check_index].any()
    # The padding slot has noise whatever the answers: protocol.md, 4.2.
    padding = words[:, LAYOUT.padding_index]
    assert padding.all()
    assert len(np.unique(padding)) == len(padding)
    assert np.array_equal(words, answer_words(holds, key, LAYOUT, 2, 1))
    # The noise of a slot does not depend on the answers of others.
    others = answer_words(np.zeros(PEOPLE, bool), key, LAYOUT, 2, 1)
    assert np.array_equal(words[words != 0], others[words != 0])


def test_masking_leaves_its_input_alone() -> None:
    job = AndJob(["a", "b"])
    answers = LAYOUT.spread(np.zeros(PEOPLE, np.uint64))
    masked = job.masks("a").apply(answers, 0, 0)
    assert not answers.any()
    assert masked.max() <= WORD_MASK


def test_the_coordinators_words_open_only_the_recipients_slots_and_the_checks() -> None:
    job = AndJob(["a", "b", "c"])
    rows = np.arange(PEOPLE) % 2 == 0
    claimed = LAYOUT.spread(rows)
    claimed[:, LAYOUT.padding_index] = True  # even when asked for, padding stays blank
    own = job.coordinator.own_words(claimed, 0, 0)
    opened = (total(job, job.contributors) + own) & WORD_MASK
    assert np.array_equal(LAYOUT.gather(opened, PEOPLE) == 0, rows)
    assert opened[:, LAYOUT.padding_index].all()
    job.checks.verify(opened, 0, 0)
    assert np.array_equal(own, job.coordinator.own_words(claimed, 0, 0)), "a repeat is identical"


@pytest.mark.parametrize(("outcome", "chunk"), [(0, 0), (1, 0), (0, 1)])
def test_blanked_slots_hold_the_coordinators_own_uniform_words(outcome: int, chunk: int) -> None:
    job = AndJob(["a", "b"])
    nobody = np.zeros(PEOPLE, bool)
    own = job.own(nobody, outcome, chunk)
    blank = words40(blank_key(secret("coordinator's own"), MANIFEST), outcome, chunk, own.size).reshape(
        own.shape
    )
    assert np.array_equal(own[:, :-1], blank[:, :-1])
    assert (own[:, -1] != blank[:, -1]).all()


def test_a_wrong_check_is_raised_and_its_place_is_only_in_the_notes() -> None:
    job = AndJob(["a", "b"])
    opened = (total(job, job.contributors) + job.own(EVERYBODY)) & WORD_MASK
    opened[1, LAYOUT.check_index] ^= np.uint64(1)
    with pytest.raises(CheckError) as caught:
        job.checks.verify(opened, 0, 0)
    assert not any(character.isdigit() for character in str(caught.value))
    assert caught.value.__notes__ == ["outcome 0, chunk 0, ciphertexts [1]"]
    for other in ((1, 0), (0, 1)):
        with pytest.raises(CheckError):
            job.checks.verify(opened, *other)


RUNS = 40_000  # people in each group


def carries(sums: np.ndarray) -> np.ndarray:
    return np.bincount((sums >> np.uint64(40)).ravel(), minlength=16)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """The p-value of both carries coming from one distribution."""
    table = np.array([carries(one), carries(other)])
    return chi2_contingency(table[:, table.any(axis=0)]).pvalue


def opened_sums(departments: int, rows: np.ndarray, answers: list[np.ndarray]) -> np.ndarray:
    """The 48-bit sums that decryption gives (test_ciphertexts compares them), shape (people,)."""
    job = AndJob(NAMES[:departments])
    words = [job.words(name, holds) for name, holds in zip(job.contributors, answers, strict=True)]
    return LAYOUT.gather(sum(words) + job.own(rows), len(rows))


FIRST_GROUP = np.arange(2 * RUNS) % 2 == 0


@pytest.mark.parametrize("departments", [2, 3, 5, 8])
def test_attack_the_carry_of_a_blanked_slot(departments: int) -> None:
    """The upper 8 bits of a blanked slot do not say who is eligible, nor do the lower 40."""
    everybody, nobody = np.ones(2 * RUNS, bool), np.zeros(2 * RUNS, bool)
    for failing in range(1, departments + 1):
        answers = [FIRST_GROUP] * failing + [everybody] * (departments - failing)
        sums = opened_sums(departments, nobody, answers)
        eligible, others = sums[FIRST_GROUP], sums[~FIRST_GROUP]
        assert difference(eligible, others) > 1e-3
        for group in (eligible, others):
            counts = np.bincount((group & WORD_MASK) >> np.uint64(32), minlength=256)
            assert chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("departments", [2, 3, 5, 8])
def test_attack_the_carry_of_the_recipients_slot(departments: int) -> None:
    """The recipient learns that somebody is not eligible; the carry does not say who or how many said so."""
    everybody = np.ones(2 * RUNS, bool)
    # The first group fails at the first department alone, the second at all the others.
    sums = opened_sums(departments, everybody, [~FIRST_GROUP] + [FIRST_GROUP] * (departments - 1))
    assert difference(sums[FIRST_GROUP], sums[~FIRST_GROUP]) > 1e-3


def test_attack_the_carry_shows_where_the_coordinator_masks_instead_of_the_nodes() -> None:
    """The same statistics on the design that protocol.md, 4.4 warns of: they do find the answers."""
    pair = words40(secret("pair"), 0, 0, 2 * RUNS)
    noise = words40(secret("noise"), 0, 0, 2 * RUNS)
    blank = words40(secret("blank"), 0, 0, 2 * RUNS)
    sums = pair + ((np.where(FIRST_GROUP, np.uint64(0), noise) - pair) & WORD_MASK) + blank
    assert difference(sums[FIRST_GROUP], sums[~FIRST_GROUP]) < 1e-100


# Sums that are opened into shares (protocol.md, 5.1).


def opened_into_shares(
    job: AndJob, amounts: list[np.ndarray], outcome: int = 0, chunk: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The 48-bit sums that the recipient decrypts, and the coordinator's share: shape (m, slots) each."""
    sums = np.uint64(0)
    for name, own in zip(job.contributors, amounts, strict=True):
        noise = noise_key(secret("own", name), job.manifest)
        sums = sums + job.masks(name).apply(
            amount_words(own, noise, job.layout, outcome, chunk), outcome, chunk
        )
    return (
        sums + job.coordinator.check_words(sums.shape, outcome, chunk),
        job.coordinator.share_words(sums.shape, outcome, chunk),
    )


@given(st.lists(st.lists(st.integers(0, 2**40 - 1), min_size=5, max_size=5), min_size=2, max_size=5))
@settings(max_examples=15, deadline=None)
def test_both_shares_add_up_to_the_sum_of_all_amounts(rows: list[list[int]]) -> None:
    """Two's complement too: everything is modulo 2**40."""
    job = AndJob(NAMES[: len(rows)])
    amounts = [np.array(row, dtype=np.uint64) for row in rows]
    opened, share = opened_into_shares(job, amounts, 3, 2)
    total = LAYOUT.gather((opened + share) & WORD_MASK, 5)
    assert total.tolist() == [sum(column) % 2**40 for column in zip(*rows, strict=True)]
    job.checks.verify(opened & WORD_MASK, 3, 2)
    for other in ((3, 1), (2, 2)):
        with pytest.raises(CheckError):
            job.checks.verify(opened & WORD_MASK, *other)


def test_amounts_stand_in_their_slots_and_the_padding_has_noise() -> None:
    amounts = np.arange(PEOPLE, dtype=np.uint64)
    words = amount_words(amounts, noise_key(secret("own"), MANIFEST), LAYOUT, 2, 1)
    assert np.array_equal(LAYOUT.gather(words, PEOPLE), amounts)
    padding = words[:, LAYOUT.padding_index]
    assert padding.all()
    assert len(np.unique(padding)) == len(padding)
    assert not words[:, LAYOUT.check_index].any()


def test_the_coordinator_leaves_its_masks_in_everywhere_but_in_the_check_slots() -> None:
    """Taken back, the recipient would see the sum itself."""
    job = AndJob(["a", "b"])
    own = job.coordinator.check_words((7, LAYOUT.slots), 0, 0)
    assert not own[:, :-1].any()
    assert own[:, -1].all()
    assert np.array_equal(own[:, -1], job.own(np.ones(7 * LAYOUT.data_slots, bool))[:, -1])


def test_attack_the_recipients_share_says_nothing_of_the_amounts() -> None:
    """It has uniform words and carries that do not depend on the amounts, and each share alone is uniform."""
    job = AndJob(NAMES[:3])
    nothing, much = np.zeros(2 * RUNS, np.uint64), np.full(2 * RUNS, 2**39 - 7, np.uint64)
    opened, share = opened_into_shares(job, [np.where(FIRST_GROUP, nothing, much)] * 3)
    sums = LAYOUT.gather(opened, 2 * RUNS)
    assert difference(sums[FIRST_GROUP], sums[~FIRST_GROUP]) > 1e-3
    for group in (sums[FIRST_GROUP], sums[~FIRST_GROUP], LAYOUT.gather(share, 2 * RUNS)):
        for shift in (0, 32):
            counts = np.bincount((group >> np.uint64(shift)) & np.uint64(255), minlength=256)
            assert chisquare(counts).pvalue > 1e-4
    # And the test sees where a mask is left out: one that the coordinator took back.
    taken_back = (sums + LAYOUT.gather(share, 2 * RUNS)) & WORD_MASK
    assert np.unique(taken_back).tolist() == [0, 3 * (2**39 - 7) % 2**40]
