"""Runs experiments one after the other, and keeps the report of all that is done."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from veilmatch.bench.kinds.base import Experiment, Lab
from veilmatch.bench.machine import our_versions, this_machine
from veilmatch.bench.peers import Peers
from veilmatch.bench.report import ExperimentReport, Report


def measure(experiments: Mapping[str, Experiment], out: Path, keep: Callable[[Report], None]) -> Report:
    """Measure all, in their order; ``keep`` is given the report so far after every case.

    What experiments write is in a folder below ``out`` that is removed.
    """
    began, machine, peers = _now(), this_machine(), Peers()
    done: dict[str, ExperimentReport] = {}
    report = Report(began=began, ended=began, machine=machine, versions=our_versions())
    with TemporaryDirectory(prefix="work-", dir=out) as folder:
        lab = Lab(Path(folder), peers)
        for name, experiment in experiments.items():
            done[name] = ExperimentReport(
                name=name, kind=experiment.kind, title=experiment.title, rounds=experiment.rounds
            )
            for case in experiment.measured(lab):
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
