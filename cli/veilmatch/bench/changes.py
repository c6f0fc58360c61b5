"""What changed since an earlier report: the same cases' times, ratios, bytes and memory."""

from collections.abc import Iterator
from dataclasses import dataclass

from veilmatch.bench.report import BYTES, PEAK, Case, Report, Spread
from veilmatch.bench.wording import each


@dataclass(frozen=True)
class Change:
    """One figure of a case in both reports, in ``unit``.

    Times of two days on a shared machine differ whatever we do; the ratio to a floor of the same run tells.
    """

    experiment: str
    case: str
    figure: str
    unit: str
    earlier: Spread
    now: Spread

    @property
    def ratio(self) -> float:
        """Now over earlier, medians."""
        return self.now.median / self.earlier.median

    @property
    def apart(self) -> bool:
        """Whether no sample of one report is among the other's."""
        return self.now.min > self.earlier.max or self.now.max < self.earlier.min


def changes(now: Report, earlier: Report | None) -> list[Change]:
    """Compare what both reports have; nothing without an earlier one."""
    known = {} if earlier is None else dict(_figures(earlier))
    return [
        Change(*place, unit, known[place][1], spread)
        for place, (unit, spread) in _figures(now)
        if place in known and known[place][1].median > 0
    ]


def _figures(report: Report) -> Iterator[tuple[tuple[str, str, str], tuple[str, Spread]]]:
    """By experiment, case and name: unit and spread."""
    for experiment in report.experiments:
        for case in experiment.cases:
            for name, unit, spread in _of_case(case):
                yield (experiment.name, case.title, name), (unit, spread)


def _of_case(case: Case) -> Iterator[tuple[str, str, Spread]]:
    for measure in case.measures:
        if measure is case.ours:
            yield f"time {each(case.item)}", "s", measure.per_item
        elif measure.name == BYTES:
            yield f"bytes {each(case.item)}", "B", measure.per_item
        elif measure.name == PEAK:
            yield PEAK, "MiB", measure.spread
    for ratio in case.ratios:
        yield f"ours / {ratio.beside}", "", ratio.spread
