"""What a coordinator or a broken wire can do to ciphertexts, and how it shows (protocol.md, 4.2 and 4.5)."""

import itertools
import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import gmpy2
import numpy as np
import pytest
from paillier_world import AndJob, small_key, split

from veilmatch_crypto.ciphertexts import ResidueGuard, encrypt_chunk, open_chunk
from veilmatch_crypto.errors import CheckError, CiphertextError
from veilmatch_crypto.packing import SLOT_BITS
from veilmatch_crypto.prg import words40

NAMES = ["tax", "housing", "civil"]
LAYOUT = small_key().public.layout
PEOPLE = 4 * LAYOUT.data_slots
EVERYBODY = np.ones(PEOPLE, bool)
ANSWERS = {
    "tax": np.arange(PEOPLE) % 2 == 0,
    "housing": np.arange(PEOPLE) % 3 == 0,
    "civil": EVERYBODY,
}
SQUARE = small_key().public.n ** 2


def with_ciphertext(chunk: bytes, place: int, ciphertext: bytes) -> bytes:
    ciphertexts = split(chunk, small_key())
    ciphertexts[place] = ciphertext
    return b"".join(ciphertexts)


def times(ciphertext: bytes, factor: int) -> bytes:
    number = int(gmpy2.powmod(int.from_bytes(ciphertext, "big"), factor, SQUARE))
    return number.to_bytes(LAYOUT.ciphertext_bytes, "big")


def plus(ciphertext: bytes, amount: int) -> bytes:
    """Add to the plaintext, as anybody can who has the public key."""
    number = int.from_bytes(ciphertext, "big") * (1 + amount * small_key().public.n) % SQUARE
    return number.to_bytes(LAYOUT.ciphertext_bytes, "big")


def dropped(chunks):
    # The product misses one contributor's ciphertext: multiplied by 1, not by it.
    return [with_ciphertext(chunks[0], 1, (1).to_bytes(LAYOUT.ciphertext_bytes, "big")), *chunks[1:]]


def contribution_dropped(chunks):
    return chunks[1:]


def duplicated(chunks):
    return [*chunks, chunks[0]]


def repeated_within(chunks):
    first = split(chunks[0], small_key())
    return [with_ciphertext(chunks[0], 1, first[0]), *chunks[1:]]


def swapped(chunks):
    first = split(chunks[0], small_key())
    return [b"".join([first[1], first[0], *first[2:]]), *chunks[1:]]


def doubled(chunks):
    return [with_ciphertext(chunks[0], 2, times(split(chunks[0], small_key())[2], 2)), *chunks[1:]]


def negated(chunks):
    return [with_ciphertext(chunks[0], 2, times(split(chunks[0], small_key())[2], -1)), *chunks[1:]]


def scaled_by_a_slot(chunks):
    ciphertext = times(split(chunks[0], small_key())[2], 1 << SLOT_BITS)
    return [with_ciphertext(chunks[0], 2, ciphertext), *chunks[1:]]


def encryption_of_zero(chunks):
    zero = encrypt_chunk(small_key().public, np.zeros((1, LAYOUT.slots), np.uint64), 1)
    return [with_ciphertext(chunks[0], 3, zero), *chunks[1:]]


def from_another_job(chunks):
    other = AndJob(NAMES, manifest=b"another manifest".ljust(32)).contributions(ANSWERS)
    return [with_ciphertext(chunks[0], 0, split(other[0], small_key())[0]), *chunks[1:]]


def from_another_outcome(chunks):
    other = AndJob(NAMES).contributions(ANSWERS, outcome=1)
    return [with_ciphertext(chunks[0], 0, split(other[0], small_key())[0]), *chunks[1:]]


def random_number(chunks):
    number = int.from_bytes(os.urandom(LAYOUT.ciphertext_bytes), "big") % SQUARE
    return [with_ciphertext(chunks[0], 0, number.to_bytes(LAYOUT.ciphertext_bytes, "big")), *chunks[1:]]


ATTACKS = [
    dropped,
    contribution_dropped,
    duplicated,
    repeated_within,
    swapped,
    doubled,
    negated,
    scaled_by_a_slot,
    encryption_of_zero,
    from_another_job,
    from_another_outcome,
    random_number,
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_on_a_ciphertext_makes_the_job_fail(attack) -> None:
    job = AndJob(NAMES)
    with pytest.raises((CheckError, CiphertextError)) as caught:
        job.run(ANSWERS, EVERYBODY, attack)
    # These may overflow the slots or miss the key, which is refused before the check.
    if attack not in {negated, scaled_by_a_slot, random_number}:
        assert isinstance(caught.value, CheckError)
    assert not any(character.isdigit() for character in str(caught.value))


def test_nobody_attacking_nothing_fails() -> None:
    opened = AndJob(NAMES).run(ANSWERS, EVERYBODY)
    assert np.array_equal(opened == 0, np.arange(PEOPLE) % 6 == 0)


@pytest.mark.parametrize("duplicate", [duplicated, repeated_within])
def test_the_guard_sees_duplicates_before_they_are_opened(duplicate) -> None:
    chunks = duplicate(AndJob(NAMES).contributions(ANSWERS))
    with pytest.raises(CiphertextError):
        ResidueGuard(small_key().public).admit(b"".join(chunks))


@pytest.mark.parametrize("column", range(LAYOUT.slots))
def test_attack_subtraction_from_the_slot_below_the_check_slot(column: int) -> None:
    """Subtracting from a slot borrows from the next one up; the check slot must not tell when.

    The borrow happens where the slot's sum is below the amount, and that depends on the answer.
    From a data slot it ends in another data slot or in the padding, never in the check slot:
    the coordinator sees the job pass, whatever the answers.  Only a subtraction from the
    padding or the check slot itself shows, and those hold no answer.
    """
    amounts = [1, 1 << 40, (1 << 41) + 1, (1 << SLOT_BITS) - 1]
    for amount in amounts:

        def subtract(chunks, amount=amount):
            first = split(chunks[0], small_key())
            return [b"".join(plus(c, -amount << SLOT_BITS * column) for c in first), *chunks[1:]]

        outcomes = set()
        for answer in (True, False):
            answers = dict(ANSWERS, tax=np.full(PEOPLE, answer), housing=EVERYBODY)
            try:
                AndJob(NAMES).run(answers, EVERYBODY, subtract)
                outcomes.add("passes")
            except (CheckError, CiphertextError):
                outcomes.add("fails")
        assert len(outcomes) == 1, "the job's end told the answer"
        if column < LAYOUT.data_slots:
            assert outcomes == {"passes"}


def test_attack_subtraction_would_read_an_answer_without_the_padding_slot() -> None:
    """The same subtraction with an answer right below the check slot: pass or fail is the answer."""
    key = small_key()
    amount = 1 << 20  # an eligible person's slot is 0 or a multiple of 2**40
    ends = []
    for answer in (0, 1 << 30):
        words = np.zeros((1, LAYOUT.slots), np.uint64)
        words[0, LAYOUT.padding_index] = answer
        words[0, LAYOUT.check_index] = 77
        chunk = plus(encrypt_chunk(key.public, words, 1), -amount << SLOT_BITS * LAYOUT.padding_index)
        ends.append(open_chunk(key, chunk)[0, LAYOUT.check_index] == 77)
    assert ends == [False, True]


@pytest.mark.parametrize("departments", [2, 3])
def test_attack_a_borrow_through_a_padding_slot_that_was_zeroed(departments: int) -> None:
    """A coordinator that knew the padding's sum could zero it: a borrow then reaches the check slot.

    Its B takes back its own masks in the last person's slot and in the padding, guesses both
    carries, and subtracts one more from the person: pass or fail would speak about her.  The sums
    are those of plaintext integers, which is all that ciphertexts add to it.
    """
    names, trials = NAMES[:departments], 500
    last, padding, check = LAYOUT.data_slots - 1, LAYOUT.padding_index, LAYOUT.check_index
    guesses = list(itertools.product(range(departments), range(departments + 1)))

    def failures(eligible: bool) -> list[bool]:
        """Whether the check slot is wrong, for each guess of the two carries."""
        job = AndJob(names, os.urandom(32))
        answers = {name: np.ones(LAYOUT.data_slots, bool) for name in names}
        answers[names[0]][last] = eligible
        sums = sum(job.words(name, answers[name])[0].astype(object) for name in names)
        masks = sum(words40(key, 0, 0, LAYOUT.slots).astype(object) for key in job.coordinator.masks)
        blank = job.own(np.ones(LAYOUT.data_slots, bool))[0].astype(object)
        right = (sums[check] + blank[check]) % 2**40
        blank[padding], blank[last] = -(masks[padding] % 2**40), -(masks[last] % 2**40)
        opened = sum(int(word) << SLOT_BITS * place for place, word in enumerate(sums + blank))
        wrong = []
        for padding_carry, last_carry in guesses:
            total = opened - (padding_carry << 40 + SLOT_BITS * padding)
            total -= (last_carry << 40) + 1 << SLOT_BITS * last
            wrong.append((total >> SLOT_BITS * check) % 2**40 != right)
        return wrong

    eligible, others = (
        np.mean([failures(answer) for _ in range(trials)], axis=0) for answer in (True, False)
    )
    # Proportions of 500: 0.14 is 4.4 standard errors of their difference.
    assert np.abs(eligible - others).max() < 0.14


def test_an_offset_on_a_data_slot_is_not_detected() -> None:
    """docs/security.md says so: a coordinator can spoil one person's answer unseen, not read it."""

    def offset(chunks):
        first = split(chunks[0], small_key())
        return [with_ciphertext(chunks[0], 0, plus(first[0], 1)), *chunks[1:]]

    opened = AndJob(NAMES).run(ANSWERS, EVERYBODY, offset)
    assert opened[0] == 1
    assert np.array_equal(opened[1:] == 0, (np.arange(PEOPLE) % 6 == 0)[1:])


WORDS = np.zeros((5, LAYOUT.slots), np.uint64)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_attack_equal_residues_after_killed_and_restarted_workers(method: str) -> None:
    """Workers that were forked from one state, killed and started again never repeat randomness."""
    public = small_key().public
    guard = ResidueGuard(public)
    guard.admit(encrypt_chunk(public, WORDS, 40))  # the parent has its table and its state
    context = multiprocessing.get_context(method)
    for _ in range(2):
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            for future in [pool.submit(encrypt_chunk, public, WORDS, 40) for _ in range(4)]:
                guard.admit(future.result(timeout=60))
            for pid in list(pool._processes):
                os.kill(pid, signal.SIGKILL)
            with pytest.raises(BrokenProcessPool):
                pool.submit(encrypt_chunk, public, WORDS, 40).result(timeout=60)
    guard.admit(encrypt_chunk(public, WORDS, 40))
    assert len(guard._seen) == 5 * 10
