"""Recipient, coordinator and dealer of a circuit in one process, with a list between them; counts what crosses it."""

import os
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from veilmatch_crypto import (
    CoordinatorGates,
    CoordinatorRandomness,
    DealerGates,
    DealerRandomness,
    Gates,
    RecipientGates,
    RecipientRandomness,
    Steps,
    Wires,
    negated,
    slice_words,
    zero,
)

Test: TypeAlias = Callable[[Gates, Wires], Steps[Wires]]
Words: TypeAlias = NDArray[np.uint64]

CHUNK = 65_536  # people at a time: the largest round of a comparison then fits 2 MiB of cache
_MASK = np.uint64((1 << 40) - 1)


class ThreeParties:
    """The parties of one test of many people; ``bytes_sent`` between two, ``bytes_dealt`` by the dealer.

    ``results``: each chunk's row of answers, a bit a person.
    """

    def __init__(self) -> None:
        recipient, coordinator = os.urandom(32), os.urandom(32)
        self._corrections: list[bytes] = []
        arriving = iter(lambda: self._corrections.pop(0), None)
        self._dealer = DealerGates(DealerRandomness(recipient, coordinator))
        self._recipient = RecipientGates(RecipientRandomness(recipient))
        self._coordinator = CoordinatorGates(CoordinatorRandomness(coordinator, arriving))
        self.bytes_sent = 0
        self.bytes_dealt = 0
        self.results: list[Words] = []

    def run(self, test: Test, one: Words, other: Words) -> None:
        """Test one chunk of shared words, from words to the shared result."""
        mine, theirs = slice_words(one), slice_words(negated(other) if test is zero else other)
        dealer = test(self._dealer, np.zeros(mine.shape, np.uint64))
        shares: list[Wires] = []
        recipient = _keeping(test(self._recipient, mine), shares)
        coordinator = _keeping(test(self._coordinator, theirs), shares)
        to_coordinator = to_recipient = None
        while (correction := _send(dealer, None)) is not None:
            self._corrections.append(correction)
            to_coordinator, to_recipient = _send(recipient, to_recipient), _send(coordinator, to_coordinator)
            self.bytes_sent += len(to_coordinator or b"") + len(to_recipient or b"")
            self.bytes_dealt += len(correction)
        _send(recipient, to_recipient)
        _send(coordinator, to_coordinator)
        self.results.append((shares[0] ^ shares[1])[0])


def random_shares(people: int) -> tuple[Words, Words]:
    """Two parties' shares of random 40-bit numbers."""
    one, other = (np.frombuffer(os.urandom(8 * people), np.uint64) & _MASK for _ in range(2))
    return one, other


def run_chunks(test: Test, one: Words, other: Words, chunk: int = CHUNK) -> ThreeParties:
    """Test all words, ``chunk`` people at a time."""
    parties = ThreeParties()
    for start in range(0, len(one), chunk):
        parties.run(test, one[start : start + chunk], other[start : start + chunk])
    return parties


def _keeping(steps: Steps[Wires], shares: list[Wires]) -> Steps[Wires]:
    """The same steps; this party's share of the result is added to ``shares``."""
    share = yield from steps
    shares.append(share)
    return share


def _send(steps: Steps[Wires], body: bytes | None) -> bytes | None:
    """One step of a party: its body, or None where the circuit has ended."""
    try:
        return steps.send(body)  # type: ignore[arg-type]  # the first step of a generator takes None
    except StopIteration:
        return None
