"""What a person sees: progress bars while it runs, tables when it is done."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # the module needs gRPC, and what is shown does not
    from veilmatch.client import Submission
    from veilmatch_node.desk import BudgetLine

_STAGES = {"link": "rows linked", "contribute": "slots contributed", "open": "slots opened"}

# Progress and remarks go to standard error, results to standard output.  Nothing that is printed is markup:
# a policy's title is shown as it is written.
messages = Console(stderr=True, highlight=False, markup=False, emoji=False)
output = Console(highlight=False, markup=False, emoji=False)


@dataclass(frozen=True)
class Row:
    """One policy's line in the result table; ``equal`` is None where nothing was compared."""

    policy: str
    eligible: str
    seconds: float
    transferred: int
    equal: bool | None = None


class Bars:
    """Progress bars, one a stage and department, made when the first step comes."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[tuple[str, str], TaskID] = {}

    def step(self, stage: str, department: str, done: int, total: int) -> None:
        """Show how far a stage is."""
        if (stage, department) not in self._bars:
            text = f"{department}: {_STAGES.get(stage, stage)}"
            self._bars[stage, department] = self._progress.add_task(text, total=total)
        self._progress.update(self._bars[stage, department], completed=done, total=total)


@contextmanager
def bars(title: str) -> Iterator[Bars]:
    """Show a title and bars while the context is open."""
    columns = (
        TextColumn("  {task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    messages.print(title, style="bold")
    with Progress(*columns, console=messages) as progress:
        yield Bars(progress)


def results(rows: Sequence[Row]) -> None:
    """Print the result table."""
    table = Table(title="Results", title_justify="left")
    table.add_column("policy", no_wrap=True)
    for heading in ("eligible", "seconds, with linkage", "bytes"):
        table.add_column(heading, justify="right")
    compared = any(row.equal is not None for row in rows)
    if compared:
        table.add_column("equals the plaintext answer")
    for row in rows:
        cells: list[str | Text] = [
            row.policy,
            row.eligible,
            f"{row.seconds:.1f}",
            f"{row.transferred:,}",
        ]
        if compared:
            cells.append("yes" if row.equal else Text("NO", style="red"))
        table.add_row(*cells)
    output.print(table)


class States:
    """Tells a job's states as they change."""

    def __init__(self) -> None:
        self._told: tuple[str, str] | None = None

    def tell(self, job: "Submission") -> None:
        """Print a state, with its reason, unless it was the last one."""
        if self._told != (job.state, job.reason):
            self._told = (job.state, job.reason)
            messages.print(f"  {job.state}{f': {job.reason}' if job.reason else ''}", soft_wrap=True)


def jobs(submissions: Sequence["Submission"]) -> None:
    """Print a table of jobs."""
    table = Table()
    for heading in ("job", "state"):
        table.add_column(heading, no_wrap=True)
    for heading in ("policies", "recipient", "submitted (UTC)"):
        table.add_column(heading)
    for each in submissions:
        table.add_row(each.job, each.state, ", ".join(each.policies), each.recipient, _minute(each.submitted))
    output.print(table)


def job(submission: "Submission") -> None:
    """Print what there is to say about a job."""
    times = (submission.submitted, submission.started, submission.ended)
    said = {
        "state": submission.state,
        "reason": submission.reason,
        "policies": ", ".join(submission.policies),
        "recipient": submission.recipient,
        "operator": submission.operator,
        "key": f"{submission.key_bits} bits",
        "epoch": submission.epoch,
        "submitted, started, ended (UTC)": ", ".join(_minute(time) if time else "-" for time in times),
    }
    lines(f"Job {submission.job}", [f"{name}: {value}" for name, value in said.items() if value])


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")


def lines(heading: str, texts: Sequence[str]) -> None:
    """Print a heading and lines below it."""
    output.print(heading, style="bold")
    for text in texts:
        output.print(f"  {text}", soft_wrap=True)


def spoken(digest: str) -> str:
    """A fingerprint as people read it to each other: groups of four digits."""
    return " ".join(digest[start : start + 4] for start in range(0, len(digest), 4))


def trust(*, alone: bool = True, extra_dealer: bool) -> None:
    """Say whom this machine stands for: ``alone``, for every officer too."""
    if alone:
        messages.print(
            "This machine stands for every department's officer: all policies are approved (trust: one-machine).",
            soft_wrap=True,
        )
    if extra_dealer:
        messages.print(
            "Every department has a part in some policy, so one process more, without data, is the dealer.",
            soft_wrap=True,
        )


def row_of(result: Mapping[str, object], equal: bool | None = None) -> Row:
    """Make a table line of a result.json."""
    match result:
        case {
            "policy": str(policy),
            "seconds": {"total": float(total)},
            "bytes": {"coordinator": dict(moved)},
        }:
            return Row(policy, _eligible(result), total, moved["sent"] + moved["received"], equal)
        case _:
            raise ValueError("a result.json without policy, seconds and bytes")


def _eligible(result: Mapping[str, object]) -> str:
    match result:
        case {"vary": list(bounds)}:
            return ", ".join(f"{each['bound']}: {_counted(each['eligible'], result)}" for each in bounds)
        case {"eligible": found}:
            return _counted(found, result)
        case _:
            raise ValueError("a result.json without eligible")


def _counted(found: object, result: Mapping[str, object]) -> str:
    """A number, or that it is smaller than the smallest that the policy lets be told."""
    return f"{found:,}" if isinstance(found, int) else f"fewer than {result['min_count']}"


def budget(line: "BudgetLine") -> str:
    """One line of a department's budgets: what is gone, what a job would take, and when some of it comes back."""
    from veilmatch_policy.budgets import MILLION  # noqa: PLC0415  needs sqlglot, which most commands do not

    scale = MILLION if line.kind == "epsilon" else 1
    gone, limit, units = (f"{amount / scale:g}" for amount in (line.spent, line.limit, line.units))
    what = f"columns {line.what}" if line.kind == "runs" else "epsilon, all data"
    takes = f", this takes {units}" if line.units else ""
    free = "" if line.next_free is None else f", the oldest is free again on {line.next_free:%Y-%m-%d}"
    return f"{what}, {line.receiver}: {gone} of {limit} gone in this {line.window}{takes}{free}"
