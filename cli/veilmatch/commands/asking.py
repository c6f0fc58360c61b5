"""What a command asks the person at the keyboard: passphrases, and whether fingerprints were compared."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from veilmatch import show
from veilmatch.errors import UsageError
from veilmatch_crypto import Passphrase

# Never the passphrase itself: other users of the machine see command lines.
UnlockOption = Annotated[
    str | None,
    typer.Option(
        "--unlock", help="Where the passphrase is: file:PATH or env:NAME; without it, it is asked for."
    ),
]
ComparedOption = Annotated[
    bool, typer.Option("--compared", help="The fingerprints were compared already: do not ask.")
]


def passphrase(unlock: str | None, whose: str, *, new: bool = False) -> Passphrase:
    """Read a passphrase, or ask for it without showing it; a new one twice.  Raises UsageError or SettingsError."""
    from veilmatch_transport import read_passphrase  # noqa: PLC0415  needs gRPC, which `policy check` does not

    read = read_passphrase(unlock, Path())
    if read is not None:
        return read
    none = UsageError("the passphrase: none was typed; say --unlock file:PATH or --unlock env:NAME")
    if not sys.stdin.isatty():  # nobody is there, or what is typed would be shown
        raise none
    try:
        typed = typer.prompt(
            f"Passphrase of {whose}", hide_input=True, confirmation_prompt=new and "Once more", err=True
        )
    except typer.Abort:
        raise none from None
    return Passphrase(typed)


def require_compared(compared: bool, lines: list[str]) -> None:
    """Show what must be the same at the other end, and ask whether it is.  Raises UsageError where it is not."""
    show.lines("Compare over the telephone, with somebody whose voice you know:", lines)
    if compared:
        return
    try:
        same = typer.confirm("Are they the same there?", err=True)
    except typer.Abort:
        same = False
    if not same:
        raise UsageError("the fingerprints: not compared, so nothing was signed; compare them first")
