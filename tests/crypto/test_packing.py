"""Slots of protocol.md, 4.2: where they are, and that packing and adding keeps them apart."""

import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from veilmatch_crypto.errors import CiphertextError
from veilmatch_crypto.packing import MAX_CONTRIBUTIONS, SLOT_BITS, Layout
from veilmatch_crypto.prg import WORD_BITS

SMALL = Layout(512)
WORDS = st.integers(0, 8).flatmap(
    lambda m: arrays(np.uint64, (m, SMALL.slots), elements=st.integers(0, 2**WORD_BITS - 1))
)


@pytest.mark.parametrize(
    ("bits", "slots", "people", "plaintext", "ciphertext"),
    [(3072, 63, 61, 378, 768), (2048, 42, 40, 252, 512)],
)
def test_the_numbers_of_the_protocol(
    bits: int, slots: int, people: int, plaintext: int, ciphertext: int
) -> None:
    layout = Layout(bits)
    assert (layout.slots, layout.data_slots) == (slots, people)
    assert (layout.padding_index, layout.check_index) == (slots - 2, slots - 1)
    assert (layout.plaintext_bytes, layout.ciphertext_bytes) == (plaintext, ciphertext)
    assert layout.slots * SLOT_BITS <= bits - 1


@given(WORDS)
def test_unpacking_undoes_packing(words: np.ndarray) -> None:
    assert np.array_equal(SMALL.unpack(SMALL.pack(words)), words)


def test_slot_k_is_bits_48k_to_48k_plus_47() -> None:
    words = np.arange(1, SMALL.slots + 1, dtype=np.uint64).reshape(1, -1)
    assert SMALL.pack(words) == [sum((k + 1) << 48 * k for k in range(SMALL.slots))]


def test_the_most_contributions_do_not_carry_into_a_neighbour() -> None:
    words = np.full((1, SMALL.slots), 2**WORD_BITS - 1, np.uint64)
    total = SMALL.pack(words)[0] * MAX_CONTRIBUTIONS
    assert (SMALL.unpack([total]) == np.uint64(MAX_CONTRIBUTIONS * (2**WORD_BITS - 1))).all()


@given(st.integers(0, 100), st.integers(1, 5))
def test_people_go_to_their_slots_and_chunks_cover_them(people: int, chunk_size: int) -> None:
    values = np.arange(1, people + 1, dtype=np.uint64)
    words = SMALL.spread(values)
    assert words.shape == (SMALL.ciphertexts_for(people), SMALL.slots)
    for person in range(people):
        assert words[person // SMALL.data_slots, person % SMALL.data_slots] == person + 1
    assert not words[:, SMALL.data_slots :].any()
    assert np.array_equal(SMALL.gather(words, people), values)

    chunks = SMALL.chunks(people, chunk_size)
    assert [person for chunk in chunks for person in range(people)[chunk]] == list(range(people))
    counts = [SMALL.ciphertexts_for(chunk.stop - chunk.start) for chunk in chunks]
    assert sum(counts) == SMALL.ciphertexts_for(people)
    assert all(count == chunk_size for count in counts[:-1])


@pytest.mark.parametrize("shape", [(3, SMALL.slots - 1), (SMALL.slots,)])
def test_words_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        SMALL.pack(np.zeros(shape, np.uint64))


def test_a_word_of_41_bits_is_refused() -> None:
    words = np.zeros((2, SMALL.slots), np.uint64)
    words[1, 3] = 2**WORD_BITS
    with pytest.raises(ValueError, match="below"):
        SMALL.pack(words)


def test_a_plaintext_that_overflows_its_slots_is_refused() -> None:
    with pytest.raises(CiphertextError):
        SMALL.unpack([mpz(1) << SMALL.slots * SLOT_BITS])
