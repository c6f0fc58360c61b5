"""What the peers' programs share: random 40-bit numbers in, lines of JSON out.

A program makes its keys, then `serve`s: one line says that it is ready, and each line of standard input,
an operation's name, is answered with one sample.  Counted is processor time, all parties together, once
keys, connections and compiled programs are there; answers are checked.  Nothing of veilmatch is
imported: a program runs in an interpreter of its own, with its own versions of everything.
"""

import json
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version

BITS = 40
LIMIT = 1 << (BITS - 1)

Sample = tuple[float, int]  # seconds, items


def numbers(count: int) -> list[int]:
    """Uniform numbers that 40 bits in two's complement hold."""
    return [secrets.randbelow(2 * LIMIT) - LIMIT for _ in range(count)]


def check(answers: Iterable[object], expected: Iterable[object]) -> None:
    """End the program where the peer's answers are not those of the plain numbers."""
    if list(answers) != list(expected):
        sys.exit("an answer is wrong")


def timed(work: Callable[[], object]) -> float:
    """The processor time of this process that ``work`` takes, in seconds."""
    began = time.process_time()
    work()
    return time.process_time() - began


def ready(apart: float, packages: Sequence[str]) -> None:
    """Say that rounds may begin: after ``apart`` seconds for keys, with these packages' versions."""
    _say({"apart": apart, "versions": {package: version(package) for package in packages}})


def asked() -> Iterator[str]:
    """The operations, as they are asked for."""
    for line in sys.stdin:
        yield line.strip()


def answer(sample: Sample) -> None:
    """Answer one operation."""
    seconds, items = sample
    _say({"seconds": seconds, "items": items})


def serve(apart: float, packages: Sequence[str], operations: Mapping[str, Callable[[], Sample]]) -> None:
    """Be ready, and answer each operation until standard input ends."""
    ready(apart, packages)
    for operation in asked():
        answer(operations[operation]())


def _say(line: dict[str, object]) -> None:
    print(json.dumps(line), flush=True)
