"""Everybody in any of a department's tables, once, and each row's place among them.

People stand in the order of their linkage inputs (protocol.md, 3 step 2): by scheme, then by normal form.
By sorting: hash tables of millions of inputs take several times the memory.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from veilmatch_node.identifiers import linkage_inputs
from veilmatch_node.rows import Rows

_KEY_BITS = 64


def number_people(tables: Sequence[Rows]) -> tuple[pa.LargeBinaryArray, list[NDArray[np.int32]]]:
    """Return the linkage inputs of all people, sorted, and for each table its rows' places among them."""
    places: list[NDArray[np.int32]] = [np.empty(0, np.int32) for _ in tables]
    inputs: list[pa.LargeBinaryArray] = []
    known = 0
    # An input is its scheme, 0x00, the form, so the schemes' order goes first (0x00 is less than any letter).
    for scheme in sorted({rows.table.identifier.scheme for rows in tables}):
        of_scheme = [i for i, rows in enumerate(tables) if rows.table.identifier.scheme == scheme]
        # Large: all of them together may have more bytes than 32 bits count.
        forms = pa.chunked_array(
            [chunk for i in of_scheme for chunk in tables[i].forms.cast(pa.large_string()).chunks],
            pa.large_string(),
        )
        distinct, numbers = _distinct(forms)
        inputs.append(linkage_inputs(distinct, scheme))
        ends = np.cumsum([len(tables[i].forms) for i in of_scheme])[:-1]
        for i, part in zip(of_scheme, np.split(numbers + np.int32(known), ends), strict=True):
            places[i] = part
        known += len(distinct)
    return pa.chunked_array(inputs, pa.large_binary()).combine_chunks(), places


def _distinct(forms: pa.ChunkedArray) -> tuple[pa.LargeStringArray, NDArray[np.int32]]:
    """The forms in the order of their bytes, each once, and the place of each among them."""
    keys = sort_keys(forms)
    first = np.ones(len(forms), np.bool_)
    if keys is not None:
        order = np.argsort(keys)
        keys = keys[order]
        first[1:] = keys[1:] != keys[:-1]
    else:
        order = pc.sort_indices(forms).to_numpy()
        ordered = forms.take(pa.array(order)).combine_chunks()
        first[1:] = pc.not_equal(ordered[1:], ordered[:-1])
    numbers = np.empty(len(forms), np.int32)
    numbers[order] = np.cumsum(first, dtype=np.int32) - 1
    return forms.take(pa.array(order[first])).combine_chunks(), numbers


def sort_keys(texts: pa.ChunkedArray) -> NDArray[np.uint64] | None:
    """Return numbers that compare as the bytes of these texts (large_string, no NULL) do.

    The characters in use are the digits of a number: 18 of 0 to 9 and X, as most identifiers are, take 63
    bits, and numbers are sorted in a tenth of the time.  None where they would take more than 64.
    """
    pieces = [_bytes(chunk) for chunk in texts.chunks]
    longest = max((int(lengths.max(initial=0)) for _, _, lengths in pieces), default=0)
    shortest = min((int(lengths.min(initial=longest)) for _, _, lengths in pieces), default=0)
    used = np.zeros(256, np.bool_)
    for data, starts, lengths in pieces:
        if len(starts):
            used[data[starts[0] : starts[-1] + lengths[-1]]] = True
    # The least digit is of a text that ended before.
    padded = int(longest > shortest)
    base = int(used.sum()) + padded
    if base**longest > 2**_KEY_BITS:
        return None
    digits = np.cumsum(used, dtype=np.uint64) - np.uint64(1 - padded)
    return np.concatenate(
        [_packed(*piece, digits, base, longest) for piece in pieces] or [np.empty(0, np.uint64)]
    )


def _packed(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    digits: NDArray[np.uint64],
    base: int,
    longest: int,
) -> NDArray[np.uint64]:
    keys = np.zeros(len(starts), np.uint64)
    if len(starts) and (lengths == longest).all():  # one after another, as most identifiers are
        for characters in data[starts[0] : starts[0] + len(starts) * longest].reshape(len(starts), longest).T:
            keys *= np.uint64(base)
            keys += digits[characters]
        return keys
    for place in range(longest):
        # Past the end of a text stands any byte, and its digit is 0.
        digit = digits[data[np.minimum(starts + place, len(data) - 1)]]
        digit[place >= lengths] = 0
        keys *= np.uint64(base)
        keys += digit
    return keys


def _bytes(texts: pa.LargeStringArray) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """The bytes of all texts, where each begins, and how long it is."""
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data or b"\0", np.uint8), bounds[:-1], np.diff(bounds)
