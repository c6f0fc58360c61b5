"""Slots of an epoch, without I/O (protocol.md, 3 step 4).

Mode ``union``: the coordinator gets every node's pseudonyms, draws a fresh permutation of their union and of a
random number of dummies, and tells each node the slots of its own rows.  It learns which
pseudonyms occur in which departments; a node learns only the padded count.  Permutation and dummies are drawn
once an epoch; keeping them is left to the caller.

Mode ``register``: the register draws.  The coordinator gets the list that it relays and the claims
that it keeps, in the same order, and learns how many people are registered.  In a job it checks that whoever
presents a slot has that person's claim.
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from veilmatch_coordinator.errors import JobError, LinkageError
from veilmatch_crypto import ascending, permutation
from veilmatch_policy.epoch import RegisterStatement

VALUE_BYTES = 32  # a pseudonym, a value of the register's list, a claim
_LEAST_DUMMIES = 1024  # protocol.md, 3 step 4: below max(1024, 1 per cent of the union)
LARGEST = 2**31  # slots are 32-bit numbers on the wire


@dataclass(frozen=True)
class SlotAssignment:
    """Slots by node, in the order of the pseudonyms that the node sent, and the number of slots in all."""

    slots: Mapping[str, NDArray[np.uint32]]
    padded: int


class RegisterLists(NamedTuple):
    """What the register drew: its statement, the list and the claims, 32 bytes a person in the order of the slots."""

    statement: RegisterStatement
    values: bytes
    claims: bytes


def read_pseudonyms(node: str, data: bytes) -> NDArray[np.uint8]:
    """Return a node's pseudonyms as rows of 32 bytes.

    Raises LinkageError unless they are whole, ascending and distinct: an order that depended on
    the rows would say something about them.
    """
    if len(data) % VALUE_BYTES:
        raise LinkageError(f"linkage: {node} sent a part of a pseudonym; check its release")
    rows = np.frombuffer(data, np.uint8).reshape(-1, VALUE_BYTES)
    order, new = ascending(rows)
    if not new.all() or (order[1:] < order[:-1]).any():
        raise LinkageError(
            f"linkage: {node} sent pseudonyms that are not ascending and distinct; check its release"
        )
    return rows


def assign_slots(pseudonyms: Mapping[str, NDArray[np.uint8]]) -> SlotAssignment:
    """Draw the epoch's permutation and dummies, and give each node the slots of its rows."""
    names = sorted(pseudonyms)
    order, new = ascending(np.concatenate([pseudonyms[name] for name in names]))
    places = np.empty(len(order), np.uint32)  # of each pseudonym in the union
    places[order] = np.cumsum(new, dtype=np.uint32) - np.uint32(1)
    union = int(np.count_nonzero(new))
    dummies = secrets.randbelow(max(_LEAST_DUMMIES, union // 100))
    padded = union + dummies
    if padded == 0:
        padded = 1  # nobody anywhere is still a job that runs
    if padded >= LARGEST:
        raise LinkageError(
            f"linkage: {padded} people are more than an epoch holds ({LARGEST}); split the federation"
        )
    drawn = permutation(os.urandom(32), padded).astype(np.uint32)
    slots: dict[str, NDArray[np.uint32]] = {}
    start = 0
    for name in names:
        count = len(pseudonyms[name])
        slots[name] = drawn[places[start : start + count]]
        start += count
    return SlotAssignment(slots, padded)


def check_register(register: str, lists: RegisterLists, people: int) -> None:
    """Raise LinkageError unless list and claims have one value for each of the register's ``people``.

    No value may occur twice, also not once in each: a claim that stood in the list would be every node's.
    """
    size = VALUE_BYTES * people
    if (lists.statement.count, len(lists.values), len(lists.claims)) != (people, size, size):
        raise LinkageError(
            f"linkage: {register} drew slots for another number of people than it has; check its release"
        )
    both = np.frombuffer(lists.values + lists.claims, np.uint8).reshape(-1, VALUE_BYTES)
    if not ascending(both)[1].all():
        raise LinkageError(f"linkage: {register} gave one value to two people; check its release")


def check_claims(node: str, stored: bytes, slots: NDArray[np.intp], claims: bytes, *, people: int) -> None:
    """Raise JobError unless a node has the claim of every slot that it presents (register mode).

    ``stored``: all claims in the order of the slots; ``slots``: what the node presents, each once;
    ``claims``: what it says are theirs, in the order of ``slots``; ``people``: how many people it
    brought to the linkage, of whom it can present no more.
    """
    registered = np.frombuffer(stored, np.uint8).reshape(-1, VALUE_BYTES)
    if len(slots) > people or len(claims) != VALUE_BYTES * len(slots):
        raise JobError(f"job: {node} does not present one claim for each of its people; check its release")
    if len(slots) and not 0 <= int(slots.min()) <= int(slots.max()) < len(registered):
        raise JobError(f"job: {node} presents a slot of nobody; check its release")
    if registered[slots].tobytes() != claims:
        raise JobError(f"job: {node} presents people that it has no claim for; check its release")
