"""What the commands of the coordinating office share: its configuration, and the line to its coordinator."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from veilmatch.client import Operator

Config = Annotated[Path, typer.Option(help="The operator's configuration file (docs/configuration.md).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def office(config: Path) -> Iterator[Operator]:
    """Call the coordinator as the operator of a configuration file.

    Raises SettingsError, DirectoryError or CredentialError for what the file says or names.
    """
    from veilmatch.client import Operator  # noqa: PLC0415  needs gRPC, which `policy check` does not
    from veilmatch.operator import read_operator  # noqa: PLC0415  same

    directory, tls = read_operator(config)
    name = directory.coordinator
    operator = Operator(directory.member(name).address, name, tls)
    try:
        yield operator
    finally:
        operator.close()
