"""Kind ``epoch``: departments linked by OPRF, then linked again when some people are new and some are gone.

Every round is a federation of its own, for what a department remembers of an epoch is what is measured.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

from veilmatch import show
from veilmatch.bench.federation_data import PARTS, Tables, write_tables
from veilmatch.bench.kinds.base import Experiment, Lab, Several, Workers, between, require, tried
from veilmatch.bench.report import Case, Measure, Parameters, Role, Skipped
from veilmatch.departments import load_departments
from veilmatch.running import LocalRun, RunSettings, local_federation
from veilmatch_policy.documents import Number, Whole


class Epoch(Experiment):
    """A case for each number of people, departments and workers."""

    kind: Literal["epoch"]
    people: Several[Annotated[Whole, between(100, 10_000_000)]]
    departments: Several[Annotated[Whole, between(2, len(PARTS))]] = (6,)
    new_per_cent: Annotated[Number, between(0, 100)]
    gone_per_cent: Annotated[Number, between(0, 99)] = Number(0)
    workers: Several[Workers] = (1,)

    def measured(self, lab: Lab) -> Iterator[Case]:
        """Measure all cases."""
        for people, departments, workers in product(self.people, self.departments, self.workers):
            parameters: Parameters = {
                "people": people,
                "departments": departments,
                "new_per_cent": str(self.new_per_cent),
                "gone_per_cent": str(self.gone_per_cent),
                "workers": workers,
            }
            settings = RunSettings("oprf", 3072, workers)
            yield tried(
                parameters,
                "person",
                lambda: self._rounds(lab.folder, people, departments, settings),  # noqa: B023  called here
            )

    def _rounds(
        self, folder: Path, people: int, departments: int, settings: RunSettings
    ) -> tuple[Sequence[Measure], Sequence[Skipped]]:
        gone, new = (int(people * part / 100) for part in (self.gone_per_cent, self.new_per_cent))
        later = people - gone + new
        wholes, updates = [], []
        for number in range(1, self.rounds + 1):
            title = f"{self.name}: {people:,} people, round {number} of {self.rounds}"
            with (
                TemporaryDirectory(prefix="epoch-", dir=folder) as home,
                show.bars(title) as bars,
            ):
                tables = write_tables(Path(home) / "departments", people, departments, of=people + new)
                loaded = load_departments(tables.folder)
                with local_federation(loaded, Path(home) / "out", settings) as federation:
                    wholes.append(_link(federation, tables, settings, bars))
                    tables = write_tables(tables.folder, later, departments, gone=gone, of=people + new)
                    updates.append(_link(federation, tables, settings, bars))
        ours = Measure(name="linkage of the next epoch", role=Role.OURS, items=later, samples=tuple(updates))
        base = Measure(name="linkage of everybody", role=Role.BASE, items=people, samples=tuple(wholes))
        return [ours, base], []


def _link(federation: LocalRun, tables: Tables, settings: RunSettings, bars: show.Bars) -> float:
    """Seconds of a linkage.  Raises WrongAnswerError where it has not everybody who is in the tables."""
    linked = federation.link(settings, bars.step)
    require(linked.people == tables.known, "the number of people linked")
    return linked.seconds
