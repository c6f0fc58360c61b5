"""What a violated invariant is."""


class ViolatedError(AssertionError):
    """Something that must always hold does not."""


def holds(condition: object, what: str, *about: object) -> None:
    """Raise ViolatedError, saying what is wrong, where a condition does not hold."""
    if not condition:
        raise ViolatedError(" ".join([what, *map(str, about)]))
