"""`veilmatch node disclosures`: the citizen's view, for the department's front desk."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from veilmatch import show

if TYPE_CHECKING:
    from veilmatch_node.disclosures import Answer, Use

_SHORT = 12  # hex digits that are shown of an approval, as in `node approvals list`
_ROLES = {
    "recipient": "decides by it",
    "contributor": "was asked",
    "household-register": "says who lives together",
}


def node_disclosures(
    config: Annotated[Path, typer.Option(help="The node's configuration file (docs/configuration.md).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which policies used a person's row, by the identifier that is read from standard input."""
    from veilmatch_node.front_desk import open_disclosures  # noqa: PLC0415  a department's command loads its own role only

    with open_disclosures(config) as disclosures:
        answer = disclosures.of(_identifier())
    if as_json:
        show.output.print_json(json.dumps(asdict(answer), default=_moment, ensure_ascii=False))
    else:
        _print(answer)


def _identifier() -> bytes:
    """One line, never an argument: other users of the machine see command lines."""
    if sys.stdin.isatty():
        show.messages.print("The person's identifier, then Enter:")
    return sys.stdin.buffer.readline().rstrip(b"\r\n")


def _moment(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    raise TypeError(f"{type(value).__name__} is nothing that an answer holds")


def _print(answer: Answer) -> None:
    reaches = f"{answer.department} knows since {answer.since:%Y-%m-%d %H:%M} UTC, when its log begins"
    if answer.uses:
        table = Table(title="This person's row was used", title_justify="left", show_lines=True)
        table.add_column("when (UTC)")
        for heading in ("policy", "columns", "approval", "what became of it"):
            table.add_column(heading, overflow="fold")
        for use in answer.uses:
            table.add_row(
                f"{use.started:%Y-%m-%d %H:%M}",
                "\n".join(_policy(use)),
                "\n".join([*(use.columns or ["none by name"]), *(f"({_ROLES[role]})" for role in use.roles)]),
                "\n".join(_approval(answer, use)),
                "\n".join(_became(use)),
            )
        show.output.print(table)
    else:
        show.output.print("This person's row was not used by any policy", soft_wrap=True)
    if answer.not_remembered:
        show.output.print(
            f"Of {answer.not_remembered} jobs it is not known: the store does not remember whom their epochs linked",
            soft_wrap=True,
        )
    show.output.print(reaches, soft_wrap=True)
