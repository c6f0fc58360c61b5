# /// script
# requires-python = ">=3.10"
# dependencies = ["mpyc==0.11", "gmpy2", "numpy"]
# ///
"""MPyC's comparison of shared numbers with zero: three parties on loopback, a vector at once.

Started with -M3, its own launcher starts the other two; one of the three may be passively corrupt.
"""

import sys
import time

import numpy as np
from comparisons import BITS, check, numbers, report
from mpyc.runtime import mpc


async def compare(count: int) -> float:
    plain = np.array(numbers(count))
    async with mpc:
        shared = mpc.input(mpc.SecInt(BITS).array(plain), senders=0)
        await mpc.gather(shared)
        await mpc.barrier()
        start = time.process_time()
        negative = await mpc.output(shared < 0, receivers=0)
        seconds = sum(await mpc.transfer(time.process_time() - start))
    if mpc.pid == 0:
        check(negative, plain < 0)
    return seconds


def main() -> None:
    count = int(sys.argv[1])
    seconds = mpc.run(compare(count))
    if mpc.pid == 0:
        report(seconds, count)


if __name__ == "__main__":
    main()
