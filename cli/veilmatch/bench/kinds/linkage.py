"""Kind ``linkage``: an identity through two trustees' oblivious function, beside libsodium's bare multiplications."""

from collections.abc import Iterator
from typing import Annotated, Literal

import rbcl
from pydantic import Field

from veilmatch import show
from veilmatch.bench.kinds.base import Experiment, Lab, Several
from veilmatch.bench.peers import Peer
from veilmatch.bench.report import Case
from veilmatch.bench.rounds import beside, floor, interleaved, keys_apart, ours, running
from veilmatch_crypto import OprfKey, blind
from veilmatch_policy.documents import Whole

PEER = Peer("OpenMined PSI", "openmined_psi", "private_set_intersection")
MULTIPLICATIONS = 4  # blind, two trustees, unblind


def link(identities: list[bytes], trustees: tuple[OprfKey, OprfKey]) -> None:
    """Blind, two evaluations, unblind, finalize."""
    state, elements = blind(identities)
    for key in trustees:
        elements = key.evaluate(elements)
    state.finalize(elements)


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
    people: Several[Annotated[Whole, Field(ge=1, le=1_000_000)]] = (1000,)

    def measured(self, lab: Lab) -> Iterator[Case]:
        """Measure all cases."""
        for people in self.people:
            identities = [b"cn-resident-id\x00%018d" % number for number in range(people)]
            trustees = OprfKey.generate(), OprfKey.generate()
            pairs = random_pairs(MULTIPLICATIONS * people)
            bare = f"libsodium, {MULTIPLICATIONS} bare multiplications"
            with (
                running(lab.peers, [(PEER, str(people))]) as (peers, absent),
                show.bars(f"{self.name}: {people:,} identities") as bars,
            ):
                measures, failed = interleaved(
                    [
                        ours(lambda: link(identities, trustees), people),  # noqa: B023  called here
                        floor(bare, lambda: multiply(pairs), people),  # noqa: B023  as above
                        *beside(peers, "link"),
                    ],
                    self.rounds,
                    lambda done: bars.step("rounds", "ours, floor and peer", done, self.rounds),
                )
                yield Case(
                    parameters={"people": people, "trustees": len(trustees)},
                    item="identity",
                    measures=(*measures, *keys_apart(peers)),
                    skipped=(*absent, *failed),
                )
