"""What was measured: every sample, and what follows from the samples (docs/benchmarks.md, "report.json").

Nothing that can be computed from the samples is stored beside them when a report is read: spreads and
ratios are computed anew.
"""

import statistics
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, computed_field, model_validator

from veilmatch.bench.errors import ReportError
from veilmatch.bench.wording import shown

BYTES = "bytes on the wire"  # of all members together: what the coordinator sent and received
PEAK = "memory of the largest process"  # its peak

Parameters = dict[str, int | str]
Unit = Literal["s", "B", "MiB"]
_Sample = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Role(StrEnum):
    """What a measure is in its case."""

    OURS = "ours"  # what the case is about: one a case
    BASE = "base"  # ours too: what the case is held against
    PART = "part"  # a stage of ours
    FLOOR = "floor"  # what cannot be avoided, bare
    PEER = "peer"  # the same work by another library
    APART = "apart"  # not part of ours: keys, starting, linkage
    SIZE = "size"  # bytes sent, memory


BESIDE = frozenset({Role.BASE, Role.FLOOR, Role.PEER})  # what ours is divided by


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Spread(_Part):
    """Least, median and greatest of some samples."""

    min: float
    median: float
    max: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Self:
        """The spread of at least one sample."""
        return cls(min=min(samples), median=statistics.median(samples), max=max(samples))


class Measure(_Part):
    """One thing that was measured once a round.

    ``samples`` are in ``unit`` (seconds, bytes, 2**20 bytes), in the order of the rounds, and each covers
    ``items`` of the case's items.
    """

    name: str
    role: Role
    unit: Unit = "s"
    items: Annotated[int, Field(ge=1)]
    samples: Annotated[tuple[_Sample, ...], Field(min_length=1)]

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def spread(self) -> Spread:
        """Of the samples."""
        return Spread.of(self.samples)

    @computed_field  # type: ignore[prop-decorator]  # as above
    @property
    def per_item(self) -> Spread:
        """Of the samples, divided by the items that each covers."""
        return Spread.of([sample / self.items for sample in self.samples])


class Ratio(_Part):
    """Ours divided by a base, floor or peer, an item, round by round: below 1 where ours takes less."""

    beside: str
    role: Role
    samples: tuple[float, ...]
    spread: Spread


class Skipped(_Part):
    """A peer that was not measured, and why."""

    peer: str
    why: str


class Case(_Part):
    """One combination of an experiment's parameters: what was measured of one kind of ``item``.

    ``error`` is the line with which it failed, None where it did not; measures may then be missing.
    """

    parameters: Parameters
    item: str
    measures: tuple[Measure, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    error: str | None = None

    @model_validator(mode="after")
    def _can_be_compared(self) -> Self:
        compared = [measure for measure in self.measures if measure.role in {Role.OURS, *BESIDE}]
        if len({len(measure.samples) for measure in compared}) > 1:
            raise ValueError("measures that are held against each other have different numbers of samples")
        if not all(sample > 0 for measure in compared for sample in measure.samples):
            raise ValueError("a sample that is held against another is 0")
        return self

    @property
    def ours(self) -> Measure | None:
        """The measure that the case is about, or None where the case failed before it."""
        return next((measure for measure in self.measures if measure.role is Role.OURS), None)

    @computed_field  # type: ignore[prop-decorator]  # as above
    @property
    def ratios(self) -> tuple[Ratio, ...]:
        """Ours against each base, floor and peer of the case."""
        if self.ours is None:
            return ()
        return tuple(
            _ratio(self.ours, measure)
            for measure in self.measures
            if measure.role in BESIDE and measure.unit == self.ours.unit
        )

    @property
    def title(self) -> str:
        """The parameters in words; of a case without any, what it is about."""
        said = (f"{name.replace('_', ' ')} {shown(value)}" for name, value in self.parameters.items())
        return ", ".join(said) or self.item


class ExperimentReport(_Part):
    """An experiment: its settings as they were run, and its cases."""

    name: str
    kind: str
    title: str
    rounds: int
    cases: tuple[Case, ...] = ()


class Machine(_Part):
    """Where it was measured; ``load`` is the mean number of runnable processes in the minute before."""

    processor: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    load: float


class Report(_Part):
    """All of a run of `veilmatch bench`; ``title`` is its file's, times are RFC 3339, UTC.

    ``format`` is raised when a field changes its meaning.
    """

    format: Literal[1] = 1
    title: str = ""
    began: str
    ended: str
    machine: Machine
    versions: dict[str, str]
    peers: dict[str, dict[str, str]] = {}
    experiments: tuple[ExperimentReport, ...] = ()

    def to_json(self) -> str:
        """The file's text."""
        return self.model_dump_json(indent=1) + "\n"

    def failures(self) -> list[str]:
        """A line for each case that failed."""
        return [
            f"{experiment.name} ({case.title}): {case.error}"
            for experiment in self.experiments
            for case in experiment.cases
            if case.error is not None
        ]


def read_report(path: Path) -> Report:
    """Read an earlier report.json.  Raises ReportError where it is none."""
    try:
        return Report.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ReportError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        what = first["msg"].removeprefix("Value error, ")
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ReportError(
            f"{path}: is no report of `veilmatch bench` ({place}: {what}); name its report.json"
        ) from None


def _ratio(ours: Measure, other: Measure) -> Ratio:
    samples = tuple(
        (one / ours.items) / (its / other.items) for one, its in zip(ours.samples, other.samples, strict=True)
    )
    return Ratio(beside=other.name, role=other.role, samples=samples, spread=Spread.of(samples))
