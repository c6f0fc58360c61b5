"""What every kind of experiment is: a part of the file, and the cases that it measures."""

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field

from veilmatch.bench.peers import Peers
from veilmatch.bench.report import Case
from veilmatch.errors import CommandError
from veilmatch_policy.documents import Document, Line, Name, Whole
from veilmatch_policy.errors import PolicyError
from veilmatch_transport import TransportError

_T = TypeVar("_T")

# What ends a command with a line of its own: of an experiment, one case.
REFUSALS = (CommandError, PolicyError, TransportError)


def _listed(value: object) -> object:
    """One value is written without a list around it."""
    return [value] if isinstance(value, str) else value


Several = Annotated[tuple[_T, ...], BeforeValidator(_listed), Field(min_length=1)]
KeyBits = Annotated[Whole, Field(ge=2048, le=3072, multiple_of=1024)]
Workers = Annotated[Whole, Field(ge=1, le=256)]
Rounds = Annotated[Whole, Field(ge=1, le=1000)]


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

        A case that fails is yielded with its ``error``; raises nothing but what ends the whole run.
        """
