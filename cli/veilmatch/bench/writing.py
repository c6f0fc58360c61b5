"""The report's files, and its ratios on the terminal."""

from collections.abc import Sequence
from pathlib import Path

import rich.table
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from veilmatch import show
from veilmatch.bench import tables
from veilmatch.bench.changes import Change
from veilmatch.bench.plots import plots_of
from veilmatch.bench.report import Report
from veilmatch.bench.tables import Table

_templates = Environment(
    loader=PackageLoader("veilmatch.bench"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_report(report: Report, out: Path, changed: Sequence[Change]) -> None:
    """Write report.json, report.md and report.html, each at once in its earlier one's place."""
    sections = [
        (experiment, tables.Places(experiment).fixed, tables.of_experiment(experiment))
        for experiment in report.experiments
    ]
    for name, text in {
        "report.json": report.to_json(),
        "report.md": _markdown(report, changed),
        "report.html": _templates.get_template("report.html").render(
            about=tables.about(report),
            failures=report.failures(),
            changes=tables.of_changes(changed),
            sections=[
                (experiment, fixed, shown, [Markup(plot) for plot in plots_of(experiment)])  # noqa: S704  our own SVG
                for experiment, fixed, shown in sections
            ],
        ),
    }.items():
        unfinished = out / f".{name}"
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(out / name)


def show_report(report: Report, out: Path, changed: Sequence[Change]) -> None:
    """Print times and ratios, and where all of it is."""
    for experiment in report.experiments:
        show.output.print(f"{experiment.name}: {experiment.title}", style="bold")
        for table in tables.of_experiment(experiment):
            _print(table)
    if changed:
        _print(tables.of_changes(changed))
    show.output.print(f"{out / 'report.html'}, report.md and report.json have all of it", soft_wrap=True)


def _markdown(report: Report, changed: Sequence[Change]) -> str:
    parts = ["# Measured", _markdown_table(tables.about(report))]
    parts += [f"FAILED: {failure}" for failure in report.failures()]
    if changed:
        parts.append(_markdown_table(tables.of_changes(changed)))
    for experiment in report.experiments:
        fixed = "; ".join(
            f"{name.replace('_', ' ')} {value}" for name, value in tables.Places(experiment).fixed.items()
        )
        parts += [
            f"## {experiment.name}",
            f"{experiment.title or experiment.kind}. Kind {experiment.kind}, {experiment.rounds} rounds. {fixed}",
            *map(_markdown_table, tables.of_experiment(experiment)),
        ]
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    rule = ["---" if place < table.figures else "---:" for place in range(len(table.headings))]
    rows = [table.headings, tuple(rule), *table.rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return f"{table.caption}:\n\n" + "\n".join(lines)


def _print(table: Table) -> None:
    shown = rich.table.Table(title=table.caption, title_justify="left")
    for place, heading in enumerate(table.headings):
        shown.add_column(heading, justify="right" if place >= table.figures else "left")
    for row in table.rows:
        shown.add_row(*row)
    show.output.print(shown)
