"""Whom an epoch linked, remembered after its slots are erased, without an identity that can be read.

For the citizen's view (disclosures.py): whoever had a slot had a row that the epoch's jobs evaluated.  A
*tag* is the first 8 bytes of the HMAC-SHA-256 of a linkage input, under a key that this node drew and
uses for nothing else.  Of n linked people, somebody else's tag is one by chance with probability n / 2^64.
"""

import hmac
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from veilmatch_node.people import UNKNOWN, VALUE_BYTES
from veilmatch_node.pseudonyms import hmac_rows

KEY_BYTES = 32
_TAG = np.dtype(">u8")  # big-endian, so that tags sort as their bytes do


def tags_of(key: bytes, inputs: pa.Array) -> NDArray[np.uint64]:
    """Return the tag of each input (large_binary), shape (n,): the first 8 bytes of its HMAC as a number."""
    words = hmac_rows(key, inputs).view(_TAG)
    return words[:, 0].astype(np.uint64)


def linked_tags(tags: NDArray[np.uint64], slots: NDArray[np.uint32]) -> bytes:
    """Return the tags of all people with a slot, 8 bytes each, ascending; both arrays have a place a person."""
    return np.sort(tags[slots != UNKNOWN]).astype(_TAG).tobytes()


def is_linked(tags: bytes, key: bytes, inputs: Sequence[bytes]) -> bool:
    """Whether any of a person's linkage ``inputs`` is among the ``tags`` that `linked_tags` returned."""
    known = np.frombuffer(tags, _TAG)
    # One person's: no table, and the front desk needs no database to look her up.
    values = b"".join(hmac.digest(key, each, "sha256") for each in inputs)
    asked = np.frombuffer(values, _TAG)[:: VALUE_BYTES // _TAG.itemsize]
    first, behind = (np.searchsorted(known, asked, side) for side in ("left", "right"))
    return bool((first < behind).any())
