"""Kind ``comparison``: tests of shared 40-bit numbers, all parties' processor time together.

Ours are recipient, coordinator and dealer; the floor is the AES that their triples take.
"""

import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Literal

import numpy as np
from Crypto.Cipher import AES
from pydantic import Field

from veilmatch import show
from veilmatch.bench.kinds.base import Experiment, Lab, Several
from veilmatch.bench.peers import Peer
from veilmatch.bench.report import BYTES, Case, Measure, Role
from veilmatch.bench.rounds import beside, floor, interleaved, keys_apart, ours, running
from veilmatch.bench.three_parties import CHUNK, Test, ThreeParties, random_shares, run_chunks
from veilmatch_crypto import negative, zero
from veilmatch_policy.documents import Whole

# Each with as many comparisons as take it a second to ten.
PEERS = (
    (Peer("SecretFlow SPU SEMI2K", "spu_comparison", "spu", ("SEMI2K",)), 100_000),
    (Peer("SecretFlow SPU CHEETAH", "spu_comparison", "spu", ("CHEETAH",)), 20_000),
    (Peer("MPyC", "mpyc_comparison", "mpyc", ("-M3",)), 2_000),
    (Peer("TNO secure comparison", "tno_comparison", "tno.mpc.protocols.secure_comparison"), 20),
)
_TESTS: Mapping[str, Test] = MappingProxyType({"below": negative, "zero": zero})
_STREAM_WORDS = 10  # an AND: three at the recipient, two at the coordinator, both again at the dealer
_ROUNDS_A_CHUNK = 7


class Comparison(Experiment):
    """A case for each test and number of people."""

    kind: Literal["comparison"]
    people: Several[Annotated[Whole, Field(ge=64, le=10_000_000)]] = (200_000,)
    tests: Several[Literal["below", "zero"]] = ("below", "zero")

    def measured(self, lab: Lab) -> Iterator[Case]:
        """Measure all cases; peers compare with zero, so they stand beside ``below``."""
        for test in self.tests:
            wanted = [(peer, str(count)) for peer, count in PEERS] if test == "below" else []
            with running(lab.peers, wanted) as (peers, absent):
                for people in self.people:
                    one, other = random_shares(people)
                    parties = run_chunks(_TESTS[test], one, other)
                    with show.bars(f"{self.name}: {test}, {people:,} people") as bars:
                        measures, failed = interleaved(
                            [
                                ours(lambda: run_chunks(_TESTS[test], one, other), people),  # noqa: B023  called here
                                floor("AES of the triples", triples_floor(parties, people).run, people),
                                *beside(peers, "below"),
                            ],
                            self.rounds,
                            lambda done: bars.step("rounds", "ours, floor and peers", done, self.rounds),
                        )
                    moved = float(parties.bytes_sent + parties.bytes_dealt)
                    yield Case(
                        parameters={"test": test, "bits": 40, "people": people},
                        item="comparison",
                        measures=(
                            *measures,
                            Measure(
                                name=BYTES,
                                role=Role.SIZE,
                                unit="B",
                                items=people,
                                samples=(moved,),
                            ),
                            *keys_apart(peers),
                        ),
                        skipped=(*absent, *failed),
                    )


class AesFloor:
    """AES-256 in counter mode over so many bytes, in as many pieces as the circuits take."""

    def __init__(self, octets: int, pieces: int) -> None:
        self._zeros = np.zeros(max(1, octets // pieces), np.uint8)
        self._pieces = pieces
        self._cipher = AES.new(os.urandom(32), AES.MODE_CTR, nonce=bytes(8))

    def run(self) -> None:
        """Encrypt."""
        for _ in range(self._pieces):
            self._cipher.encrypt(self._zeros.data, output=self._zeros.data)


def triples_floor(parties: ThreeParties, people: int) -> AesFloor:
    """The floor of what these parties did for so many people."""
    # About as much at a time as a round of one chunk takes: all at once would measure memory.
    return AesFloor(parties.bytes_dealt * _STREAM_WORDS, _ROUNDS_A_CHUNK * -(-people // CHUNK))
