"""The dealer's side of a job, without I/O (protocol.md, 5.4).

It draws a seed for each of the two parties, seals it to the party's key of the job, and runs the
circuits' program to send the coordinator its corrections.  It learns sizes: how many slots there
are, how many of them each policy asks about, how many households.
"""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from veilmatch_crypto import (
    DealerGates,
    DealerRandomness,
    DealerTally,
    DealerTranslation,
    IdentityKey,
    Sealed,
    Steps,
    Translation,
    circuit_key,
    draw_seed,
    seal_seed,
)
from veilmatch_node.errors import JobRefusedError
from veilmatch_policy.manifest import Manifest
from veilmatch_policy.program import Bits, Words, run


class Dealer:
    """Deals for the circuits of one manifest, once."""

    def __init__(
        self,
        manifest: Manifest,
        name: str,
        coordinator: str,
        *,
        identity: IdentityKey,
        next_sequence: Callable[[str], int],
    ) -> None:
        """Draw the seeds; ``next_sequence`` gives the next number of a sealed message to a receiver."""
        self._manifest = manifest
        self._coordinator = coordinator
        self._seeds: dict[str, bytes] = {}
        self.sealed: dict[str, Sealed] = {}
        for receiver in (coordinator, manifest.draft.recipient):
            seed = self._seeds[receiver] = draw_seed()
            self.sealed[receiver] = seal_seed(
                seed,
                name,
                receiver,
                manifest=manifest.digest,
                sequence=next_sequence(receiver),
                receiver_key=manifest.agreement(receiver),
                identity=identity,
            )

    def corrections(self, households: int, presented: Sequence[int]) -> Iterator[bytes]:
        """Yield the corrections in the order of the program, in bodies of bounded size.

        ``households``: how many there are, 0 where no policy asks about one.  ``presented``: how many slots
        each policy asks about.  Raises JobRefusedError for sizes that are none of this manifest's.
        """
        draft, plan = self._manifest.draft, self._manifest.plan
        asks = any(term.grain == "household" for term in plan.terms)
        if len(presented) != len(plan.policies) or any(count > draft.padded for count in presented):
            raise JobRefusedError("job", "has other sizes than the coordinator says", "check its release")
        if not (1 <= households <= draft.padded if asks else households == 0):
            raise JobRefusedError(
                "job", "has another number of households than the coordinator says", "check it"
            )
        recipients, coordinators = (
            circuit_key(self._seeds[party], self._manifest.digest, households=households, presented=presented)
            for party in (draft.recipient, self._coordinator)
        )
        randomness = DealerRandomness(recipients, coordinators)
        steps = run(_DealerSide(randomness, draft.padded, households, presented), plan)
        try:
            body = next(steps)
            while True:
                if body:
                    yield body
                body = steps.send(b"")
        except StopIteration:
            return


class _DealerSide:
    """The dealer in the program: the right shapes, and zeros in them."""

    def __init__(
        self, randomness: DealerRandomness, padded: int, households: int, presented: Sequence[int]
    ) -> None:
        self.gates = DealerGates(randomness)
        self.tally = DealerTally(randomness)
        self._randomness = randomness
        self._padded = padded
        self._households = households
        self._presented = presented

    def share(self, term: int) -> Words:  # noqa: ARG002  every share is zeros here
        return _zeros(self._padded)

    def own(self, policy: int, claim: int) -> Bits:  # noqa: ARG002  same
        return _no(self._padded)

    def presented(self, policy: int) -> NDArray[np.intp]:
        return np.broadcast_to(np.intp(0), self._presented[policy])

    def there(self) -> Steps[Translation]:
        return self._arrange()

    def back(self) -> Steps[Translation]:
        return self._arrange()

    def _arrange(self) -> Steps[Translation]:
        return (yield from DealerTranslation.arrange(self._randomness, self._padded))

    def households(self) -> int:
        return self._households

    def total(self, words: Words) -> Words:  # noqa: ARG002  same
        return _zeros(self._households)

    def members(self) -> Words:
        return _zeros(self._households)

    def spread(self, bits: Bits) -> Bits:  # noqa: ARG002  same
        return _no(self._padded)

    def asked(self, policy: int) -> Bits:  # noqa: ARG002  same
        return _no(self._households)

    def labels(self, policy: int) -> Words:
        return _zeros(self._presented[policy])

    def plus(self, share: Words, constant: Words) -> Words:  # noqa: ARG002  the recipient adds
        return share

    def negated(self, share: Words) -> Words:
        return share

    def noise(self, scale: Fraction | None) -> int:  # noqa: ARG002  the two parties draw
        return 0


def _zeros(count: int) -> Words:
    return np.zeros(count, dtype=np.uint64)


def _no(count: int) -> Bits:
    return np.zeros(count, dtype=np.bool_)
