"""Bit slices: one array row a bit position, 64 people a machine word (protocol.md, 5.3).

A gate of the circuit is then one instruction for 64 people or more.  Person p is bit p % 64 of
word p // 64, the least significant bit first; the bits of the last word that belong to nobody
are zero.  packbits does the transposition on eight people at once: it was measured against
transposing blocks of 8 x 8 and 64 x 64 bits by shifts and masks and is as fast or faster.
"""

import numpy as np
from numpy.typing import NDArray

from veilmatch_crypto.prg import WORD_BITS

PEOPLE_PER_WORD = 64

_BITS_OF_A_BYTE = np.uint8(1) << np.arange(8, dtype=np.uint8)[:, np.newaxis]


def row_words(people: int) -> int:
    """How many words a row for ``people`` people has."""
    return -(-people // PEOPLE_PER_WORD)


def slice_words(words: NDArray[np.uint64], bits: int = WORD_BITS) -> NDArray[np.uint64]:
    """Slice one word a person, shape (n,): row i of the result, shape (bits, row_words(n)), holds bit i.

    Bit 0 is the least significant; bits of a word at ``bits`` (at most 64) and above are left out.
    """
    people = len(words)
    octets = np.ascontiguousarray(words, dtype="<u8").view(np.uint8).reshape(people, 8)
    # One byte of everybody lies together, or packbits would stride through memory eight times.
    planes = np.ascontiguousarray(octets.T[: -(-bits // 8)])
    rows = np.zeros((len(planes), 8, 8 * row_words(people)), dtype=np.uint8)
    for plane, row in zip(planes, rows, strict=True):
        row[:, : -(-people // 8)] = np.packbits(plane & _BITS_OF_A_BYTE, axis=1, bitorder="little")
    return rows.view("<u8").reshape(8 * len(planes), row_words(people))[:bits]


def pack_bits(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack one truth value a person, shape (n,), into a row, shape (row_words(n),)."""
    row = np.zeros(8 * row_words(len(bits)), dtype=np.uint8)
    row[: -(-len(bits) // 8)] = np.packbits(bits, bitorder="little")
    return row.view("<u8")


def unpack_bits(row: NDArray[np.uint64], people: int) -> NDArray[np.bool_]:
    """Unpack the first ``people`` people's truth values, shape (people,): the inverse of ``pack_bits``.

    Raises ValueError where the row, shape (words,), is not the row of so many people.
    """
    if row.shape != (row_words(people),):
        raise ValueError(f"a row for {people} people has {row_words(people)} words, not {row.shape}")
    octets = np.ascontiguousarray(row, dtype="<u8").view(np.uint8)
    return np.unpackbits(octets, count=people, bitorder="little").view(np.bool_)
