# /// script
# requires-python = ">=3.10"
# dependencies = ["spu==0.9.5"]
# ///
"""SecretFlow SPU's comparison of shared numbers with zero: two parties, a vector at once, 64-bit ring.

The two are threads of one process, SPU's own simulation.  SEMI2K has its triples from a first
party that is trusted, as we have ours from a dealer; CHEETAH makes its own.
"""

import sys
import time

import jax
import numpy as np
from comparisons import check, numbers, report
from spu import libspu
from spu.utils.simulation import Simulator, sim_jax


def main() -> None:
    count, protocol = int(sys.argv[1]), sys.argv[2]
    jax.config.update("jax_enable_x64", True)
    kind = getattr(libspu.ProtocolKind, protocol)
    compare = sim_jax(Simulator.simple(2, kind, libspu.FieldType.FM64), lambda x: x < 0)
    plain = np.array(numbers(count))
    check(compare(plain), plain < 0)  # compiles, and starts threads
    start = time.process_time()
    negative = compare(plain)
    seconds = time.process_time() - start
    check(negative, plain < 0)
    report(seconds, count)


if __name__ == "__main__":
    main()
