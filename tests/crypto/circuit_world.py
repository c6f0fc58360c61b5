"""Recipient, coordinator and dealer in one process, for the tests of the circuit."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from veilmatch_crypto.bitslices import row_words
from veilmatch_crypto.circuit import CoordinatorGates, DealerGates, Gates, RecipientGates, Steps, Wires
from veilmatch_crypto.triples import CoordinatorRandomness, DealerRandomness, RecipientRandomness

Program = Callable[[Gates, Wires], Steps[Wires]]


@dataclass
class Run:
    """What each party has at the end, and every body that went over the wire."""

    recipient: Wires
    coordinator: Wires
    openings: list[tuple[bytes, bytes]]  # a round: the recipient's body, the coordinator's
    corrections: list[bytes]

    @property
    def bits(self) -> Wires:
        return self.recipient ^ self.coordinator

    @property
    def words_sent(self) -> int:
        return sum(len(one) + len(other) for one, other in self.openings) // 8

    @property
    def words_dealt(self) -> int:
        return sum(map(len, self.corrections)) // 8


def keys(seed: int) -> tuple[bytes, bytes]:
    return sha256(b"recipient %d" % seed).digest(), sha256(b"coordinator %d" % seed).digest()


def deal(program: Program, shape: tuple[int, ...], seed: int) -> list[bytes]:
    """The dealer by itself, from the shape of the input alone."""
    steps = program(DealerGates(DealerRandomness(*keys(seed))), np.zeros(shape, np.uint64))
    corrections = []
    try:
        corrections.append(next(steps))
        while True:
            corrections.append(steps.send(b"whatever"))
    except StopIteration:
        return corrections


def run(program: Program, recipient: Wires, coordinator: Wires, seed: int = 0) -> Run:
    """Everything together: the dealer first, then recipient and coordinator in lockstep."""
    corrections = deal(program, recipient.shape, seed)
    recipient_key, coordinator_key = keys(seed)
    randomness = CoordinatorRandomness(coordinator_key, iter(corrections))
    sides = (
        program(RecipientGates(RecipientRandomness(recipient_key)), recipient),
        program(CoordinatorGates(randomness), coordinator),
    )
    bodies: tuple[bytes | None, bytes | None] = (None, None)
    openings: list[tuple[bytes, bytes]] = []
    while True:
        sent, results = [], []
        for side, body in zip(sides, reversed(bodies), strict=True):
            try:
                sent.append(side.send(body))
            except StopIteration as end:
                results.append(end.value)
        if results:
            randomness.finish()
            return Run(*results, openings, corrections)
        bodies = (sent[0], sent[1])
        openings.append(bodies)


def masks(shape: tuple[int, ...], seed: int) -> Wires:
    return np.random.default_rng(seed).integers(0, 2**64, shape, dtype=np.uint64)


def run_on_bits(program: Program, bits: Wires, seed: int = 0) -> Run:
    """The program on wires that hold ``bits``, shared at random."""
    share = masks(bits.shape, seed)
    return run(program, bits ^ share, share, seed)


def ands(result: Run, people: int) -> int:
    """ANDs a person; every opening and every correction is accounted for."""
    count, rest = divmod(result.words_dealt, row_words(people))
    assert rest == 0
    # Two bits each way an AND.
    assert result.words_sent == 4 * result.words_dealt
    return count
