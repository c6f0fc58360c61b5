"""Vectors of shares, one element a person: 40-bit words under addition, or bits under XOR.

What the two-party protocols on whole vectors (``translation``, ``counting``) have in common: how
masks are drawn, how shares add up, and how they travel, in chunks that bound a message.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from veilmatch_crypto.bitslices import pack_bits, row_words, unpack_bits
from veilmatch_crypto.errors import CircuitError
from veilmatch_crypto.prg import WORD_MASK, KeyedStream

# A message of words is then 320 KiB: far above what a journey costs, far below what gRPC refuses.
# A multiple of 64, so that rows of bits are cut between words.
CHUNK = 65_536

_S = TypeVar("_S", np.uint64, np.bool_)

# 5 bytes, little-endian.  Two fields are copied twice as fast as five bytes.
_PACKED_WORD = np.dtype([("low", "<u4"), ("high", "u1")])


@dataclass(frozen=True, slots=True)
class Kind(Generic[_S]):
    """A group that vectors are shared in.

    ``draw`` takes that many uniform elements from a stream; ``add`` and ``subtract`` take and give
    shape (n,); ``pack`` gives bytes and ``unpack`` reads as many elements, CircuitError where the
    bytes are not as many as they need.
    """

    draw: Callable[[KeyedStream, int], NDArray[_S]]
    add: Callable[[NDArray[_S], NDArray[_S]], NDArray[_S]]
    subtract: Callable[[NDArray[_S], NDArray[_S]], NDArray[_S]]
    pack: Callable[[NDArray[_S]], bytes]
    unpack: Callable[[bytes, int], NDArray[_S]]
    packed_bytes: Callable[[int], int]


def chunks(count: int) -> Iterator[slice]:
    """Cut range(``count``) into slices of at most CHUNK; an empty vector is one empty chunk."""
    for start in range(0, max(count, 1), CHUNK):
        yield slice(start, min(start + CHUNK, count))


def require_bytes(body: bytes, expected: int) -> None:
    """Raise CircuitError where a body does not have the length that this round of the program asks for."""
    if len(body) != expected:
        error = CircuitError("the peer's body does not have the length of this round of the program")
        error.add_note(f"{len(body)} bytes, not {expected}")
        raise error


def _add_words(x: NDArray[np.uint64], y: NDArray[np.uint64]) -> NDArray[np.uint64]:
    total = x + y
    total &= WORD_MASK
    return total


def _subtract_words(x: NDArray[np.uint64], y: NDArray[np.uint64]) -> NDArray[np.uint64]:
    difference = x - y
    difference &= WORD_MASK
    return difference


def _pack_words(words: NDArray[np.uint64]) -> bytes:
    packed = np.empty(len(words), dtype=_PACKED_WORD)
    packed["low"] = words & np.uint64(0xFFFFFFFF)
    packed["high"] = words >> np.uint64(32)
    return packed.tobytes()


def _unpack_words(body: bytes, count: int) -> NDArray[np.uint64]:
    require_bytes(body, _PACKED_WORD.itemsize * count)
    packed = np.frombuffer(body, dtype=_PACKED_WORD)
    words = packed["high"].astype(np.uint64)
    words <<= np.uint64(32)
    words |= packed["low"]
    return words


def _draw_bits(stream: KeyedStream, count: int) -> NDArray[np.bool_]:
    return unpack_bits(stream.words64(row_words(count)), count)


def _pack_bits(bits: NDArray[np.bool_]) -> bytes:
    return pack_bits(bits).tobytes()


def _unpack_bits(body: bytes, count: int) -> NDArray[np.bool_]:
    require_bytes(body, 8 * row_words(count))
    return unpack_bits(np.frombuffer(body, dtype="<u8"), count)


WORDS: Kind[np.uint64] = Kind(
    draw=KeyedStream.words40,
    add=_add_words,
    subtract=_subtract_words,
    pack=_pack_words,
    unpack=_unpack_words,
    packed_bytes=lambda count: _PACKED_WORD.itemsize * count,
)
BITS: Kind[np.bool_] = Kind(
    draw=_draw_bits,
    add=np.bitwise_xor,
    subtract=np.bitwise_xor,
    pack=_pack_bits,
    unpack=_unpack_bits,
    packed_bytes=lambda count: 8 * row_words(count),
)
