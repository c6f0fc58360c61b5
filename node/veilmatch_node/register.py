"""Slots of an epoch in ``register`` mode, at the nodes, without I/O (protocol.md, 3 step 4).

The register draws a fresh order of its people and makes two values of each: one for the *list*, in which
every node finds its own people, and one for the *claims*, which the coordinator keeps.  In a job the recipient
gives the claim of each slot that it presents.  Both are keyed hashes of the person's OPRF output under keys that the
coordinator lacks, so that the coordinator learns nobody from a list, and a node computes a claim only for
somebody whom the trustees evaluated for it.  There are no dummies: they would blur how many people the register
has, which the coordinator and every node are told.
"""

import hashlib
import os
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from veilmatch_crypto import CryptoError, IdentityKey, permutation, verify
from veilmatch_node.epoch_keys import EpochKeys
from veilmatch_node.errors import LinkageError
from veilmatch_node.people import UNKNOWN, VALUE_BYTES, SlotTable, value_array
from veilmatch_node.pseudonyms import keyed
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import OpenEpoch, RegisterStatement, signed_register

_MOST_PEOPLE = 2**31  # slots are 32-bit numbers, and the highest marks people without one


@dataclass(frozen=True)
class DrawnRegister:
    """What the register drew for an epoch.

    ``table``: its own people; ``values`` and ``claims``: 32 bytes a person in the order of the slots.
    """

    table: SlotTable
    statement: RegisterStatement
    values: bytes
    claims: bytes

    def __repr__(self) -> str:
        return f"DrawnRegister({self.statement.count} people)"


@dataclass(frozen=True)
class RegisterSlots:
    """One node's people before they have slots.

    ``inputs``, and the first 32 bytes of their OPRF ``outputs``, shape (people, 32).
    """

    epoch: OpenEpoch
    directory: Directory
    keys: EpochKeys
    inputs: pa.Array
    outputs: NDArray[np.uint8]

    def __repr__(self) -> str:
        return f"RegisterSlots({len(self.outputs)} people)"

    def draw(self, identity: IdentityKey) -> DrawnRegister:
        """Register: draw a fresh order and sign the list.  The caller sees to it that an epoch has one."""
        people = len(self.outputs)
        order = permutation(os.urandom(32), people)  # whose slot it is, by slot
        slots = np.empty(people, np.uint32)
        slots[order] = np.arange(people, dtype=np.uint32)
        claims = keyed(self.keys.claim, self.outputs)
        values = keyed(self.keys.listing, self.outputs)[order].tobytes()
        digest = hashlib.sha256(values).digest()
        signature = identity.sign(signed_register(self.epoch, self.keys.digest, people, digest))
        return DrawnRegister(
            SlotTable(self.inputs, slots, claims),
            RegisterStatement(people, digest, signature),
            values,
            claims[order].tobytes(),
        )

    def list_bytes(self, statement: RegisterStatement) -> int:
        """Verify the register's statement and return how many bytes its list has.

        Raises LinkageError where it is not the register's, for this epoch and the keys received here.
        """
        register = self.epoch.epoch.register
        if register is None:
            raise LinkageError("linkage", "a register's list came in union mode", "link again")
        signed = signed_register(self.epoch, self.keys.digest, statement.count, statement.digest)
        try:
            verify(self.directory.identity(register), signed, statement.signature)
        except CryptoError:
            raise LinkageError(
                "linkage", f"the register's list is not {register}'s own for this epoch", "link again"
            ) from None
        if statement.count >= _MOST_PEOPLE:
            raise LinkageError(
                "linkage", f"{register} lists more people than an epoch holds", "split the federation"
            )
        return VALUE_BYTES * statement.count

    def find(self, statement: RegisterStatement, values: bytes) -> SlotTable:
        """Find this node's people in the list that belongs to a verified statement.

        ``values``: the whole list, 32 bytes a person in the order of the slots.  People whom it does not
        have get ``UNKNOWN``.  Raises LinkageError where it is not the list that the register signed.
        """
        if len(values) != self.list_bytes(statement) or hashlib.sha256(values).digest() != statement.digest:
            raise LinkageError(
                "linkage", "the list that came is not the one that the register signed", "link again"
            )
        listed = value_array(values)
        if len(pc.unique(listed)) != len(listed):
            raise LinkageError("linkage", "the register lists somebody twice", "check the register's release")
        own = value_array(keyed(self.keys.listing, self.outputs).tobytes())
        slots = pc.index_in(own, value_set=listed)
        found = slots.cast(pa.uint32()).fill_null(int(UNKNOWN)).to_numpy(zero_copy_only=False)
        return SlotTable(self.inputs, found, keyed(self.keys.claim, self.outputs))
