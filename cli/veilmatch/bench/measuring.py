"""Runs experiments one after the other, and keeps the report of all that is done."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from veilmatch.bench.kinds.base import REFUSALS, Experiment, Lab, line_of
from veilmatch.bench.machine import our_versions, this_machine
from veilmatch.bench.peers import Peers
from veilmatch.bench.report import Case, ExperimentReport, Report


def measure(
    title: str, experiments: Mapping[str, Experiment], out: Path, keep: Callable[[Report], None]
) -> Report:
    """Measure all, in their order, under the file's ``title``; ``keep`` is given the report after every case.

    What experiments write is in a folder below ``out`` that is removed.
    """
    began, machine, peers = _now(), this_machine(), Peers()
    done: dict[str, ExperimentReport] = {}
    report = Report(title=title, began=began, ended=began, machine=machine, versions=our_versions())
    with TemporaryDirectory(prefix="work-", dir=out) as folder:
        lab = Lab(Path(folder), peers)
        for name, experiment in experiments.items():
            done[name] = ExperimentReport(
                name=name, kind=experiment.kind, title=experiment.title, rounds=experiment.rounds
            )
            for case in _cases(experiment, lab):
                done[name] = done[name].model_copy(update={"cases": (*done[name].cases, case)})
                report = report.model_copy(
                    update={
                        "ended": _now(),
                        "experiments": tuple(done.values()),
                        "peers": dict(peers.versions),
                    }
                )
                keep(report)
    return report


def _cases(experiment: Experiment, lab: Lab) -> Iterator[Case]:
    """Its cases; where it ends before them, one that says why: later experiments are measured all the same."""
    try:
        yield from experiment.measured(lab)
    except REFUSALS as error:
        yield Case(parameters={}, item="its remaining cases", error=line_of(error))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
