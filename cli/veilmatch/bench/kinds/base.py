"""What every kind of experiment is: a part of the file, and the cases that it measures."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator

from veilmatch.bench.errors import WrongAnswerError
from veilmatch.bench.peers import Peers
from veilmatch.bench.report import Case, Measure, Parameters, Skipped
from veilmatch.errors import CommandError
from veilmatch_crypto import KEY_BITS, CryptoError
from veilmatch_policy.documents import Document, Line, Name, Whole
from veilmatch_policy.errors import PolicyError
from veilmatch_transport import TransportError

_T = TypeVar("_T")

# What ends a command with a line of its own: of an experiment, one case.
REFUSALS = (CommandError, PolicyError, TransportError, CryptoError, OSError)


def _listed(value: object) -> object:
    """One value is written without a list around it."""
    if value == []:
        raise ValueError("an empty list; write at least one value")
    return [value] if isinstance(value, str) else value


def _key_bits(bits: int) -> int:
    if bits not in KEY_BITS:
        choice = " or ".join(map(str, KEY_BITS))
        raise ValueError(f"keys have {choice} bits, found {bits}; write {choice}")
    return bits


def between(low: int, high: int) -> AfterValidator:
    """Allow numbers from ``low`` to ``high``; the refusal names both."""

    def check(value: int | Decimal) -> int | Decimal:
        if not low <= value <= high:
            raise ValueError(f"expected {low:,} to {high:,}, found {value:,}; write a number in between")
        return value

    return AfterValidator(check)


Several = Annotated[tuple[_T, ...], BeforeValidator(_listed)]
KeyBits = Annotated[Whole, AfterValidator(_key_bits)]
Workers = Annotated[Whole, between(1, 256)]
Rounds = Annotated[Whole, between(1, 1000)]


class Lab:
    """What experiments are measured with: a folder for what they write, which is theirs to empty, and peers."""

    def __init__(self, folder: Path, peers: Peers) -> None:
        self.folder = folder
        self.peers = peers


class Experiment(Document):
    """Base of all kinds.  ``rounds`` is how often each thing is measured; a report has every one of them."""

    name: Name
    kind: Line
    title: Line = ""
    rounds: Rounds = 3

    @abstractmethod
    def measured(self, lab: Lab) -> Iterator[Case]:
        """Measure all cases, one after the other.

        A case that fails is yielded with its ``error``; raises nothing but REFUSALS, which end this
        experiment alone, and what ends the whole run.
        """


def tried(
    parameters: Parameters, item: str, measure: Callable[[], tuple[Sequence[Measure], Sequence[Skipped]]]
) -> Case:
    """The case that ``measure`` measures: what it returns, or the line of what it raised of REFUSALS."""
    try:
        measures, skipped = measure()
    except REFUSALS as error:
        return Case(parameters=parameters, item=item, error=line_of(error))
    return Case(parameters=parameters, item=item, measures=tuple(measures), skipped=tuple(skipped))


def require(right: bool, what: str) -> None:
    """Raise WrongAnswerError unless ``what`` was answered right."""
    if not right:
        raise WrongAnswerError(what)


def line_of(error: Exception) -> str:
    """What a report says of an error, on one line."""
    if isinstance(error, OSError):
        return (
            f"{error.filename or 'the folder'}: {error.strerror or error}; check the path and the space there"
        )
    return " ".join(str(error).split())
