"""Kind ``comparison``: tests of shared 40-bit numbers, all parties' processor time together.

Ours are recipient, coordinator and dealer; the floor is the AES that their triples take.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Literal

import numpy as np
from Crypto.Cipher import AES
from numpy.typing import NDArray

from veilmatch import show
from veilmatch.bench.kinds.base import Experiment, Lab, Several, between, require, tried
from veilmatch.bench.peers import Peer, RunningPeer
from veilmatch.bench.report import BYTES, Case, Measure, Role, Skipped
from veilmatch.bench.rounds import apart, beside, floor, interleaved, ours, running
from veilmatch.bench.three_parties import CHUNK, Test, ThreeParties, Words, random_shares, run_chunks
from veilmatch_crypto import negated, negative, unpack_bits, zero
from veilmatch_policy.documents import Whole

# Each with as many comparisons as take it a second to ten.
PEERS = (
    (Peer("SecretFlow SPU SEMI2K", "spu_comparison", "spu", ("SEMI2K",), apart="compiling"), 100_000),
    (Peer("SecretFlow SPU CHEETAH", "spu_comparison", "spu", ("CHEETAH",), apart="compiling"), 20_000),
    (Peer("MPyC", "mpyc_comparison", "mpyc", ("-M3",)), 2_000),
    (Peer("TNO secure comparison", "tno_comparison", "tno.mpc.protocols.secure_comparison"), 20),
)
_TESTS: Mapping[str, Test] = MappingProxyType({"below": negative, "zero": zero})
# The same of the plain sums, 40 bits each.
_PLAIN: Mapping[str, Callable[[Words], NDArray[np.bool_]]] = MappingProxyType(
    {"below": lambda sums: sums >> np.uint64(39) == 1, "zero": lambda sums: sums == 0}
)
_WORD = np.uint64((1 << 40) - 1)
_STREAM_WORDS = 10  # an AND: three at the recipient, two at the coordinator, both again at the dealer
_ROUNDS_A_CHUNK = 7


class Comparison(Experiment):
    """A case for each test and number of people."""

    kind: Literal["comparison"]
    people: Several[Annotated[Whole, between(64, 10_000_000)]] = (200_000,)
    tests: Several[Literal["below", "zero"]] = ("below", "zero")

    def measured(self, lab: Lab) -> Iterator[Case]:
        """Measure all cases; peers compare with zero, so they stand beside ``below``."""
        for test in self.tests:
            wanted = [(peer, str(count)) for peer, count in PEERS] if test == "below" else []
            with running(lab.peers, wanted) as (peers, absent):
                for people in self.people:
                    case = tried(
                        {"test": test, "bits": 40, "people": people},
                        "comparison",
                        lambda: self._one(test, people, peers),  # noqa: B023  called here
                    )
                    yield case.model_copy(update={"skipped": (*absent, *case.skipped)})

    def _one(
        self, test: str, people: int, peers: Sequence[RunningPeer]
    ) -> tuple[Sequence[Measure], Sequence[Skipped]]:
        one, other = random_shares(people)
        other[::2] = negated(one[::2])  # every second sum is 0
        parties = run_chunks(_TESTS[test], one, other)
        plain = _PLAIN[test](one + other & _WORD)
        require(np.array_equal(answers(parties, people), plain), test)
        with show.bars(f"{self.name}: {test}, {people:,} people") as bars:
            measures, failed = interleaved(
                [
                    ours(lambda: run_chunks(_TESTS[test], one, other), people),
                    floor("AES of the triples", triples_floor(parties, people).run, people),
                    *beside(peers, "below"),
                ],
                self.rounds,
                lambda done: bars.step("rounds", "ours, floor and peers", done, self.rounds),
            )
        moved = float(parties.bytes_sent + parties.bytes_dealt)
        size = Measure(name=BYTES, role=Role.SIZE, unit="B", items=people, samples=(moved,))
        return [*measures, size, *apart(peers)], failed


def answers(parties: ThreeParties, people: int) -> NDArray[np.bool_]:
    """What the parties have found out of so many people."""
    counts = [min(CHUNK, people - start) for start in range(0, people, CHUNK)]
    return np.concatenate([unpack_bits(*each) for each in zip(parties.results, counts, strict=True)])


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
