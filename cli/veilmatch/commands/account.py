"""`veilmatch node account`: who may open the data officer's page."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from veilmatch import show
from veilmatch.errors import UsageError

if TYPE_CHECKING:
    from veilmatch_node.console.accounts import Accounts

app = typer.Typer(help="Accounts of the data officer's page.", no_args_is_help=True)

Config = Annotated[Path, typer.Option(help="The node's configuration file, with [console].")]
Name = Annotated[str, typer.Argument(help="The account's name: letters, digits, dots, - and _.")]


@app.callback()
def _group() -> None:
    """Accounts of the data officer's page."""


@app.command("add")
def account_add(
    name: Name,
    config: Config,
    role: Annotated[
        Literal["officer", "reader"], typer.Option(help="officer: may decide; reader: may only look.")
    ] = "officer",
    password_file: Annotated[
        Path | None,
        typer.Option(help="Holds the password; without it, it is asked for, or read from standard input."),
    ] = None,
) -> None:
    """Add an account, or give one another password and role; the page need not be restarted."""
    _accounts(config).add(name, _password(password_file), role)
    show.lines(f"{name}: {role}", ["Who was logged in under this name has to log in again"])


@app.command("list")
def account_list(config: Config) -> None:
    """Print the accounts."""
    for name, account in _accounts(config).read().items():
        show.output.print(f"{name}: {account.role}", soft_wrap=True)


@app.command("remove")
def account_remove(name: Name, config: Config) -> None:
    """Take an account out; whoever is logged in under this name is out at once."""
    _accounts(config).remove(name)


def _accounts(config: Path) -> "Accounts":
    from veilmatch_node.config import NodeConfig  # noqa: PLC0415  needs gRPC, which `policy check` does not
    from veilmatch_node.console.accounts import Accounts  # noqa: PLC0415  same
    from veilmatch_transport import load_settings  # noqa: PLC0415  same

    console = load_settings(config, NodeConfig).console
    if console is None:
        raise UsageError(f"{config}: has no section [console]; add it (docs/configuration.md)")
    return Accounts(console.accounts)


def _password(file: Path | None) -> str:
    """The password, never an argument: other users of the machine see command lines."""
    if file is not None:
        return _first_line(file.read_text(encoding="utf-8"))
    if not sys.stdin.isatty():
        return _first_line(sys.stdin.readline())
    try:
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt="Once more", err=True))
    except typer.Abort:
        raise UsageError("the password: none was typed; type it, or say --password-file") from None


def _first_line(text: str) -> str:
    return text.partition("\n")[0].removesuffix("\r")
