"""`veilmatch bench`: measure, and write what was measured."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from veilmatch.errors import UsageError


def bench(
    out: Annotated[Path, typer.Option(help="Folder for report.json, report.md and report.html.")],
    experiments: Annotated[
        str, typer.Argument(help="File of experiments, or `quick` or `full`, which are shipped.")
    ] = "quick",
    only: Annotated[str | None, typer.Option(help="Only the experiment of this name.")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Rounds of each experiment, instead of the file's.")
    ] = None,
    against: Annotated[Path | None, typer.Option(help="An earlier report.json, to be compared with.")] = None,
) -> None:
    """Measure ours next to floors and peers; `quick` takes minutes, `full` hours."""
    if find_spec("jinja2") is None:
        raise UsageError("bench: its page needs Jinja2; install veilmatch[node,coordinator,console]")
    from veilmatch.bench.changes import changes  # noqa: PLC0415  all of this needs what other commands do not
    from veilmatch.bench.errors import MeasurementError  # noqa: PLC0415
    from veilmatch.bench.experiments import load_experiments  # noqa: PLC0415
    from veilmatch.bench.measuring import measure  # noqa: PLC0415
    from veilmatch.bench.report import read_report  # noqa: PLC0415
    from veilmatch.bench.writing import show_report, write_report  # noqa: PLC0415

    file = load_experiments(experiments)
    chosen = file.only(only, rounds)
    earlier = None if against is None else read_report(against)
    out.mkdir(parents=True, exist_ok=True)
    report = measure(
        file.title, chosen, out, lambda so_far: write_report(so_far, out, changes(so_far, earlier))
    )
    show_report(report, out, changes(report, earlier))
    failures = report.failures()
    if failures:
        raise MeasurementError("; ".join(failures))
