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
    "recipient": "this department asks",
    "contributor": "was asked",
    "household-register": "said who lives together",
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
    reaches = f"{answer.department} can say so since {answer.since:%Y-%m-%d %H:%M} UTC, when its log begins"
    if answer.uses:
        table = Table(title="This person's row was used", title_justify="left", show_lines=True)
        for heading in ("when (UTC), policy", "columns", "approval", "what became of it"):
            table.add_column(heading, overflow="fold")
        for use in answer.uses:
            table.add_row(
                "\n".join(_asked(use)),
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


def _asked(use: Use) -> list[str]:
    return [
        f"{use.started:%Y-%m-%d %H:%M}",
        f"{use.policy}, version {use.version}",
        f"for {use.recipient}",
        f"purpose: {use.purpose or 'none'}",
    ]


def _approval(answer: Answer, use: Use) -> list[str]:
    approval = use.approval
    if approval is None:
        return ["not needed"]
    lines = [approval.digest[:_SHORT], f"run {approval.run}"]
    if approval.signed_by is None or approval.expires is None:
        return [*lines, "not in the store any more"]
    officer = f"officer of {answer.department}"
    by = officer if approval.signed_by == "officer" else f"this machine for the {officer}"
    return [*lines, f"signed: {by}", f"until {approval.expires:%Y-%m-%d}"]


def _became(use: Use) -> list[str]:
    """Who learns of the person, and how far the job came, as far as this department's log says."""
    receives = "recipient" in use.roles
    if use.reveal == "count":
        learned = "nobody learns of the person: the office is told a number"
    elif receives:
        learned = "this department learns of its people who is eligible"
    else:
        learned = f"{use.recipient} learns of its own people who is eligible"
    if use.delivered:
        return [learned, "the result was written here"]
    left = "who is asked about" if receives else "encrypted answers"
    said = f"{left} left this department" if use.left else "nothing left this department"
    if use.refused is not None:
        return [learned, f"broken off here ({use.refused}): {said}"]
    if not use.closed:
        return [learned, f"under way, or broken off elsewhere: {said}"]
    if receives and use.reveal == "members":
        return [learned, f"ended without a result: {said}"]
    return [learned, said]
