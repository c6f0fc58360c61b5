"""Rows of pseudorandom bytes in ascending order, by their first eight bytes where those decide."""

import numpy as np
from numpy.typing import NDArray

_WORD = np.dtype(">u8")  # big-endian words compare as their bytes do


def ascending(rows: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the order that sorts ``rows``, and for each place in it whether the row differs from the one before.

    ``rows``: shape (n, width), width a positive multiple of 8, compared as bytes.  Both results have
    shape (n,).  Sorting numbers is several times as fast as sorting strings, and rows that look random and
    differ do so in their first words; where some do not, all words are sorted by.
    """
    words = np.ascontiguousarray(rows).view(_WORD)
    first = words[:, 0].astype(np.uint64)
    order = np.argsort(first)
    new = _differ(first[order])
    if new.all():
        return order, new
    if (_any_differ(words[:, 1:], order) & ~new).any():
        order = np.lexsort(words.T[::-1])
        new = _any_differ(words, order)
    return order, new


def _any_differ(words: NDArray[np.uint64], order: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether each row of ``order`` differs from the one before it in any of its words, column by column."""
    differs = np.zeros(len(order), np.bool_)
    for column in words.T:
        differs |= _differ(column[order])
    return differs


def _differ(values: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each value differs from the one before it; the first one does."""
    differs = np.ones(len(values), np.bool_)
    differs[1:] = values[1:] != values[:-1]
    return differs
