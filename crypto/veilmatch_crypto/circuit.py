"""The two-party circuit: GMW on XOR shares, its ANDs from dealt triples (protocol.md, 5.3).

Goldreich, Micali, Wigderson 1987; ANDs after Beaver 1991.  A *wire* is one bit a person, a row of
words as in ``bitslices``; recipient and coordinator each hold an array of wires and the bits are
the XOR of the two.  XOR and NOT are local, ANDs of one call are one round: what a circuit costs
is its ANDs (4 bits of opening and 1 of correction each) and its rounds (a journey each).

Every circuit is a generator in lockstep: it yields the body that this party sends in a round
(little-endian words) and is sent the peer's body of the same round.  Recipient, coordinator and
dealer run the *same* program on their own gates; the dealer's yields, round by round, the
corrections for the coordinator and ignores what it is sent.  Nothing here reads an argument's
values to decide what to do, or writes into an argument.

Independent tests cost the rounds of one when their words stand side by side: shares of shape
(40, t * words) give a result of shape (1, t * words), which ``reshape(t, words)`` makes t wires.
"""

from collections.abc import Generator
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from veilmatch_crypto.errors import CircuitError
from veilmatch_crypto.prg import WORD_BITS, WORD_MASK
from veilmatch_crypto.triples import CoordinatorRandomness, DealerRandomness, RecipientRandomness

T = TypeVar("T")

Wires: TypeAlias = NDArray[np.uint64]  # shares of wires, shape (wires, words)
Steps: TypeAlias = Generator[bytes, bytes, T]  # yields a body a round, is sent the peer's, returns T

_BLOCK_BITS = 3  # of the carry chain: blocks of 2 bits take more ANDs, of 4 an eighth round
_BLOCKS = (WORD_BITS - 1) // _BLOCK_BITS  # 13, and nothing is left over


class Gates(Protocol):
    """What a circuit is built from, as one of the three parties does it."""

    def both(self, x: Wires, y: Wires) -> Steps[Wires]:
        """AND, one round: ``y`` has the shape of ``x``, or one row that meets every row of ``x``.

        Raises CircuitError where the peer's body has a wrong length or corrections are missing.
        """

    def inverse(self, x: Wires) -> Wires:
        """NOT."""

    def of_recipient(self, bits: Wires) -> Wires:
        """Enter the recipient's private bits: they are its shares, the others' are zero (``bits`` gives the shape)."""

    def of_coordinator(self, bits: Wires) -> Wires:
        """Enter the coordinator's private bits, as ``of_recipient`` does the recipient's."""

    def to_recipient(self, x: Wires) -> Steps[Wires]:
        """Open ``x`` to the recipient, one round: the bits there, zeros at the others.

        Raises CircuitError where the peer's body has a wrong length.
        """


class _PartyGates:
    """AND is alike at the two parties: the openings show neither x nor y, each under its own uniform a and b."""

    def __init__(self, randomness: RecipientRandomness | CoordinatorRandomness) -> None:
        self._randomness = randomness

    def both(self, x: Wires, y: Wires) -> Steps[Wires]:
        a, b, c = self._randomness.triples(x.shape)
        opened = np.empty((2, *x.shape), dtype="<u8")
        d: Wires = opened[0]
        e: Wires = opened[1]
        np.bitwise_xor(x, a, out=d)
        np.bitwise_xor(y, b, out=e)
        peers = yield opened.tobytes()
        opened ^= _read(peers, opened.shape)
        # Beaver's c ^ d & b ^ e & a ^ d & e, with e = y ^ b put in: it needs no party to be the first.
        d &= y
        e &= a
        d ^= c
        d ^= e
        return d


class RecipientGates(_PartyGates):
    """The recipient's gates."""

    def __init__(self, randomness: RecipientRandomness) -> None:
        """Take triples from ``randomness``."""
        super().__init__(randomness)

    def inverse(self, x: Wires) -> Wires:
        """NOT: of the two parties, this one flips."""
        return ~x

    def of_recipient(self, bits: Wires) -> Wires:
        """Enter its own bits."""
        return bits

    def of_coordinator(self, bits: Wires) -> Wires:
        """Take part in the coordinator's bits."""
        return _zeros(bits.shape)

    def to_recipient(self, x: Wires) -> Steps[Wires]:
        """Send nothing, receive the coordinator's shares, return the bits."""
        peers = yield b""
        return x ^ _read(peers, x.shape)


class CoordinatorGates(_PartyGates):
    """The coordinator's gates."""

    def __init__(self, randomness: CoordinatorRandomness) -> None:
        """Take triples from ``randomness``."""
        super().__init__(randomness)

    def inverse(self, x: Wires) -> Wires:
        """NOT: the recipient flips."""
        return x

    def of_recipient(self, bits: Wires) -> Wires:
        """Take part in the recipient's bits."""
        return _zeros(bits.shape)

    def of_coordinator(self, bits: Wires) -> Wires:
        """Enter its own bits."""
        return bits

    def to_recipient(self, x: Wires) -> Steps[Wires]:
        """Send its shares, receive nothing, learn nothing."""
        peers = yield np.ascontiguousarray(x, dtype="<u8").tobytes()
        _read(peers, (0,))
        return _zeros(x.shape)


class DealerGates:
    """The dealer's gates: corrections out, nothing in, zeros for every wire."""

    def __init__(self, randomness: DealerRandomness) -> None:
        """Deal from ``randomness``."""
        self._randomness = randomness

    def both(self, x: Wires, y: Wires) -> Steps[Wires]:  # noqa: ARG002 - the shape of x says it all
        """Yield the corrections of one AND a bit of ``x``."""
        yield self._randomness.triples(x.shape)
        return _zeros(x.shape)

    def inverse(self, x: Wires) -> Wires:
        """Leave zeros as they are."""
        return x

    def of_recipient(self, bits: Wires) -> Wires:
        """Know nothing but the shape."""
        return _zeros(bits.shape)

    def of_coordinator(self, bits: Wires) -> Wires:
        """Know nothing but the shape."""
        return _zeros(bits.shape)

    def to_recipient(self, x: Wires) -> Steps[Wires]:
        """Yield nothing: this round takes no triples."""
        yield b""
        return _zeros(x.shape)


def negative(gates: Gates, share: Wires) -> Steps[Wires]:
    """Test A + B < 0 in two's complement modulo 2**40: a wire, shape (1, words); 83 ANDs, 7 rounds.

    ``share``, shape (40, words), is each party's own number in slices: A at the recipient, B at the
    coordinator, zeros at the dealer; ValueError where it has another number of rows.

    The sign is A39 ^ B39 ^ the carry into bit 39.  Within blocks of three bits the carry ripples at
    one AND a bit, majority(a, b, c) = c ^ (a ^ c) & (b ^ c) (Boyar, Peralta, TCS 2008), while two
    more ANDs find whether the block passes a carry on; a tree joins the 13 blocks.  The tree over
    single bits (Garay, Schoenmakers, Villegas, PKC 2007) has as many rounds and 109 ANDs.
    """
    _require_rows(share, WORD_BITS)
    blocks = share[:-1].reshape(_BLOCKS, _BLOCK_BITS, share.shape[1])
    a, b = gates.of_recipient(blocks), gates.of_coordinator(blocks)
    passes = blocks[1:]  # A ^ B, shared as it stands; nothing is carried into the lowest block

    carry, span = yield from _at_once(gates, (a[:, 0], b[:, 0]), (passes[:, 0], passes[:, 1]))
    moved, span = yield from _at_once(gates, (a[:, 1] ^ carry, b[:, 1] ^ carry), (span, passes[:, 2]))
    carry = carry ^ moved
    carry = carry ^ (yield from gates.both(a[:, 2] ^ carry, b[:, 2] ^ carry))
    return share[-1:] ^ (yield from _carry_out(gates, carry, span))


def zero(gates: Gates, share: Wires) -> Steps[Wires]:
    """Test A + B = 0 modulo 2**40: a wire, shape (1, words); 39 ANDs, 6 rounds.

    ``share``, shape (40, words), is A in slices at the recipient and *minus* B at the coordinator
    (``negated`` before ``slice_words``: minus is cheap on words, a carry chain on slices), zeros at
    the dealer; ValueError where it has another number of rows.  The sum is 0 where A and -B agree
    in every bit.
    """
    _require_rows(share, WORD_BITS)
    return (yield from all_of(gates, gates.inverse(share)))


def negated(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Negate words modulo 2**40, any shape: what the coordinator does to its share before ``zero``."""
    return -words & WORD_MASK


def all_of(gates: Gates, x: Wires) -> Steps[Wires]:
    """AND of m >= 1 wires, shape (m, words): a wire, shape (1, words); m - 1 ANDs, ceil(log2 m) rounds."""
    while len(x) > 1:
        half = len(x) // 2
        joined = yield from gates.both(x[:half], x[half : 2 * half])
        x = np.concatenate((joined, x[2 * half :]))
    return x


def any_of(gates: Gates, x: Wires) -> Steps[Wires]:
    """OR of m >= 1 wires, shape (m, words): a wire, shape (1, words); m - 1 ANDs, ceil(log2 m) rounds."""
    return gates.inverse((yield from all_of(gates, gates.inverse(x))))


def at_least(gates: Gates, count: int, x: Wires) -> Steps[Wires]:
    """Test whether ``count`` or more of m wires, shape (m, words), hold: a wire, shape (1, words).

    At most m - 1 ANDs and 2 ceil(log2 m) + 1 rounds; two of three take one AND.  ValueError unless
    1 <= count <= m.

    Full adders, one AND each, add the wires up (the weight circuit of Boyar, Peralta, TCS 2008),
    together with the constant 2**s - count, where 2**s > m: bit s of that sum is the answer.
    """
    if not 1 <= count <= len(x):
        raise ValueError(f"at least {count} of {len(x)} is not a question")
    size = len(x).bit_length()
    constant = (1 << size) - count
    no = _zeros(x.shape[1:])
    yes = gates.inverse(no)
    columns: list[list[Wires]] = [list(x), *([] for _ in range(size))]  # column i: wires that count 2**i
    lowest = 0  # no carry into this column is still to come
    while lowest < size:
        column, bit = columns[lowest], constant >> lowest & 1
        if len(column) < 2:  # wire + 1 carries the wire itself, wire + 0 nothing
            columns[lowest + 1] += column * bit
            lowest += 1
            continue
        closes = len(column) == 2
        if closes:
            column.append(yes if bit else no)
        adders = [
            (weight, column.pop(), column.pop(), column.pop())
            for weight, column in enumerate(columns[lowest:size], lowest)
            for _ in range(len(column) // 3)
        ]
        weights, *inputs = zip(*adders, strict=True)
        first, second, third = (np.stack(wires) for wires in inputs)
        carries = third ^ (yield from gates.both(first ^ third, second ^ third))
        for weight, total, carry in zip(weights, first ^ second ^ third, carries, strict=True):
            columns[weight].append(total)
            columns[weight + 1].append(carry)
        lowest += closes
    (answer,) = columns[size]
    return answer[np.newaxis]


def reveal_to_recipient(gates: Gates, x: Wires) -> Steps[Wires]:
    """Open wires, shape (wires, words), to the recipient alone, one round: the bits there, zeros elsewhere."""
    return (yield from gates.to_recipient(x))


def _carry_out(gates: Gates, carry: Wires, span: Wires) -> Steps[Wires]:
    """Join k blocks, the lowest first: the carry out of the highest, shape (1, words).

    ``carry``, shape (k, words): whether a block makes a carry; ``span``, shape (k - 1, words):
    whether it passes one on, without the lowest block, into which nothing is carried.
    """
    while len(carry) > 1:
        pairs = len(carry) // 2
        upper, lower = span[0::2], span[1 : 2 * pairs - 1 : 2]  # of blocks 1, 3, 5... and 2, 4...
        moved, joined = yield from _at_once(gates, (upper, carry[: 2 * pairs : 2]), (upper[1:], lower))
        carry = np.concatenate((carry[1::2] ^ moved, carry[2 * pairs :]))
        span = np.concatenate((joined, span[2 * pairs - 1 :]))
    return carry


def _at_once(
    gates: Gates, one: tuple[Wires, Wires], other: tuple[Wires, Wires]
) -> Steps[tuple[Wires, Wires]]:
    """AND two pairs of wire arrays in one round."""
    x, y = (np.concatenate(wires) for wires in zip(one, other, strict=True))
    z = yield from gates.both(x, y)
    return z[: len(one[0])], z[len(one[0]) :]


def _read(body: bytes, shape: tuple[int, ...]) -> Wires:
    """Read the peer's words of a round; CircuitError where they are not as many as ``shape`` says."""
    expected = 8 * int(np.prod(shape))
    if len(body) != expected:
        error = CircuitError("the peer's body does not have the length of this round of the circuit")
        error.add_note(f"{len(body)} bytes, not {expected}")
        raise error
    return np.frombuffer(body, dtype="<u8").reshape(shape)


def _zeros(shape: tuple[int, ...]) -> Wires:
    """Zeros of a shape, read-only, without the memory."""
    return np.broadcast_to(np.uint64(0), shape)


def _require_rows(share: Wires, rows: int) -> None:
    if share.ndim != 2 or len(share) != rows:
        raise ValueError(f"a number in slices has shape ({rows}, words), not {share.shape}")
