"""AND triples from a dealer: three views of one dealing (protocol.md, 5.4; Beaver, CRYPTO 1991).

A triple is shared bits a, b and c = a & b.  The recipient expands its shares of all three from
its key; the coordinator expands a and b from its own key and is sent c, the *correction*, one
bit a triple; the dealer holds both keys, expands both sides and computes the correction.  With
``^`` for the sharing, c at the coordinator = (aR ^ aC) & (bR ^ bC) ^ cR.

Each view draws in the order of the program that all three run.  The streams only go forward, so
a triple cannot serve twice; a run that is repeated is a new attempt with new keys (protocol.md,
4.7).  Arrays are uint64, 64 people a word as in ``bitslices``; corrections are their
little-endian words.
"""

from collections.abc import Iterator
from math import prod

import numpy as np
from numpy.typing import NDArray

from veilmatch_crypto.errors import CircuitError
from veilmatch_crypto.prg import KeyedStream

Triples = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]


class RecipientRandomness:
    """The recipient's view: everything from its key.  ``stream`` is for draws of other kinds."""

    def __init__(self, key: bytes) -> None:
        """Start at the beginning of ``key``, the 32 bytes that the dealer sealed for this attempt."""
        self.stream = KeyedStream(key)

    def triples(self, shape: tuple[int, ...]) -> Triples:
        """Draw its shares (a, b, c) of triples, each an array of ``shape``."""
        a, b, c = self.stream.words64(3 * prod(shape)).reshape(3, *shape)
        return a, b, c


class CoordinatorRandomness:
    """The coordinator's view: its key and the dealer's corrections, in the order of the program."""

    def __init__(self, key: bytes, corrections: Iterator[bytes]) -> None:
        """Start at the beginning of ``key`` (32 bytes); ``corrections`` yields the dealer's chunks, of any sizes."""
        self.stream = KeyedStream(key)
        self._chunks = corrections
        self._rest = memoryview(b"")

    def triples(self, shape: tuple[int, ...]) -> Triples:
        """Draw its shares (a, b, c) of triples, each an array of ``shape``; c is read-only.

        Raises CircuitError as ``corrections`` does.
        """
        size = prod(shape)
        a, b = self.stream.words64(2 * size).reshape(2, *shape)
        c = np.frombuffer(self.corrections(8 * size), dtype="<u8").reshape(shape)
        return a, b, c

    def corrections(self, count: int) -> bytes:
        """Take the next ``count`` bytes of corrections.

        Raises CircuitError where the dealer's chunks end before.
        """
        pieces = [self._rest[:count]]
        self._rest = self._rest[count:]
        missing = count - len(pieces[0])
        while missing:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise CircuitError("the dealer's corrections end before the circuit does")
            view = memoryview(chunk)
            pieces.append(view[:missing])
            self._rest = view[missing:]
            missing -= len(pieces[-1])
        return b"".join(pieces)

    def finish(self) -> None:
        """Check that the program took every correction.

        Raises CircuitError where some are left: then dealer and coordinator did not run one program.
        """
        if self._rest or any(self._chunks):
            raise CircuitError("the dealer's corrections go on after the circuit has ended")


class DealerRandomness:
    """The dealer's view: both keys, hence both parties' shares.  Other draws take the two streams."""

    def __init__(self, recipient_key: bytes, coordinator_key: bytes) -> None:
        """Start both streams (keys of 32 bytes); equal keys, under which every a and b is 0, raise ValueError."""
        if recipient_key == coordinator_key:
            raise ValueError("the recipient's key and the coordinator's are drawn independently")
        self.recipient_stream = KeyedStream(recipient_key)
        self.coordinator_stream = KeyedStream(coordinator_key)

    def triples(self, shape: tuple[int, ...]) -> bytes:
        """Deal triples of ``shape``: the corrections for the coordinator, 8 bytes a word."""
        shares = self.recipient_stream.words64(3 * prod(shape)).reshape(3, *shape)
        shares[:2] ^= self.coordinator_stream.words64(2 * prod(shape)).reshape(2, *shape)
        a, b, c = shares
        a &= b
        c ^= a
        return bytes(c)
