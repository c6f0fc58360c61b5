"""Bit slices against their definition, bit by bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilmatch_crypto.bitslices import pack_bits, row_words, slice_words, unpack_bits

PEOPLE = [0, 1, 7, 63, 64, 65, 1000]


def bit(row, person: int) -> int:
    """The definition: person p is bit p % 64 of word p // 64."""
    return int(row[person // 64]) >> person % 64 & 1


@pytest.mark.parametrize("people", PEOPLE)
@pytest.mark.parametrize("bits", [1, 8, 13, 40, 64])
def test_row_i_holds_bit_i_of_everybody(people: int, bits: int) -> None:
    words = np.random.default_rng(people).integers(0, 2**64, people, dtype=np.uint64)
    rows = slice_words(words, bits)
    assert rows.dtype == np.uint64
    assert rows.shape == (bits, row_words(people)) == (bits, (people + 63) // 64)
    for i, row in enumerate(rows):
        assert [bit(row, p) for p in range(people)] == [int(word) >> i & 1 for word in words]


@pytest.mark.parametrize("people", PEOPLE)
def test_bits_of_nobody_are_zero(people: int) -> None:
    ones = np.full(people, 2**40 - 1, dtype=np.uint64)
    for row in (*slice_words(ones), pack_bits(ones > 0)):
        assert sum(int(word).bit_count() for word in row) == people


def test_forty_bits_unless_told_otherwise() -> None:
    assert slice_words(np.zeros(3, dtype=np.uint64)).shape == (40, 1)


def test_words_in_any_memory_layout() -> None:
    words = np.random.default_rng(1).integers(0, 2**40, 600, dtype=np.uint64)
    assert np.array_equal(slice_words(words[::3]), slice_words(words[::3].copy()))
    assert np.array_equal(slice_words(words.astype(">u8")), slice_words(words))


@given(st.lists(st.booleans(), max_size=200))
def test_packed_bits_come_back(answers: list[bool]) -> None:
    row = pack_bits(np.array(answers, dtype=np.bool_))
    assert row.dtype == np.uint64
    assert [bit(row, p) for p in range(len(answers))] == answers
    assert unpack_bits(row, len(answers)).tolist() == answers
    assert unpack_bits(row, len(answers)).dtype == np.bool_


@pytest.mark.parametrize("people", [0, 64, 129])
def test_a_row_of_another_number_of_people_is_refused(people: int) -> None:
    with pytest.raises(ValueError, match="words"):
        unpack_bits(np.zeros(2, dtype=np.uint64), people)
