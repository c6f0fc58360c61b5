# /// script
# requires-python = ">=3.10,<3.12"  # later ones have no wheels
# dependencies = ["spu==0.9.5"]
# ///
"""SecretFlow SPU's comparison of shared numbers with zero: two parties, a vector at once, 64-bit ring.

The two are threads of one process, SPU's own simulation.  SEMI2K has its triples from a first
party that is trusted, as we have ours from a dealer; CHEETAH makes its own.
"""

import sys

import jax
import numpy as np
from peer import Sample, check, numbers, serve, timed
from spu import libspu
from spu.utils.simulation import Simulator, sim_jax


def main() -> None:
    """Compile for a protocol and so many numbers, and serve."""
    count, protocol = int(sys.argv[1]), sys.argv[2]
    jax.config.update("jax_enable_x64", True)
    kind = getattr(libspu.ProtocolKind, protocol)
    compare = sim_jax(Simulator.simple(2, kind, libspu.FieldType.FM64), lambda x: x < 0)

    def one_round() -> Sample:
        plain = np.array(numbers(count))
        answers: list[object] = []
        seconds = timed(lambda: answers.extend(compare(plain)))
        check(map(bool, answers), map(bool, plain < 0))
        return seconds, count

    apart = timed(one_round)  # compiles, and starts threads
    serve(apart, ("spu", "jax"), {"below": one_round})


if __name__ == "__main__":
    main()
