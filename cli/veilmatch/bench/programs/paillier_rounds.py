"""The rounds that all Paillier peers are asked for: one value a ciphertext, as each of them has it."""

from collections.abc import Callable
from typing import Any

from peer import Sample, check, numbers, timed

_SECONDS = 0.2  # about as long as a round of an operation takes
_MOST = 2000


def operations(
    encrypt: Callable[[int], Any], add: Callable[[Any, Any], Any], decrypt: Callable[[Any], int]
) -> dict[str, Callable[[], Sample]]:
    """Rounds of each operation, and of all three of one value, from a library's own functions."""
    some = encrypt(1)

    def round_of(
        work: Callable[[int], object], expected: Callable[[int], object] | None
    ) -> Callable[[], Sample]:
        def one_after_the_other() -> Sample:
            plain = numbers(count)
            answers: list[object] = []
            seconds = timed(lambda: answers.extend(map(work, plain)))
            if expected is not None:
                check(answers, map(expected, plain))
            return seconds, count

        work(1)
        count = max(1, min(_MOST, round(_SECONDS / max(timed(lambda: work(1)), 1e-6))))
        return one_after_the_other

    return {
        "encrypt": round_of(encrypt, None),
        "combine": round_of(lambda _: add(some, some), None),
        "decrypt": round_of(lambda _: decrypt(some), lambda _: 1),
        "value": round_of(lambda number: decrypt(add(encrypt(number), some)), lambda number: number + 1),
    }
