"""`backup`, `restore` and `rotate-store-key`, of `veilmatch node` and `veilmatch coordinator` (docs/operations.md)."""

from pathlib import Path
from typing import Annotated

import typer

from veilmatch import show

Config = Annotated[Path, typer.Option(help="The service's configuration file (docs/configuration.md).")]
To = Annotated[Path, typer.Option(help="The backup's folder, made new.")]
From = Annotated[
    Path | None,
    typer.Option("--from", help="The backup's folder; leave it out where the store is in its place already."),
]
LogLost = Annotated[
    bool,
    typer.Option("--log-lost", help="The newest log is lost, too: take the backup's, at the price it has."),
]


def node_backup(config: Config, to: To) -> None:
    """Copy the node's store and log, also while it serves."""
    from veilmatch_node.backup import back_up  # noqa: PLC0415  a process loads its own role only

    about = back_up(config, to)
    show.lines(f"{to}: {about.party}, {about.made:%Y-%m-%d %H:%M} UTC", [_KEYS])


def node_restore(config: Config, source: From = None, log_lost: LogLost = False) -> None:
    """Put a backup in the place of the node's store; what was used since, by the log, stays used."""
    from veilmatch_node.backup import restore  # noqa: PLC0415  same

    restored = restore(config, source, log_lost=log_lost)
    lines = [
        f"{restored.jobs} jobs since then are debited again; approvals of {restored.decided} requests are given up",
        "Jobs are closed and the epoch is forgotten: have the office link again",
    ]
    if log_lost:
        lines.append("Without the log: every approval is given up, and this year's budgets are spent")
    show.lines("restored", lines)


def rotate_store_key(config: Config) -> None:
    """Lock the node's store under a new key; the node must not run."""
    from veilmatch_node.store_key import rotate_store_key as rotate  # noqa: PLC0415  same

    old = rotate(config)
    show.lines("the store has a new key", [f"{old} opens older backups only; delete it with them"])


def coordinator_backup(config: Config, to: To) -> None:
    """Copy the coordinator's store and log, also while it serves."""
    from veilmatch_coordinator.backup import back_up  # noqa: PLC0415  same

    about = back_up(config, to)
    show.lines(f"{to}: {about.party}, {about.made:%Y-%m-%d %H:%M} UTC", [_KEYS])


def coordinator_restore(config: Config, source: From = None, log_lost: LogLost = False) -> None:
    """Put a backup in the place of the coordinator's store; jobs that had not ended end."""
    from veilmatch_coordinator.backup import restore  # noqa: PLC0415  same

    ended = restore(config, source, log_lost=log_lost)
    show.lines("restored", [f"{ended} jobs ended by that; the epoch is forgotten: open a new one"])


_KEYS = "Configuration and keys are not in it: keep them apart from it"
