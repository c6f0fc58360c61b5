"""`veilmatch node`: a department's node."""

from pathlib import Path
from typing import Annotated

import typer

from veilmatch.commands import account, approvals, backup, disclosures, joining
from veilmatch.commands.leaving import leave

app = typer.Typer(help="A department's node.", no_args_is_help=True)

Config = Annotated[Path, typer.Option(help="The node's configuration file (docs/configuration.md).")]


@app.callback()
def _group() -> None:
    """A department's node."""


app.add_typer(account.app, name="account")
app.add_typer(approvals.app, name="approvals")
app.command("backup")(backup.node_backup)
app.command("restore")(backup.node_restore)
app.command("rotate-store-key")(backup.rotate_store_key)
app.command("disclosures")(disclosures.node_disclosures)
app.command("officer")(joining.node_officer)
app.command("init")(joining.node_init)
app.command("join")(joining.node_join)
app.command("renew")(joining.renew)
app.command("quota")(joining.node_quota)


@app.command("serve")
def node_serve(config: Config) -> None:
    """Run a department's node until it is told to stop."""
    from veilmatch_node.serve import serve  # noqa: PLC0415  a process loads its own role only: half the start

    serve(config)
    leave()
