"""A report as tables: headings and cells, for Markdown, the page and the terminal alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from veilmatch.bench.changes import Change
from veilmatch.bench.report import BYTES, PEAK, Case, ExperimentReport, Report, Role, Spread
from veilmatch.bench.wording import counted, each, number, shown

_MICRO = 1e6
# Ratios by what they are of: a base is ours too.
RATIOS: Mapping[str, frozenset[Role]] = MappingProxyType(
    {
        "Ours divided by floors and peers": frozenset({Role.FLOOR, Role.PEER}),
        "Ours divided by its base, which is ours too": frozenset({Role.BASE}),
    }
)


@dataclass(frozen=True)
class Table:
    """A caption, headings and rows of text; columns from ``figures`` on hold numbers."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figures: int


def about(report: Report) -> Table:
    """Where and with what it was measured."""
    machine = report.machine
    said = {
        "began": report.began,
        "ended": report.ended,
        "processor": machine.processor,
        "cores": str(machine.cores),
        "memory": f"{machine.memory_bytes / 2**30:.1f} GiB",
        "system": machine.system,
        "Python": machine.python,
        "load before": number(machine.load),
        "versions": _joined(report.versions),
        **{f"versions of {peer}": _joined(versions) for peer, versions in report.peers.items()},
    }
    return Table("Machine and versions", ("", ""), tuple(said.items()), figures=2)


def of_experiment(experiment: ExperimentReport) -> list[Table]:
    """Times, ratios, parts, sizes, and what was skipped, of one experiment; those that have rows."""
    places = Places(experiment)
    ratios = [_ratios(places, title, roles) for title, roles in RATIOS.items()]
    tables = [_times(places), *ratios, _parts(places), _sizes(places), _skipped(places)]
    return [table for table in tables if table.rows]


def of_changes(changed: Sequence[Change]) -> Table:
    """Now over an earlier report's."""
    return Table(
        "Against the earlier report, medians; apart: no sample of one report is among the other's",
        ("experiment", "case", "figure", "earlier", "now", "now / earlier", "apart"),
        tuple(
            (
                *(change.experiment, change.case, change.figure),
                *(_with_unit(change.earlier.median, change.unit), _with_unit(change.now.median, change.unit)),
                *(number(change.ratio), "yes" if change.apart else "no"),
            )
            for change in changed
        ),
        figures=3,
    )


class Places:
    """An experiment's cases, each named by the parameters that tell it from the others.

    ``fixed``: the other parameters, which are the same wherever a case has them, or follow from those.
    """

    def __init__(self, experiment: ExperimentReport) -> None:
        self.cases = experiment.cases
        self.varying: list[str] = []
        self.fixed: dict[str, str] = {}
        for name in dict.fromkeys(name for case in self.cases for name in case.parameters):
            values = dict.fromkeys(case.parameters[name] for case in self.cases if name in case.parameters)
            if len(values) == 1 or any(self._follows(name, other) for other in self.varying):
                self.fixed[name] = " or ".join(map(shown, values))
            else:
                self.varying.append(name)

    def _follows(self, name: str, other: str) -> bool:
        """Whether each value of ``other`` goes with one value of ``name``, where a case has that."""
        pairs = {
            (case.parameters.get(other), case.parameters[name])
            for case in self.cases
            if name in case.parameters
        }
        return len({value for value, _ in pairs}) == len(pairs)

    def name(self, case: Case, *, without: str = "") -> str:
        """A case's name in plots."""
        said = [
            counted(value, name.replace("_", " ")) if isinstance(value, int) else value
            for name in self.varying
            if name != without and (value := case.parameters.get(name)) is not None
        ]
        return ", ".join(said) or case.item

    @property
    def headings(self) -> tuple[str, ...]:
        """The columns of a case's parameters."""
        return tuple(name.replace("_", " ") for name in self.varying)

    def cells(self, case: Case) -> tuple[str, ...]:
        """A case's parameters."""
        return tuple(shown(case.parameters.get(name, "")) for name in self.varying)


def _times(places: Places) -> Table:
    rows = []
    for case in places.cases:
        for measure in case.measures:
            if measure.role in {Role.OURS, Role.BASE, Role.FLOOR, Role.PEER}:
                us = (number(value * _MICRO) for value in _values(measure.per_item))
                whole = number(measure.spread.median)
                rows.append((*places.cells(case), measure.name, case.item, *us, whole, f"{measure.items:,}"))
        if case.error is not None:
            rows.append((*places.cells(case), f"FAILED: {case.error}", *[""] * 6))
    headings = (*places.headings, "what", "item", "us an item, min", "median", "max", "s in all", "items")
    return Table("Times", headings, tuple(rows), figures=len(places.headings) + 2)


def _ratios(places: Places, title: str, roles: frozenset[Role]) -> Table:
    rows = [
        (*places.cells(case), ratio.role.value, ratio.beside, *map(number, _values(ratio.spread)))
        for case in places.cases
        for ratio in case.ratios
        if ratio.role in roles
    ]
    headings = (*places.headings, "", "beside", "min", "median", "max")
    caption = f"{title}, an item, round by round; below 1 ours takes less"
    return Table(caption, headings, tuple(rows), figures=len(places.headings) + 2)


def _parts(places: Places) -> Table:
    rows = [
        (*places.cells(case), measure.role.value, measure.name, *map(number, _values(measure.spread)))
        for case in places.cases
        for measure in case.measures
        if measure.role in {Role.PART, Role.APART}
    ]
    headings = (*places.headings, "", "what", "s, min", "median", "max")
    caption = "Parts of ours, which overlap, and what stands apart"
    return Table(caption, headings, tuple(rows), figures=len(places.headings) + 2)


def _sizes(places: Places) -> Table:
    rows = []
    for case in places.cases:
        for measure in case.measures:
            if measure.name == BYTES:
                rows.append(
                    (*places.cells(case), f"bytes {each(case.item)}", *map(number, _values(measure.per_item)))
                )
            elif measure.name == PEAK:
                rows.append((*places.cells(case), f"{PEAK}, MiB", *map(number, _values(measure.spread))))
    headings = (*places.headings, "size", "min", "median", "max")
    return Table("Bytes and memory", headings, tuple(rows), figures=len(places.headings) + 1)


def _skipped(places: Places) -> Table:
    found = dict.fromkeys((skipped.peer, skipped.why) for case in places.cases for skipped in case.skipped)
    return Table("Peers that were skipped", ("peer", "why"), tuple(found), figures=2)


def _values(spread: Spread) -> tuple[float, float, float]:
    return spread.min, spread.median, spread.max


def _with_unit(value: float, unit: str) -> str:
    return f"{number(value * _MICRO)} us" if unit == "s" else f"{number(value)} {unit}".strip()


def _joined(versions: dict[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in versions.items())
