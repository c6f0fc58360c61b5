"""What became of every row that was read, for the rows' owner: numbers and reasons, never a value."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from veilmatch_node.whole_file import write_whole


class RefusedRow(NamedTuple):
    """A row that was left out or that cannot be read whole: its number, from 1, and why."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class TableReport:
    """One table's rows.

    ``rows``: rows of data in the source.  ``people``: distinct people with a valid identifier.
    ``duplicates``: rows that said again what an earlier row of the person said.
    ``identifiers_refused``: rows left out because of the identifier, by reason (identifiers.py).
    ``listed``: every refused row, with one entry for each reason.
    """

    table: str
    rows: int
    people: int
    duplicates: int
    identifiers_refused: Mapping[str, int]
    listed: tuple[RefusedRow, ...]

    @property
    def refused(self) -> int:
        """How many rows were refused, each counted once."""
        return len({row for row, _ in self.listed})

    @property
    def reasons(self) -> Mapping[str, int]:
        """How often each reason occurs in ``listed``."""
        return Counter(reason for _, reason in self.listed)


@dataclass(frozen=True, slots=True)
class Report:
    """What was read from a department's tables; ``people`` are distinct over all of them.

    ``outside_register``: how many of them the register does not have, and no policy of the epoch finds;
    None before the slots are known, and in union mode, which has no register.  ``collective``: how many
    households of its register are too large and taken as single persons; None where nobody asked for them.
    """

    department: str
    people: int
    tables: tuple[TableReport, ...]
    outside_register: int | None = None
    collective: int | None = None


def write_refused(report: Report, path: Path) -> None:
    """Write ``refused.csv`` (columns table, row, reason), readable by its owner alone."""
    _write_rows(_rows(report), path)


def add_refused(report: Report, folder: Path) -> None:
    """Add a job's rows to ``FOLDER/refused.csv``: it reads cells that the linkage before it did not."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "refused.csv"
    rows = set(_rows(report))
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            rows.update((table, int(row), reason) for table, row, reason in list(csv.reader(file))[1:])
    _write_rows(sorted(rows), path)


def write_collective(report: Report, folder: Path) -> None:
    """Write ``FOLDER/households.json`` of a job that asked for households: what was taken as single persons."""
    if report.collective is not None:
        text = json.dumps({"collective_households": report.collective}) + "\n"
        write_whole(folder / "households.json", text.encode())


def _rows(report: Report) -> list[tuple[str, int, str]]:
    return [(table.table, row, reason) for table in report.tables for row, reason in table.listed]


def _write_rows(rows: Iterable[tuple[str, int, str]], path: Path) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("table", "row", "reason"))
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode())


def write_report(report: Report, folder: Path) -> None:
    """Write ``FOLDER/linkage.json`` (numbers and reasons) and ``FOLDER/refused.csv`` (row by row)."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(as_json(report), ensure_ascii=False, indent=2) + "\n"
    write_whole(folder / "linkage.json", text.encode())
    write_refused(report, folder / "refused.csv")


def as_json(report: Report) -> dict[str, object]:
    """Return the report's numbers."""
    refused: Counter[str] = Counter()
    for table in report.tables:
        refused.update(table.identifiers_refused)
    return {
        "rows": sum(table.rows for table in report.tables),
        "people": report.people,
        "refused_identifiers": dict(refused),
        "refused_rows": dict(sum((Counter(table.reasons) for table in report.tables), Counter())),
        "duplicates": sum(table.duplicates for table in report.tables),
        "outside_register": report.outside_register,
    }
