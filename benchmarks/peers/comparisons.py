"""What the peers' programs share: random 40-bit numbers in, one line of JSON out.

Counted is the CPU that a comparison takes, all parties together, once keys, connections and
compiled programs are there; every answer is checked.  Nothing of veilmatch is imported: each peer
runs by an interpreter of its own, since SPU needs another numpy than we do.
"""

import json
import secrets
import sys
from collections.abc import Iterable

BITS = 40
LIMIT = 1 << (BITS - 1)


def numbers(count: int) -> list[int]:
    """Uniform numbers that 40 bits in two's complement hold."""
    return [secrets.randbelow(2 * LIMIT) - LIMIT for _ in range(count)]


def check(answers: Iterable[object], expected: Iterable[object]) -> None:
    """End the program where the peer's answers are not those of the plain numbers."""
    if [bool(answer) for answer in answers] != [bool(answer) for answer in expected]:
        sys.exit("a comparison is wrong")


def report(cpu_seconds: float, count: int) -> None:
    """Print what bench_peers.py reads: microseconds of CPU a comparison."""
    print(json.dumps({"us": cpu_seconds / count * 1e6, "comparisons": count}))
