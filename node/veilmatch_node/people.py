"""A department's people in an epoch: which identity has which slot.

Arrays of this node only; they are kept in the node's own store and never leave it.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

UNKNOWN = np.uint32(2**32 - 1)  # an identity that joined after the linkage: no slot in this epoch


@dataclass(frozen=True)
class SlotTable:
    """Who has which slot: ``inputs`` are linkage inputs (scheme, 0x00, normal form), ``slots`` in the same order."""

    inputs: pa.Array
    slots: NDArray[np.uint32]

    def __repr__(self) -> str:
        return f"SlotTable({len(self.slots)} people)"

    def find(self, inputs: pa.Array) -> NDArray[np.uint32]:
        """Return the slot of each input (large_binary), ``UNKNOWN`` where it has none in this epoch."""
        places = pc.index_in(inputs, value_set=self.inputs)
        found: NDArray[np.int32] = places.fill_null(len(self.slots)).to_numpy(zero_copy_only=False)
        return np.append(self.slots, UNKNOWN)[found]

    def identifiers(self, slots: NDArray[np.intp]) -> pa.Array:
        """Return the identifiers, in normal form, of those of ``slots`` that are this node's people."""
        found = self.inputs.filter(pa.array(np.isin(self.slots, slots)))
        # An input is the scheme, 0x00, the normal form (protocol.md, 3 step 2); no scheme has a 0x00 in its name.
        return pc.replace_substring_regex(found.cast(pa.large_string()), "^[^\\x00]*\\x00", "")

    def encode(self) -> bytes:
        """Serialise as one Arrow stream."""
        return write_stream(pa.table({"input": self.inputs, "slot": pa.array(self.slots, pa.uint32())}))

    @classmethod
    def decode(cls, data: bytes) -> "SlotTable":
        """Read what ``encode`` wrote."""
        table = read_stream(data)
        return cls(table["input"].combine_chunks(), table["slot"].to_numpy().astype(np.uint32))


def write_stream(table: pa.Table) -> bytes:
    """Serialise a table as one Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def read_stream(data: bytes) -> pa.Table:
    """Read what ``write_stream`` wrote."""
    return pa.ipc.open_stream(data).read_all()
