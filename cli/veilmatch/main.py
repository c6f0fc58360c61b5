"""The command `veilmatch` (policies.md, "Commands" and "Exit codes")."""

import logging
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated

import structlog
import typer

from veilmatch import show
from veilmatch.commands import bench, doctor

_INTERRUPTED = 130  # exit code: 128 and the signal's number, as shells count

_GROUPS = ("policy", "local", "node", "coordinator", "federation", "epoch", "job", "evidence")


def command_line(first: str | None = None) -> typer.Typer:
    """Return the command line; of the groups of commands only that with the name ``first``, if one has it.

    A group imports what its commands work with; with all of them `job list` would take three times as long.
    """
    app = typer.Typer(
        help=(
            "Find the people a benefit policy is meant for, "
            "without any department showing its records to another."
        ),
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for group in [first] if first in _GROUPS else _GROUPS:
        app.add_typer(import_module(f"veilmatch.commands.{group}").app, name=group)
    app.command("doctor")(doctor.doctor)
    app.command("demo")(demo)
    app.command("bench")(bench.bench)
    return app


def demo(
    out: Annotated[Path | None, typer.Option(help="Keep results, evidence and logs here.")] = None,
) -> None:
    """Run the shipped policies on the shipped data, and compare with the plaintext answer."""
    from veilmatch.demo import run  # noqa: PLC0415  only the demo reads departments' data in this process

    run(out)


def main() -> None:
    """Run the command line; every refusal is one line on standard error and an exit code."""
    _log_to_standard_error()
    # A `local run` that is told to stop stops its members too, as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _one_line():
        app = command_line(*sys.argv[1:2])
        if app(standalone_mode=False) == _INTERRUPTED:  # typer catches KeyboardInterrupt itself
            raise KeyboardInterrupt


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        _refuse("veilmatch: interrupted; nothing is running any more", 130)
    except OSError as error:
        _refuse(f"{error.filename or 'veilmatch'}: {error.strerror}; check the path and its permissions", 2)
    except Exception as error:  # noqa: BLE001  no traceback reaches a user, and no foreign message: it may quote a cell
        exit_code = getattr(error, "exit_code", None)  # every error that is raised on purpose has one
        usage = getattr(error, "format_message", None)  # typer's own: the command line is wrong
        if usage is not None:
            said = " ".join(usage().split()).rstrip(".")
            _refuse(f"veilmatch: {said or 'name a command'}; see --help", 2)
        if isinstance(exit_code, int):
            _refuse(str(error), exit_code)
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
        _refuse(f"veilmatch: internal error ({where}); please report this line", 1)


def _refuse(text: str, exit_code: int) -> None:
    show.messages.print(text, soft_wrap=True)
    sys.exit(exit_code)


def _log_to_standard_error() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        # Standard error as it is when a line is written: standard output holds results only.
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
    )
