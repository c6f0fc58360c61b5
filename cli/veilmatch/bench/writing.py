"""The report's files, and its ratios on the terminal."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import rich.table
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from rich.box import SIMPLE_HEAD

from veilmatch import show
from veilmatch.bench import tables
from veilmatch.bench.changes import Change
from veilmatch.bench.plots import plots_of
from veilmatch.bench.report import ExperimentReport, Report
from veilmatch.bench.tables import Table
from veilmatch.bench.wording import counted

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
        (each.name, _summary(each), tables.of_experiment(each), [Markup(plot) for plot in plots_of(each)])  # noqa: S704  our own SVG
        for each in report.experiments
    ]
    for name, text in {
        "report.json": report.to_json(),
        "report.md": _markdown(report, changed),
        "report.html": _templates.get_template("report.html").render(
            heading=_heading(report),
            about=tables.about(report),
            failures=report.failures(),
            changes=tables.of_changes(changed),
            sections=sections,
        ),
    }.items():
        unfinished = out / f".{name}"
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(out / name)


def show_report(report: Report, out: Path, changed: Sequence[Change]) -> None:
    """Print times and ratios, and where all of it is."""
    for experiment in report.experiments:
        show.output.print(f"{experiment.name}: {experiment.title or experiment.kind}", style="bold")
        for table in tables.of_experiment(experiment):
            _print(table)
    if changed:
        _print(tables.of_changes(changed))
    show.output.print(f"{out / 'report.html'}, report.md and report.json have all of it", soft_wrap=True)


def _markdown(report: Report, changed: Sequence[Change]) -> str:
    parts = [f"# {_escaped(_heading(report))}", _markdown_table(tables.about(report))]
    parts += [f"FAILED: {_escaped(failure)}" for failure in report.failures()]
    if changed:
        parts.append(_markdown_table(tables.of_changes(changed)))
    for experiment in report.experiments:
        parts += [
            f"## {experiment.name}",
            _escaped(_summary(experiment)),
            *map(_markdown_table, tables.of_experiment(experiment)),
        ]
    return "\n\n".join(parts) + "\n"


def _heading(report: Report) -> str:
    return f"Measured: {report.title}" if report.title else "Measured"


def _summary(experiment: ExperimentReport) -> str:
    """What an experiment is, and what is the same in all of its cases."""
    said = [f"Kind {experiment.kind}", counted(experiment.rounds, "rounds")]
    fixed = tables.Places(experiment).fixed.items()
    said += [f"{name.replace('_', ' ')} {value}" for name, value in fixed]
    title = f"{experiment.title.rstrip('.')}. " if experiment.title else ""
    return f"{title}{'; '.join(said)}."


def _escaped(text: str) -> str:
    """Text as Markdown that shows it as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text)


def _markdown_table(table: Table) -> str:
    rule = ["---" if place < table.figures else "---:" for place in range(len(table.headings))]
    rows = [table.headings, tuple(rule), *table.rows]
    lines = ["| " + " | ".join(map(_escaped, row)) + " |" for row in rows]
    return f"{table.caption}:\n\n" + "\n".join(lines)


def _print(table: Table) -> None:
    shown = rich.table.Table(
        title=table.caption, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )
    for place, heading in enumerate(table.headings):
        justify: Literal["left", "right"] = "right" if place >= table.figures else "left"
        # A narrow terminal breaks lines between words, and never cuts a figure short.
        said = [heading, *(row[place] for row in table.rows)]
        longest = max(len(word) for text in said for word in [*text.split(), ""])
        shown.add_column(heading, justify=justify, min_width=longest, overflow="fold")
    for row in table.rows:
        shown.add_row(*row)
    show.output.print(shown, crop=False)
