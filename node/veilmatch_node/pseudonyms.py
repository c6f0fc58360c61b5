"""From linkage inputs to pseudonyms, without a network (protocol.md, 3 steps 2, 3 and 5).

The node keeps the OPRF output of every identity that it ever submitted, so that no trustee is
asked twice: an epoch submits only new identities.  Outputs and pseudonyms are rows of 32 bytes
in the order of their inputs.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from veilmatch_crypto import BlindingState, Pool, blind, cmac_rows
from veilmatch_node import embedded
from veilmatch_node.people import VALUE_BYTES, read_stream, value_array, value_rows, write_stream

_MOST_IDENTITIES = 4096  # in a batch: 131,072 bytes of elements, a second of a trustee's time
_LEAST_IDENTITIES = 512  # below, what a batch costs beside its identities shows
_BATCHES = 8  # that a smaller table makes, so that trustees and requester work side by side
_PIECE = 1 << 18  # identities, 20 MB: what the store keeps as one value

# HMAC (RFC 2104) around SHA-256, whose block is 64 bytes.
_HASH_BLOCK = 64
_INNER, _OUTER = 0x36, 0x5C


@dataclass(frozen=True)
class Outputs:
    """What the trustees evaluated for this node: identities, and what follows from them for good.

    ``inputs``: linkage inputs (large_binary, each once); ``values``: the first 32 bytes of each one's OPRF
    output, shape (n, 32); ``tags``: its tag (linked.py), shape (n,).
    """

    inputs: pa.Array
    values: NDArray[np.uint8]
    tags: NDArray[np.uint64]

    def __repr__(self) -> str:
        return f"Outputs({len(self.inputs)} identities)"

    def places(self, inputs: pa.Array) -> pa.Array:
        """Return where each of ``inputs`` is among these (int32), NULL where it was never evaluated."""
        return pc.index_in(inputs, value_set=self.inputs)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return all that is in ``parts``, one after the other."""
        return cls(
            pa.concat_arrays([part.inputs for part in parts]),
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.tags for part in parts]),
        )

    def encode(self) -> Iterator[bytes]:
        """Serialise for the node's own store, in pieces."""
        for start in range(0, len(self.inputs), _PIECE):
            piece = slice(start, start + _PIECE)
            columns = {
                "input": self.inputs[piece],
                "output": value_array(self.values[piece].tobytes()),
                "tag": pa.array(self.tags[piece], pa.uint64()),
            }
            yield write_stream(pa.table(columns))

    @classmethod
    def decode(cls, pieces: Iterable[bytes]) -> Self:
        """Read what ``encode`` wrote."""
        table = pa.concat_tables([_NOTHING, *map(read_stream, pieces)])
        return cls(
            table["input"].combine_chunks(),
            value_rows(table["output"].combine_chunks()),
            table["tag"].to_numpy(),
        )


_NOTHING = pa.schema(
    {"input": pa.large_binary(), "output": pa.binary(VALUE_BYTES), "tag": pa.uint64()}
).empty_table()


def decode_untagged(data: bytes) -> tuple[pa.Array, NDArray[np.uint8]]:
    """Read inputs and outputs as release 0.1.0 kept them: all of them in one value, without tags."""
    table = read_stream(data)
    return table["input"].combine_chunks(), value_rows(table["output"].combine_chunks())


@dataclass(frozen=True)
class Blinded:
    """One batch before it leaves: the identities, their blinds, and the blinded elements."""

    inputs: tuple[bytes, ...]
    state: BlindingState
    elements: bytes

    def __repr__(self) -> str:
        return f"Blinded({len(self.inputs)} identities)"

    def encode(self) -> bytes:
        """Serialise inputs and blinds for the node's own store, to repeat the request after a crash."""
        inputs = pa.array(self.inputs, pa.large_binary())
        return write_stream(pa.table({"input": inputs, "blind": value_array(self.state.blinds)}))

    @classmethod
    def decode(cls, data: bytes, pool: Pool) -> "Blinded":
        """Read what ``encode`` wrote: the same request, byte for byte."""
        table = read_stream(data)
        inputs = tuple(table["input"].to_pylist())
        state = BlindingState(inputs, b"".join(table["blind"].to_pylist()))
        return cls(inputs, state, state.blinded(pool))


def blind_batches(inputs: pa.Array, pool: Pool) -> Iterator[Blinded]:
    """Blind ``inputs`` batch by batch, as the caller takes them."""
    size = min(_MOST_IDENTITIES, max(_LEAST_IDENTITIES, -(-len(inputs) // _BATCHES)))
    for start in range(0, len(inputs), size):
        batch = tuple(inputs[start : start + size].to_pylist())
        state, elements = blind(batch, pool)
        yield Blinded(batch, state, elements)


def keyed(key: bytes, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pseudonyms, list values or claims of ``values``, under the epoch's key for them: rows of 32 bytes each."""
    return cmac_rows(key, values, blocks=VALUE_BYTES // 16)


def hmac_rows(key: bytes, inputs: pa.Array) -> NDArray[np.uint8]:
    """HMAC-SHA-256 of each input (large_binary); shape (n, 32).  ValueError for a ``key`` above 64 bytes."""
    if len(key) > _HASH_BLOCK:
        raise ValueError(f"a key of {len(key)} bytes would have to be hashed first")
    padded = key.ljust(_HASH_BLOCK, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in padded) for pad in (_INNER, _OUTER))
    with embedded.connect() as connection:
        connection.register("inputs_read", pa.table({"input": inputs}))
        hashed = connection.sql(
            "SELECT unhex(sha256($outer || unhex(sha256($inner || input)))) AS value FROM inputs_read",
            params={"inner": inner, "outer": outer},
        ).to_arrow_table()
        connection.unregister("inputs_read")
    return value_rows(hashed["value"].cast(pa.binary(VALUE_BYTES)).combine_chunks())
