"""Slots of an epoch in ``union`` mode, without I/O (protocol.md, 3 step 4).

The coordinator gets every node's pseudonyms, draws a fresh permutation of their union and of a
random number of dummies, and tells each node the slots of its own rows.  It learns which
pseudonyms occur in which departments; a node learns only the padded count.  Permutation and dummies are drawn
once an epoch; keeping them is left to the caller.
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilmatch_coordinator.errors import LinkageError
from veilmatch_crypto import permutation

PSEUDONYM_BYTES = 32  # HMAC-SHA-256
_LEAST_DUMMIES = 1024  # protocol.md, 3 step 4: below max(1024, 1 per cent of the union)
LARGEST = 2**31  # slots are 32-bit numbers on the wire


@dataclass(frozen=True)
class SlotAssignment:
    """Slots by node, in the order of the pseudonyms that the node sent, and the number of slots in all."""

    slots: Mapping[str, NDArray[np.uint32]]
    padded: int


def read_pseudonyms(node: str, data: bytes) -> NDArray[np.bytes_]:
    """Return a node's pseudonyms as an array of 32-byte values.

    Raises LinkageError unless they are whole, ascending and distinct: an order that depended on
    the rows would say something about them.
    """
    if len(data) % PSEUDONYM_BYTES:
        raise LinkageError(f"linkage: {node} sent a part of a pseudonym; check its release")
    words = np.frombuffer(data, ">u8").reshape(-1, PSEUDONYM_BYTES // 8)
    before, after = words[:-1], words[1:]
    differs = before != after
    first = differs.argmax(axis=1)
    rows = np.arange(len(first))
    if not (differs.any(axis=1) & (before[rows, first] < after[rows, first])).all():
        raise LinkageError(
            f"linkage: {node} sent pseudonyms that are not ascending and distinct; check its release"
        )
    return np.frombuffer(data, f"S{PSEUDONYM_BYTES}")


def assign_slots(pseudonyms: Mapping[str, NDArray[np.bytes_]]) -> SlotAssignment:
    """Draw the epoch's permutation and dummies, and give each node the slots of its rows."""
    names = sorted(pseudonyms)
    # numpy compares "S32" up to trailing zero bytes; pseudonyms are random, so none differ in those alone.
    union, places = np.unique(np.concatenate([pseudonyms[name] for name in names]), return_inverse=True)
    dummies = secrets.randbelow(max(_LEAST_DUMMIES, len(union) // 100))
    padded = len(union) + dummies
    if padded == 0:
        padded = 1  # nobody anywhere is still a job that runs
    if padded >= LARGEST:
        raise LinkageError(
            f"linkage: {padded} people are more than an epoch holds ({LARGEST}); split the federation"
        )
    order = permutation(os.urandom(32), padded).astype(np.uint32)
    slots: dict[str, NDArray[np.uint32]] = {}
    start = 0
    for name in names:
        count = len(pseudonyms[name])
        slots[name] = order[places[start : start + count]]
        start += count
    return SlotAssignment(slots, padded)
