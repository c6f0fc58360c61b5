"""`veilmatch epoch`: linkages, each used by every job until the next."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from veilmatch import show
from veilmatch.commands.choices import LinkageMode, SlotMode
from veilmatch.commands.office import AsJson, Config, office
from veilmatch.errors import JobFailedError

app = typer.Typer(help="Epochs: link the departments' tables.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Epochs: link the departments' tables."""


@app.command("open")
def epoch_open(
    config: Config,
    linkage: Annotated[LinkageMode, typer.Option(help="How people are matched.")] = LinkageMode.oprf,
    slots: Annotated[
        SlotMode,
        typer.Option(help="Whose people get slots: everybody's, or the directory's register's alone."),
    ] = SlotMode.union,
    reference_date: Annotated[
        str, typer.Option(help="Day of policies that name none, as 2025-12-31. Default: today.")
    ] = "",
) -> None:
    """Link a new epoch once no job runs; jobs that begin afterwards use it."""
    from veilmatch.departments import today  # noqa: PLC0415  reads policies too, which `epoch` does not

    with office(config) as coordinator, show.bars(f"Linkage: {linkage.value}") as bars:
        try:
            linked = coordinator.link(
                linkage.value, slots.value, reference_date or today().isoformat(), bars.step
            )
        except KeyboardInterrupt:
            raise JobFailedError(
                "epoch: a linkage that had begun goes on at the coordinator; see `veilmatch epoch show`", 130
            ) from None
    show.output.print(f"{linked.epoch}: linked, {linked.padded:,} slots")


@app.command("show")
def epoch_show(config: Config, as_json: AsJson = False) -> None:
    """Show the newest epoch, which jobs use."""
    with office(config) as coordinator:
        epoch = coordinator.epoch()
    linked = epoch.linked
    if as_json:
        told = asdict(epoch)
        show.output.print_json(json.dumps(told.pop("linked") | told, ensure_ascii=False))
        return
    show.lines(
        f"Epoch {linked.epoch}",
        [
            f"linked {epoch.at}, in {linked.seconds:.1f} seconds",
            f"linkage {epoch.linkage}, {epoch.slots} slots: {linked.padded:,}",
            f"reference date {epoch.reference_date}",
            *(f"{name}: {people:,} people" for name, people in sorted(linked.people.items())),
        ],
    )
