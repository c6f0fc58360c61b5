"""Kind ``linkage``: an identity through two trustees' oblivious function, beside libsodium's bare multiplications."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import numpy as np
import rbcl
from numpy.typing import NDArray

from veilmatch import show
from veilmatch.bench.kinds.base import Experiment, Lab, Several, between, require, tried
from veilmatch.bench.peers import Peer
from veilmatch.bench.report import Case, Measure, Parameters, Skipped
from veilmatch.bench.rounds import beside, floor, interleaved, ours, running
from veilmatch_crypto import BlindingState, OprfKey, blind
from veilmatch_policy.documents import Whole

PEER = Peer("OpenMined PSI", "openmined_psi", "private_set_intersection")
MULTIPLICATIONS = 4  # blind, two trustees, unblind


def link(identities: list[bytes], trustees: tuple[OprfKey, OprfKey]) -> NDArray[np.uint8]:
    """Blind, two evaluations, unblind, finalize."""
    state, elements = blind(identities)
    for key in trustees:
        elements = key.evaluate(elements)
    return state.finalize(elements)


def direct(identities: list[bytes], trustees: tuple[OprfKey, OprfKey]) -> NDArray[np.uint8]:
    """The same without blinds: the power by the product of both scalars, hashed as RFC 9497 (3.3.1) says."""
    one, other = (key.to_bytes() for key in trustees)
    scalar = rbcl.crypto_core_ristretto255_scalar_mul(one, other)
    unblinded = BlindingState(identities, (1).to_bytes(32, "little") * len(identities)).blinded()
    outputs = b""
    for place, identity in enumerate(identities):
        power = rbcl.crypto_scalarmult_ristretto255(scalar, unblinded[32 * place : 32 * place + 32])
        prefixed = len(identity).to_bytes(2, "big") + identity + len(power).to_bytes(2, "big") + power
        outputs += hashlib.sha512(prefixed + b"Finalize").digest()
    return np.frombuffer(outputs, np.uint8).reshape(len(identities), -1)


def multiply(pairs: list[tuple[bytes, bytes]]) -> None:
    """Every element times its scalar, by libsodium, one call each."""
    for scalar, element in pairs:
        rbcl.crypto_scalarmult_ristretto255(scalar, element)


def random_pairs(count: int) -> list[tuple[bytes, bytes]]:
    """Scalars and elements at random."""
    return [
        (rbcl.crypto_core_ristretto255_scalar_random(), rbcl.crypto_core_ristretto255_random())
        for _ in range(count)
    ]


class Linkage(Experiment):
    """A case for each number of identities."""

    kind: Literal["linkage"]
    people: Several[Annotated[Whole, between(1, 1_000_000)]] = (1000,)

    def measured(self, lab: Lab) -> Iterator[Case]:
        """Measure all cases."""
        for people in self.people:
            parameters: Parameters = {"people": people, "trustees": 2}
            yield tried(parameters, "identity", lambda: self._one(lab, people))  # noqa: B023  called here

    def _one(self, lab: Lab, people: int) -> tuple[Sequence[Measure], Sequence[Skipped]]:
        identities = [b"cn-resident-id\x00%018d" % number for number in range(people)]
        trustees = OprfKey.generate(), OprfKey.generate()
        require(np.array_equal(link(identities, trustees), direct(identities, trustees)), "linkage")
        pairs = random_pairs(MULTIPLICATIONS * people)
        bare = f"libsodium, {MULTIPLICATIONS} bare multiplications"
        with (
            running(lab.peers, [(PEER, str(people))]) as (peers, absent),
            show.bars(f"{self.name}: {people:,} identities") as bars,
        ):
            measures, failed = interleaved(
                [
                    ours(lambda: link(identities, trustees), people),
                    floor(bare, lambda: multiply(pairs), people),
                    *beside(peers, "link"),
                ],
                self.rounds,
                lambda done: bars.step("rounds", "ours, floor and peer", done, self.rounds),
            )
            return measures, [*absent, *failed]
