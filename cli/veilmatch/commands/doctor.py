"""`veilmatch doctor`: whether a member's machine and its peers are as they should be."""

import json
from pathlib import Path
from typing import Annotated

import typer

from veilmatch import show
from veilmatch.commands.office import AsJson
from veilmatch.errors import UnwellError

Config = Annotated[Path, typer.Option(help="The configuration file of a node, a coordinator or an operator.")]


def doctor(config: Config, as_json: AsJson = False) -> None:
    """Look at configuration, keys, certificates, store, log, disk, databases and peers; say what to do."""
    from veilmatch.doctor import examine  # noqa: PLC0415  needs gRPC and more, which `policy check` does not

    lines = []
    for line in examine(config):
        lines.append(line)
        if not as_json:
            show.output.print(str(line), soft_wrap=True)
    if as_json:
        told = [
            {
                "check": each.check,
                "status": each.word,
                "what": each.finding.what,
                "remedy": each.finding.remedy,
            }
            for each in lines
        ]
        show.output.print_json(json.dumps(told, ensure_ascii=False))
    unwell = [each.check for each in lines if each.word == "failed"]
    if unwell:
        raise UnwellError(f"{config}: {', '.join(unwell)}: failed; do what the lines above say")
