"""A department's people in an epoch: which identity has which slot.

Arrays of this node only; they are kept in the node's own store and never leave it.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from veilmatch_node.errors import JobRefusedError
from veilmatch_node.identifiers import normal_forms

# No slot in this epoch: an identity that joined after the linkage or, in register mode, is not in the register.
UNKNOWN = np.uint32(2**32 - 1)
VALUE_BYTES = 32  # of an OPRF output, a pseudonym, a value of the register's list, a claim


@dataclass(frozen=True)
class SlotTable:
    """Who has which slot: ``inputs`` are linkage inputs (scheme, 0x00, normal form), ``slots`` in the same order.

    In register mode people outside the register have the slot ``UNKNOWN``, and ``claims``, shape
    (people, 32), are the values that prove each person to the coordinator; in union mode there are none.
    """

    inputs: pa.Array
    slots: NDArray[np.uint32]
    claims: NDArray[np.uint8] | None = None

    def __repr__(self) -> str:
        return f"SlotTable({len(self.slots)} people)"

    @property
    def outside(self) -> int:
        """How many of the department's people have no slot."""
        return int(np.count_nonzero(self.slots == UNKNOWN))

    def find(self, inputs: pa.Array) -> NDArray[np.uint32]:
        """Return the slot of each input (large_binary), ``UNKNOWN`` where it has none in this epoch."""
        if inputs.equals(self.inputs):  # most jobs: nobody came or went since the linkage
            return self.slots
        places = pc.index_in(inputs, value_set=self.inputs)
        found: NDArray[np.int32] = places.fill_null(len(self.slots)).to_numpy(zero_copy_only=False)
        return np.append(self.slots, UNKNOWN)[found]

    def identifiers(self, slots: NDArray[np.intp]) -> pa.Array:
        """Return the identifiers, in normal form, of this node's people in ``slots``, in that order."""
        places = pc.index_in(pa.array(slots.astype(np.uint32)), value_set=pa.array(self.slots))
        return normal_forms(self.inputs.take(places))

    def claims_of(self, slots: NDArray[np.integer]) -> bytes:
        """Return the claims for ``slots``, 32 bytes each, in that order (protocol.md, 3 step 4).

        Raises JobRefusedError for a slot that is not one of this node's people, and in union mode.
        """
        wanted = pa.array(slots.astype(np.uint32))
        places = pc.index_in(wanted, value_set=pa.array(self.slots))
        if self.claims is None or places.null_count or (slots == UNKNOWN).any():
            raise JobRefusedError("job", "would present a slot that this node has no claim for", "link again")
        found: NDArray[np.int32] = places.to_numpy(zero_copy_only=False)
        return self.claims[found].tobytes()

    def encode(self) -> bytes:
        """Serialise as one Arrow stream."""
        columns = {"input": self.inputs, "slot": pa.array(self.slots, pa.uint32())}
        if self.claims is not None:
            columns["claim"] = value_array(self.claims.tobytes())
        return write_stream(pa.table(columns))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what ``encode`` wrote."""
        table = read_stream(data)
        inputs, slots = table["input"].combine_chunks(), table["slot"].to_numpy().astype(np.uint32)
        if "claim" not in table.column_names:
            return cls(inputs, slots)
        return cls(inputs, slots, value_rows(table["claim"].combine_chunks()))


def value_array(data: bytes) -> pa.Array:
    """Return ``data`` as an array of its 32-byte values, without a copy."""
    buffers = [None, pa.py_buffer(data)]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(VALUE_BYTES), len(data) // VALUE_BYTES, buffers)


def value_rows(values: pa.Array) -> NDArray[np.uint8]:
    """Return 32-byte values as rows, shape (values, 32): what ``value_array`` took."""
    rows = np.frombuffer(values.buffers()[1], np.uint8).reshape(-1, VALUE_BYTES)
    return rows[values.offset : values.offset + len(values)]


def write_stream(table: pa.Table) -> bytes:
    """Serialise a table as one Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def read_stream(data: bytes) -> pa.Table:
    """Read what ``write_stream`` wrote."""
    return pa.ipc.open_stream(data).read_all()
