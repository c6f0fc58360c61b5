"""From linkage inputs to pseudonyms, without I/O (protocol.md, 3 steps 2, 3 and 5).

The node keeps the OPRF output of every identity that it ever submitted, so that no trustee is
asked twice: an epoch submits only new identities.  Outputs and pseudonyms are arrays of 32-byte
values in the order of their inputs.
"""

import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from veilmatch_crypto import BlindingState, blind
from veilmatch_node.people import VALUE_BYTES, read_stream, value_array, write_stream

BATCH_IDENTITIES = (
    4096  # 131,072 bytes of elements, a second of a trustee's time: progress is seen, nothing idles
)


@dataclass(frozen=True)
class Outputs:
    """First 32 bytes of the OPRF output of each identity that this node ever had evaluated."""

    inputs: pa.Array
    values: pa.Array

    def __repr__(self) -> str:
        return f"Outputs({len(self.inputs)} identities)"

    @classmethod
    def none(cls) -> "Outputs":
        """No identity yet."""
        return cls(pa.array([], pa.large_binary()), pa.array([], pa.binary(VALUE_BYTES)))

    def missing(self, inputs: pa.Array) -> pa.Array:
        """Return those inputs that were never evaluated."""
        return inputs.filter(pc.invert(pc.is_in(inputs, value_set=self.inputs)))

    def extended(self, batches: Iterable[tuple[Sequence[bytes], NDArray[np.uint8]]]) -> "Outputs":
        """Return these and further outputs, batch by batch: n inputs, and outputs of shape (n, 64)."""
        inputs, values = [self.inputs], [self.values]
        for batch, outputs in batches:
            inputs.append(pa.array(batch, pa.large_binary()))
            values.append(value_array(outputs[:, :VALUE_BYTES].tobytes()))
        return Outputs(pa.concat_arrays(inputs), pa.concat_arrays(values))

    def of(self, inputs: pa.Array) -> list[bytes]:
        """Return the outputs of ``inputs``, all of which were evaluated."""
        return self.values.take(pc.index_in(inputs, value_set=self.inputs)).to_pylist()  # type: ignore[no-any-return]  # pyarrow has no types

    def encode(self) -> bytes:
        """Serialise for the node's own store."""
        return write_stream(pa.table({"input": self.inputs, "output": self.values}))

    @classmethod
    def decode(cls, data: bytes) -> "Outputs":
        """Read what ``encode`` wrote."""
        table = read_stream(data)
        return cls(table["input"].combine_chunks(), table["output"].combine_chunks())


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
    def decode(cls, data: bytes) -> "Blinded":
        """Read what ``encode`` wrote: the same request, byte for byte."""
        table = read_stream(data)
        inputs = tuple(table["input"].to_pylist())
        state = BlindingState(inputs, b"".join(table["blind"].to_pylist()))
        return cls(inputs, state, state.blinded())


def blind_batches(inputs: pa.Array) -> Iterator[Blinded]:
    """Blind ``inputs`` batch by batch, as the caller takes them."""
    for start in range(0, len(inputs), BATCH_IDENTITIES):
        batch = tuple(inputs[start : start + BATCH_IDENTITIES].to_pylist())
        state, elements = blind(batch)
        yield Blinded(batch, state, elements)


def keyed(key: bytes, values: Sequence[bytes]) -> list[bytes]:
    """HMAC-SHA-256 of each value under ``key``: pseudonyms, list values or claims of outputs, outputs of inputs."""
    # HMAC is scalar in every library: this is the one loop over people of the linkage, 2 microseconds each.
    return [hmac.digest(key, value, "sha256") for value in values]


def ascending(pseudonyms: Sequence[bytes]) -> tuple[bytes, NDArray[np.intp]]:
    """Sort pseudonyms for sending: their bytes in ascending order, and where each stood before."""
    values = np.frombuffer(b"".join(pseudonyms), f"S{VALUE_BYTES}")
    order = np.argsort(values, kind="stable")
    return values[order].tobytes(), order
