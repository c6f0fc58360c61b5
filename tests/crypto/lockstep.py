"""Recipient, coordinator and dealer in one process, each with a program of its own: no port, every body kept."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from veilmatch_crypto.circuit import Steps
from veilmatch_crypto.triples import CoordinatorRandomness, DealerRandomness, RecipientRandomness


@dataclass
class Exchange:
    """What each party returned, and every body that went over the wire, a round an entry."""

    recipient: Any
    coordinator: Any
    dealer: Any
    sent: list[tuple[bytes, bytes]]  # the recipient's body, the coordinator's
    corrections: list[bytes]

    @property
    def total_bytes(self) -> int:
        return sum(map(len, self.corrections)) + sum(len(one) + len(other) for one, other in self.sent)


def keys(seed: int) -> tuple[bytes, bytes]:
    return sha256(b"recipient %d" % seed).digest(), sha256(b"coordinator %d" % seed).digest()


def exchange(
    recipient: Callable[[RecipientRandomness], Steps[Any]],
    coordinator: Callable[[CoordinatorRandomness], Steps[Any]],
    dealer: Callable[[DealerRandomness], Steps[Any]],
    seed: int = 0,
) -> Exchange:
    """Run all three, one round at a time; they must take equally many rounds and all corrections."""
    recipient_key, coordinator_key = keys(seed)
    corrections: list[bytes] = []
    randomness = CoordinatorRandomness(coordinator_key, iter_appended(corrections))
    sides = [
        dealer(DealerRandomness(recipient_key, coordinator_key)),
        recipient(RecipientRandomness(recipient_key)),
        coordinator(randomness),
    ]
    sent: list[tuple[bytes, bytes]] = []
    bodies: list[bytes | None] = [None, None, None]
    while True:
        # The dealer goes first: what it yields in a round is there when the coordinator needs it.
        replies, results = [], []
        for side, body in zip(sides, bodies, strict=True):
            try:
                replies.append(side.send(body))
            except StopIteration as end:
                results.append(end.value)
                continue
            if side is sides[0]:
                corrections.append(replies[0])
        if results:
            assert not replies, "a party goes on after another has ended"
            randomness.finish()
            return Exchange(results[1], results[2], results[0], sent, corrections)
        _, recipients, coordinators = replies
        sent.append((recipients, coordinators))
        bodies = [b"ignored", coordinators, recipients]


def iter_appended(items: list[bytes]):
    """Iterate over a list that grows; an item that is not there yet ends the iteration for good."""
    yield from items
