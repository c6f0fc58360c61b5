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
from mpyc.runtime import mpc
from peer import BITS, answer, asked, check, numbers, ready


async def compare(count: int) -> float:
    """One round; the processor time of all three, at the first."""
    plain = np.array(numbers(count))
    shared = mpc.input(mpc.SecInt(BITS).array(plain), senders=0)
    await mpc.gather(shared)
    await mpc.barrier()
    began = time.process_time()
    negative = await mpc.output(shared < 0, receivers=0)
    seconds = sum(await mpc.transfer(time.process_time() - began))
    if mpc.pid == 0:
        check(map(bool, negative), map(bool, plain < 0))
    return seconds


async def serve(count: int) -> None:
    """The first of the three is asked, and tells the others."""
    async with mpc:
        if mpc.pid == 0:
            ready(0.0, ("mpyc", "gmpy2"))
        operations = asked()
        while await mpc.transfer(mpc.pid == 0 and next(operations, None) is not None, senders=0):
            seconds = await compare(count)
            if mpc.pid == 0:
                answer((seconds, count))


if __name__ == "__main__":
    mpc.run(serve(int(sys.argv[1])))
