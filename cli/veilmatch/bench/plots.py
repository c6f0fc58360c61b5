"""Which plots an experiment has: whatever its cases give."""

from collections.abc import Callable

from veilmatch.bench import svg
from veilmatch.bench.report import BYTES, Case, ExperimentReport, Measure, Role, Spread
from veilmatch.bench.tables import RATIOS, Places
from veilmatch.bench.wording import each

_MICRO = 1e6


def plots_of(experiment: ExperimentReport) -> list[str]:
    """Time and bytes an item against people, shares of the parts, ratios: SVG elements."""
    places = Places(experiment)
    found = [
        _against_people(places, "Time, us {item}", lambda case: case.ours, _MICRO),
        _against_people(places, "Bytes {item}", _bytes, 1),
        _shares(places),
        *(_ratios(places, title, roles) for title, roles in RATIOS.items()),
    ]
    return [plot for plot in found if plot]


def _against_people(
    places: Places, title: str, measure_of: Callable[[Case], Measure | None], scale: float
) -> str:
    series: dict[str, list[svg.Point]] = {}
    for case in places.cases:
        measure, people = measure_of(case), case.parameters.get("people")
        if measure is not None and isinstance(people, int):
            point = _point(measure.per_item, people, scale)
            series.setdefault(places.name(case, without="people"), []).append(point)
    if len({point.x for line in series.values() for point in line}) < 2:
        return ""
    return svg.lines(title.format(item=each(places.cases[0].item)), "people", series)


def _shares(places: Places) -> str:
    rows = {
        places.name(case): {
            measure.name: measure.spread.median for measure in case.measures if measure.role is Role.PART
        }
        for case in places.cases
    }
    rows = {name: parts for name, parts in rows.items() if parts}
    return svg.shares("Stages, each as a share of their sum (they overlap)", rows) if rows else ""


def _ratios(places: Places, title: str, roles: frozenset[Role]) -> str:
    rows = [
        (f"{places.name(case)} / {ratio.beside}", _point(ratio.spread, 0, 1))
        for case in places.cases
        for ratio in case.ratios
        if ratio.role in roles
    ]
    return svg.ranges(f"{title}: min, median, max; below 1 ours takes less", rows) if rows else ""


def _bytes(case: Case) -> Measure | None:
    return next((measure for measure in case.measures if measure.name == BYTES), None)


def _point(spread: Spread, x: float, scale: float) -> svg.Point:
    return svg.Point(x, spread.min * scale, spread.median * scale, spread.max * scale)
