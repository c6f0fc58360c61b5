"""The coordinator's side of the circuits, without I/O (protocol.md, 5.2, 5.3 and 5.5).

It brings its shares, the order of the households, and which slots the recipient presented.  It
learns one number a count, and of policies that reveal members nothing.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from veilmatch_coordinator.combination import Combiner
from veilmatch_coordinator.errors import JobError
from veilmatch_crypto import (
    CoordinatorGates,
    CoordinatorRandomness,
    CoordinatorTally,
    CoordinatorTranslation,
    HouseholdOrder,
    Steps,
    Translation,
    discrete_laplace,
    negated,
)
from veilmatch_policy.plan import Plan
from veilmatch_policy.program import Bits, Result, Words, run


class Circuits:
    """The circuits of one manifest: sizes for the dealer, then the program."""

    def __init__(
        self, plan: Plan, combiner: Combiner, presented: Sequence[Bits], labels: NDArray[np.uint32] | None
    ) -> None:
        """Draw the household order.

        ``presented`` by policy, shape (padded,); ``labels`` the registrar's by slot, None where no policy asks
        about households.
        """
        self._plan = plan
        self._combiner = combiner
        self._presented = [np.flatnonzero(slots) for slots in presented]
        self._order = None if labels is None else HouseholdOrder.draw(labels, os.urandom(32))

    @property
    def households(self) -> int:
        """How many households there are; 0 where no policy asks about them."""
        return 0 if self._order is None else self._order.layers.households

    @property
    def presented(self) -> list[int]:
        """How many slots each policy asks about."""
        return [len(slots) for slots in self._presented]

    def decide(self, key: bytes, corrections: Iterator[bytes]) -> Steps[Mapping[int, Result]]:
        """Run the program: results by the policy's number.

        ``key`` is that of the coordinator's randomness, ``corrections`` are the dealer's.  Raises
        CircuitError where recipient or dealer do not keep to the program.
        """
        randomness = CoordinatorRandomness(key, corrections)
        side = _CoordinatorSide(self._combiner, randomness, self._presented, self._order)
        results = yield from run(side, self._plan)
        randomness.finish()
        return results


class _CoordinatorSide:
    """The coordinator in the program."""

    def __init__(
        self,
        combiner: Combiner,
        randomness: CoordinatorRandomness,
        presented: Sequence[NDArray[np.intp]],
        order: HouseholdOrder | None,
    ) -> None:
        self.gates = CoordinatorGates(randomness)
        self.tally = CoordinatorTally(randomness)
        self._combiner = combiner
        self._randomness = randomness
        self._presented = presented
        self._order = order
        self._shares: dict[int, Words] = {}

    def share(self, term: int) -> Words:
        if term not in self._shares:
            self._shares[term] = self._combiner.share(term)
        return self._shares[term]

    def own(self, policy: int, claim: int) -> Bits:  # noqa: ARG002  the recipient's
        return np.zeros(self._combiner.padded, dtype=np.bool_)

    def presented(self, policy: int) -> NDArray[np.intp]:
        return self._presented[policy]

    def there(self) -> Steps[Translation]:
        order = self._known()
        # How many households there are of each size is what the recipient learns of them.
        peers = yield np.array(order.layers.counts, dtype="<u4").tobytes()
        if peers:
            raise JobError("job: the recipient does not keep to the circuit's program; check its release")
        return (yield from CoordinatorTranslation.arrange(self._randomness, order.order))

    def back(self) -> Steps[Translation]:
        return (yield from CoordinatorTranslation.arrange(self._randomness, self._known().back))

    def households(self) -> int:
        return self._known().layers.households

    def total(self, words: Words) -> Words:
        return self._known().layers.total(words)

    def members(self) -> Words:
        return np.zeros(self.households(), dtype=np.uint64)  # the recipient adds what depends on them

    def spread(self, bits: Bits) -> Bits:
        return self._known().layers.spread(bits)

    def asked(self, policy: int) -> Bits:
        asked = np.zeros(self.households(), dtype=np.bool_)
        asked[self._household_of(policy)] = True
        return asked

    def labels(self, policy: int) -> Words:
        return _draw_labels(self.households())[self._household_of(policy)]

    def plus(self, share: Words, constant: Words) -> Words:  # noqa: ARG002  the recipient adds
        return share

    def negated(self, share: Words) -> Words:
        return negated(share)

    def noise(self, scale: Fraction | None) -> int:
        return 0 if scale is None else discrete_laplace(scale)

    def _household_of(self, policy: int) -> NDArray[np.intp]:
        """The household of each presented slot."""
        order = self._known()
        places = np.concatenate([np.arange(count) for count in order.layers.counts])
        household = np.empty(len(order.order), dtype=np.intp)
        household[order.order] = places
        return household[self._presented[policy]]

    def _known(self) -> HouseholdOrder:
        if self._order is None:
            raise JobError("job: nobody said who lives with whom; submit it again")
        return self._order


def _draw_labels(count: int) -> Words:
    """Draw ``count`` different labels, uniform among all but 0: drawn again where two are equal."""
    labels: Words = np.zeros(0, dtype=np.uint64)
    while len(labels) < count:
        more = np.frombuffer(os.urandom(4 * (count - len(labels))), dtype="<u4").astype(np.uint64)
        drawn = np.concatenate((labels, more[more != 0]))
        # Of equal labels the first stays, in the order of drawing: sorting them would tell who came first.
        labels = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
    return labels
