"""Kind ``epoch``: departments linked by OPRF, then linked again when some people are new.

Every round is a federation of its own, for what a department remembers of an epoch is what is measured.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

from pydantic import Field

from veilmatch import show
from veilmatch.bench.federation_data import PARTS, write_tables
from veilmatch.bench.kinds.base import REFUSALS, Experiment, Lab, Several, Workers
from veilmatch.bench.report import Case, Measure, Role
from veilmatch.departments import load_departments
from veilmatch.running import RunSettings, local_federation
from veilmatch_policy.documents import Number, Whole


class Epoch(Experiment):
    """A case for each number of people and departments."""

    kind: Literal["epoch"]
    people: Several[Annotated[Whole, Field(ge=100, le=10_000_000)]]
    departments: Several[Annotated[Whole, Field(ge=2, le=len(PARTS))]] = (6,)
    new_per_cent: Annotated[Number, Field(ge=0, le=100)]
    workers: Several[Workers] = (1,)

    def measured(self, lab: Lab) -> Iterator[Case]:
        """Measure all cases."""
        for people, departments, workers in product(self.people, self.departments, self.workers):
            fuller = people + int(people * self.new_per_cent / 100)
            settings = RunSettings("oprf", 3072, workers)
            updates: list[float] = []
            wholes: list[float] = []
            failed = None
            for number in range(1, self.rounds + 1):
                with show.bars(f"{self.name}: {people:,} people, round {number} of {self.rounds}") as bars:
                    try:
                        whole, update = _round(lab.folder, people, fuller, departments, settings, bars)
                    except REFUSALS as error:
                        failed = str(error)
                        break
                wholes.append(whole)
                updates.append(update)
            yield Case(
                parameters={
                    "people": people,
                    "departments": departments,
                    "new_per_cent": str(self.new_per_cent),
                    "workers": workers,
                },
                item="person",
                measures=() if failed else _measures(people, wholes, updates),
                error=failed,
            )


def _round(
    folder: Path, people: int, fuller: int, departments: int, settings: RunSettings, bars: show.Bars
) -> tuple[float, float]:
    """Seconds of the first linkage, and of the second, of ``fuller`` people."""
    with TemporaryDirectory(prefix="epoch-", dir=folder) as home:
        tables = write_tables(Path(home) / "departments", people, departments, of=fuller)
        loaded = load_departments(tables.folder)
        with local_federation(loaded, Path(home) / "out", settings) as federation:
            whole = federation.link(settings, bars.step).seconds
            write_tables(tables.folder, fuller, departments, of=fuller)
            return whole, federation.link(settings, bars.step).seconds


def _measures(people: int, wholes: list[float], updates: list[float]) -> tuple[Measure, ...]:
    return (
        Measure(name="linkage with new people", role=Role.OURS, items=people, samples=tuple(updates)),
        Measure(name="linkage of everybody", role=Role.BASE, items=people, samples=tuple(wholes)),
    )
