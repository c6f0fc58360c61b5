"""`veilmatch coordinator`: the coordinating office's service."""

from pathlib import Path
from typing import Annotated

import typer

from veilmatch.commands import backup, joining
from veilmatch.commands.leaving import leave

app = typer.Typer(help="The coordinating office.", no_args_is_help=True)

Config = Annotated[Path, typer.Option(help="The coordinator's configuration file (docs/configuration.md).")]


@app.callback()
def _group() -> None:
    """The coordinating office."""


app.command("backup")(backup.coordinator_backup)
app.command("restore")(backup.coordinator_restore)
app.command("init")(joining.coordinator_init)
app.command("join")(joining.coordinator_join)
app.command("renew")(joining.renew)


@app.command("serve")
def coordinator_serve(config: Config) -> None:
    """Run the coordinator until it is told to stop."""
    from veilmatch_coordinator.serve import serve  # noqa: PLC0415  same

    serve(config)
    leave()
