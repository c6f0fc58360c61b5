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
        work: Callable[[int], Any],
        expected: Callable[[int], int],
        opened: Callable[[Any], int] | None = None,
    ) -> Callable[[], Sample]:
        def one_after_the_other() -> Sample:
            plain = numbers(count)
            answers: list[Any] = []
            seconds = timed(lambda: answers.extend(map(work, plain)))
            if opened is None:
                check(answers, map(expected, plain))
            else:  # one is enough: opening all of them takes longer than the round
                check([opened(answers[-1])], [expected(plain[-1])])
            return seconds, count

        work(1)
        count = max(1, min(_MOST, round(_SECONDS / max(timed(lambda: work(1)), 1e-6))))
        return one_after_the_other

    return {
        "encrypt": round_of(encrypt, lambda number: number, decrypt),
        "combine": round_of(lambda _: add(some, some), lambda _: 2, decrypt),
        "decrypt": round_of(lambda _: decrypt(some), lambda _: 1),
        "value": round_of(lambda number: decrypt(add(encrypt(number), some)), lambda number: number + 1),
    }
