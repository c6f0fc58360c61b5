"""`veilmatch job`: the coordinating office's desk."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veilmatch import show
from veilmatch.commands.choices import KeyBits
from veilmatch.commands.office import AsJson, Config, office
from veilmatch.errors import JobFailedError

if TYPE_CHECKING:
    from veilmatch.client import Submission

app = typer.Typer(help="Jobs of a running coordinator.", no_args_is_help=True)

Job = Annotated[str, typer.Argument(help="The job's name, as `job submit` printed it.")]

_MOST = 1000  # jobs that a coordinator lists at once


@app.callback()
def _group() -> None:
    """Jobs of a running coordinator."""


@app.command("submit")
def job_submit(
    policies: Annotated[list[Path], typer.Argument(help="Policy files.")],
    config: Config,
    key_bits: Annotated[
        KeyBits, typer.Option(help="Length of the recipient's Paillier modulus.")
    ] = KeyBits.usual,
    as_json: AsJson = False,
) -> None:
    """Queue policies at the coordinator; those of one recipient that ask the same become one job."""
    from veilmatch.departments import load_policies  # noqa: PLC0415  the other commands read no policy
    from veilmatch.grouping import submissions_of  # noqa: PLC0415  same

    jobs = submissions_of(load_policies(policies))
    queued: list[Submission] = []
    with office(config) as coordinator:
        try:
            for job in jobs:
                sources = [policy.source for policy in job]
                queued.append(coordinator.submit(sources, int(key_bits.value)))
        finally:  # where one is refused, the others before it are queued all the same
            if as_json:
                _print_json([asdict(each) for each in queued])
            else:
                for each in queued:
                    show.output.print(f"{each.job}: {', '.join(each.policies)}", soft_wrap=True)
    if not as_json:
        show.messages.print(
            f"Watch it: veilmatch job watch {queued[-1].job} --config {config}", soft_wrap=True
        )


@app.command("list")
def job_list(
    config: Config,
    last: Annotated[int, typer.Option(min=1, max=_MOST, help="How many jobs to list at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List jobs: those that have not ended first, then the newest."""
    with office(config) as coordinator:
        jobs = coordinator.jobs(last)
    if as_json:
        _print_json([asdict(each) for each in jobs])
    else:
        show.jobs(jobs)


@app.command("show")
def job_show(job: Job, config: Config, as_json: AsJson = False) -> None:
    """Show what became of a job so far."""
    with office(config) as coordinator:
        submission = coordinator.job(job)
    if as_json:
        _print_json(asdict(submission))
    else:
        show.job(submission)


@app.command("watch")
def job_watch(job: Job, config: Config) -> None:
    """Follow a job until it ends, with its exit code; leaving changes nothing for the job."""
    with office(config) as coordinator, show.bars(f"Job {job}") as bars:
        try:
            coordinator.watch(job, bars.step, show.States().tell)
        except KeyboardInterrupt:
            raise JobFailedError(
                f"{job}: goes on at the coordinator; watch it again, or cancel it", 130
            ) from None
    show.messages.print(
        f"complete; its results: veilmatch job result {job} --config {config}", soft_wrap=True
    )


@app.command("cancel")
def job_cancel(job: Job, config: Config) -> None:
    """End a job, whether it is queued, waits or runs; at every department it is erased."""
    with office(config) as coordinator:
        submission = coordinator.cancel(job)
    if submission.state == "cancelled":
        show.output.print(f"{job}: cancelled", soft_wrap=True)
    else:
        show.output.print(f"{job}: is told to end, and does when its departments answer", soft_wrap=True)


@app.command("result")
def job_result(job: Job, config: Config) -> None:
    """Print the coordinator's copies of a complete job's results, as JSON: numbers only where a count is revealed."""
    with office(config) as coordinator:
        results = coordinator.result(job)
    _print_json(results)


def _print_json(value: object) -> None:
    show.output.print_json(json.dumps(value, ensure_ascii=False))
