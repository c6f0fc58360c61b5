"""Whom an epoch linked, remembered after its slots are erased, without an identity that can be read.

For the citizen's view (disclosures.py): whoever had a slot had a row that the epoch's jobs evaluated.  A
*tag* is the first 8 bytes of the HMAC-SHA-256 of a linkage input, under a key that this node drew and
uses for nothing else.  Of n linked people, somebody else's tag is one by chance with probability n / 2^64.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from veilmatch_node.people import UNKNOWN, VALUE_BYTES, SlotTable
from veilmatch_node.pseudonyms import keyed

KEY_BYTES = 32
_TAG = np.dtype(">u8")  # big-endian, so that tags sort as their bytes do


def linked_tags(key: bytes, table: SlotTable) -> bytes:
    """Return the tags of all people with a slot, 8 bytes each, ascending."""
    linked = table.inputs.filter(pa.array(table.slots != UNKNOWN))
    return np.sort(_tags(key, linked.to_pylist())).tobytes()


def is_linked(tags: bytes, key: bytes, inputs: Sequence[bytes]) -> bool:
    """Whether any of a person's linkage ``inputs`` is among the ``tags`` that `linked_tags` returned."""
    known, asked = np.frombuffer(tags, _TAG), _tags(key, inputs)
    first, behind = (np.searchsorted(known, asked, side) for side in ("left", "right"))
    return bool((first < behind).any())


def _tags(key: bytes, inputs: Sequence[bytes]) -> NDArray[np.uint64]:
    """The first word of each HMAC."""
    words = np.frombuffer(b"".join(keyed(key, inputs)), _TAG)
    return words[:: VALUE_BYTES // _TAG.itemsize]
