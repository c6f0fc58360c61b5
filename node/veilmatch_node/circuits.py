"""The recipient's side of the circuits, without I/O (protocol.md, 5.2, 5.3 and 5.5).

It brings its shares, its own claims, and the slots that it presented.  Of households it learns how
many there are of each size; of policies that reveal members the result of each slot that it
presented, and nothing else; of counts nothing.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from veilmatch_crypto import (
    CircuitError,
    Layers,
    RecipientGates,
    RecipientRandomness,
    RecipientTally,
    RecipientTranslation,
    Steps,
    Translation,
    circuit_key,
    discrete_laplace,
)
from veilmatch_node.recipient import Recipient
from veilmatch_policy.manifest import Manifest
from veilmatch_policy.program import Bits, Result, Words, run

_WORD = np.uint64(2**40 - 1)


def decide(
    recipient: Recipient, manifest: Manifest, seed: bytes, households: int
) -> Steps[Mapping[int, Result]]:
    """Run the circuits of everything that ``recipient`` has opened: results by the policy's number.

    ``seed`` is the dealer's, ``households`` how many the coordinator says there are.  Raises CircuitError
    where the coordinator does not keep to the program.
    """
    plan, padded = manifest.plan, manifest.draft.padded
    asked = any(term.grain == "household" for term in plan.terms)
    if not (1 <= households <= padded if asked else households == 0):
        raise CircuitError("the coordinator's number of households is none of this job's")
    presented = [np.flatnonzero(recipient.presented[policy]) for policy in range(len(plan.policies))]
    key = circuit_key(
        seed, manifest.digest, households=households, presented=[len(slots) for slots in presented]
    )
    side = _RecipientSide(recipient, RecipientRandomness(key), presented, padded, households)
    return run(side, plan)


class _RecipientSide:
    """The recipient in the program."""

    def __init__(
        self,
        recipient: Recipient,
        randomness: RecipientRandomness,
        presented: Sequence[NDArray[np.intp]],
        padded: int,
        households: int,
    ) -> None:
        self.gates = RecipientGates(randomness)
        self.tally = RecipientTally(randomness)
        self._recipient = recipient
        self._randomness = randomness
        self._padded = padded
        self._households = households
        self._shares = recipient.shares()
        self._presented = presented
        self._layers: Layers | None = None

    def share(self, term: int) -> Words:
        return self._shares[term]

    def own(self, policy: int, claim: int) -> Bits:
        return self._recipient.own(policy, claim)

    def presented(self, policy: int) -> NDArray[np.intp]:
        return self._presented[policy]

    def there(self) -> Steps[Translation]:
        body = yield b""
        try:
            layers = Layers(tuple(np.frombuffer(body, "<u4").tolist()))
        except ValueError:
            layers = None
        if layers is None or (layers.people, layers.households) != (self._padded, self._households):
            raise CircuitError("the coordinator's households are not those of every slot")
        self._layers = layers
        return (yield from RecipientTranslation.arrange(self._randomness, self._padded))

    def back(self) -> Steps[Translation]:
        return (yield from RecipientTranslation.arrange(self._randomness, self._padded))

    def households(self) -> int:
        return self._households

    def total(self, words: Words) -> Words:
        return self._known().total(words)

    def members(self) -> Words:
        return self._known().total(np.ones(self._padded, dtype=np.uint64))

    def spread(self, bits: Bits) -> Bits:
        return self._known().spread(bits)

    def asked(self, policy: int) -> Bits:  # noqa: ARG002  the coordinator's
        return np.zeros(self._households, dtype=np.bool_)

    def labels(self, policy: int) -> Words:
        return np.zeros(len(self._presented[policy]), dtype=np.uint64)

    def plus(self, share: Words, constant: Words) -> Words:
        return (share + constant) & _WORD

    def negated(self, share: Words) -> Words:
        return share

    def noise(self, scale: Fraction | None) -> int:
        return 0 if scale is None else discrete_laplace(scale)

    def _known(self) -> Layers:
        if self._layers is None:
            raise CircuitError("no household order was arranged yet")
        return self._layers
