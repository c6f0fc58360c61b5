"""Counts: how many result bits hold, told to the coordinator alone (protocol.md, 5.5).

The result bits are shared under XOR, a sum needs shares that add up.  For each bit the dealer
gives a random bit rho, shared both ways; the parties open bit ^ rho, which is uniform, and each
turns its additive share of rho into one of the bit without a word more.

``min_count`` is decided before anything is opened: the recipient's share of the noisy sum enters
the circuit as its private bits, and what is opened, to the coordinator alone, is whether the sum
is large enough and that share where it is, zeros where it is not.  So neither the messages nor
the dealing depend on the answer, and the recipient does not learn it.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from veilmatch_crypto.bitslices import slice_words
from veilmatch_crypto.circuit import (
    CoordinatorGates,
    DealerGates,
    Gates,
    RecipientGates,
    Steps,
    Wires,
    negative,
)
from veilmatch_crypto.prg import WORD_BITS, WORD_MASK
from veilmatch_crypto.triples import CoordinatorRandomness, DealerRandomness, RecipientRandomness
from veilmatch_crypto.vectors import BITS, WORDS, chunks, require_bytes

_LIMIT = 1 << (WORD_BITS - 2)  # of a count and of its bound: their difference then has a sign


class Tally(Protocol):
    """What counting is built from, as one of the three parties does it."""

    @property
    def gates(self) -> Gates:
        """Its gates."""

    def total(self, bits: NDArray[np.bool_]) -> Steps[NDArray[np.uint64]]:
        """Add up shared bits, shape (n,): an additive share of how many hold, modulo 2**40, shape (1,).

        Raises CircuitError where the peer's bodies or the corrections do not have their lengths.
        """

    def lowered(self, share: NDArray[np.uint64], bound: int) -> NDArray[np.uint64]:
        """Subtract a public number from shared words; of the two parties the recipient does."""

    def to_coordinator(self, x: Wires) -> Steps[Wires]:
        """Open wires to the coordinator, one round: the bits there, zeros at the others.

        Raises CircuitError where the peer's body does not have its length.
        """


def count(tally: Tally, bits: NDArray[np.bool_], noise: int, min_count: int) -> Steps[int | None]:
    """Count the results that hold, add both parties' noise, and tell the coordinator.

    ``bits``, shape (n,), are the party's XOR shares; ``noise`` is its own ``discrete_laplace``, or 0
    where the policy has no epsilon (the dealer's bits and noise mean nothing).  Returns the noisy
    count at the coordinator, or None where it is below ``min_count``; None at the two others.
    Raises ValueError unless 0 <= min_count < 2**38, CircuitError where a body or corrections do
    not have their lengths.  The noisy count too must stay within 38 bits and a sign, or the
    difference has none: noise of any useful scale never leaves them.
    """
    if not 0 <= min_count < _LIMIT:
        raise ValueError(f"the least count to be told is in [0, {_LIMIT}), not {min_count}")
    share = yield from tally.total(bits)
    share = (share + np.uint64(noise % (4 * _LIMIT))) & WORD_MASK
    too_few = yield from negative(tally.gates, slice_words(tally.lowered(share, min_count)))
    enough = tally.gates.inverse(too_few)
    recipients = tally.gates.of_recipient(slice_words(share))
    shown = yield from tally.gates.both(recipients, enough)
    opened = yield from tally.to_coordinator(np.concatenate((enough, shown)))
    # One item: the lowest bit of each row.
    told, *bits_of_share = (int(row) & 1 for row in opened[:, 0])
    if not told:
        return None
    number = sum(bit << i for i, bit in enumerate(bits_of_share)) + int(share[0])
    return (number + 2 * _LIMIT) % (4 * _LIMIT) - 2 * _LIMIT


class RecipientTally:
    """The recipient's part of a count."""

    def __init__(self, randomness: RecipientRandomness) -> None:
        """Draw from ``randomness``."""
        self.gates = RecipientGates(randomness)
        self._stream = randomness.stream

    def total(self, bits: NDArray[np.bool_]) -> Steps[NDArray[np.uint64]]:
        """Add up; of the two parties, this one adds the opened bits."""
        total = _zero()
        for part in chunks(len(bits)):
            count = part.stop - part.start
            rho = BITS.draw(self._stream, count)
            words = WORDS.draw(self._stream, count)
            opened = yield from _open(bits[part] ^ rho)
            total += _sum_shares(words, opened)
            total += np.uint64(np.count_nonzero(opened))
        return total & WORD_MASK

    def lowered(self, share: NDArray[np.uint64], bound: int) -> NDArray[np.uint64]:
        """Subtract the public number."""
        return (share - np.uint64(bound)) & WORD_MASK

    def to_coordinator(self, x: Wires) -> Steps[Wires]:
        """Send its shares, receive nothing, learn nothing."""
        require_bytes((yield x.tobytes()), 0)
        return np.zeros_like(x)


class CoordinatorTally:
    """The coordinator's part of a count."""

    def __init__(self, randomness: CoordinatorRandomness) -> None:
        """Draw from ``randomness``."""
        self.gates = CoordinatorGates(randomness)
        self._randomness = randomness

    def total(self, bits: NDArray[np.bool_]) -> Steps[NDArray[np.uint64]]:
        """Add up; its share of each rho as a word is a correction."""
        total = _zero()
        for part in chunks(len(bits)):
            count = part.stop - part.start
            rho = BITS.draw(self._randomness.stream, count)
            opened = yield from _open(bits[part] ^ rho)
            words = WORDS.unpack(self._randomness.corrections(WORDS.packed_bytes(count)), count)
            total += _sum_shares(words, opened)
        return total & WORD_MASK

    def lowered(self, share: NDArray[np.uint64], bound: int) -> NDArray[np.uint64]:  # noqa: ARG002 - see Tally
        """Leave its share: the recipient subtracts."""
        return share

    def to_coordinator(self, x: Wires) -> Steps[Wires]:
        """Send nothing, receive the recipient's shares, return the bits."""
        body = yield b""
        require_bytes(body, x.nbytes)
        shares: Wires = np.frombuffer(body, dtype="<u8").reshape(x.shape)
        return x ^ shares


class DealerTally:
    """The dealer's part of a count: corrections out, nothing in, zeros for every share."""

    def __init__(self, randomness: DealerRandomness) -> None:
        """Deal from ``randomness``."""
        self.gates = DealerGates(randomness)
        self._randomness = randomness

    def total(self, bits: NDArray[np.bool_]) -> Steps[NDArray[np.uint64]]:
        """Yield, a chunk a round, the coordinator's shares of rho as words."""
        recipient, coordinator = self._randomness.recipient_stream, self._randomness.coordinator_stream
        for part in chunks(len(bits)):
            count = part.stop - part.start
            rho = BITS.draw(recipient, count) ^ BITS.draw(coordinator, count)
            words = WORDS.draw(recipient, count)
            yield WORDS.pack(WORDS.subtract(rho.astype(np.uint64), words))
        return _zero()

    def lowered(self, share: NDArray[np.uint64], bound: int) -> NDArray[np.uint64]:  # noqa: ARG002 - see Tally
        """Know no share."""
        return share

    def to_coordinator(self, x: Wires) -> Steps[Wires]:
        """Yield nothing: this round takes no corrections."""
        yield b""
        return np.zeros_like(x)


def _open(masked: NDArray[np.bool_]) -> Steps[NDArray[np.bool_]]:
    """Send its shares of bits, receive the peer's, return the bits."""
    body = yield BITS.pack(masked)
    return masked ^ BITS.unpack(body, len(masked))


def _sum_shares(words: NDArray[np.uint64], opened: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Sum a party's additive shares of rho, negated where the bit is not rho: shape (1,), modulo 2**64.

    The bit is rho ^ opened = opened + (1 - 2 opened) rho; 2**64 is a multiple of 2**40.
    """
    total: NDArray[np.uint64] = np.where(opened, -words, words).sum(keepdims=True)
    return total


def _zero() -> NDArray[np.uint64]:
    return np.zeros(1, dtype=np.uint64)
