"""The command `veilmatch` (policies.md, "Commands" and "Exit codes")."""

import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import structlog
import typer

from veilmatch import show
from veilmatch.departments import catalogs_of, check_everything, load_departments, load_policies, today
from veilmatch.grouping import jobs_of, needs_extra_dealer
from veilmatch_policy.check import check_policy
from veilmatch_policy.examples import run_examples
from veilmatch_policy.words import cost_in_words, learned_in_words, plan_in_words, stale_in_words


class LinkageMode(StrEnum):
    """How people are matched (protocol.md, 3)."""

    oprf = "oprf"
    shared_key = "shared-key"


class SlotMode(StrEnum):
    """Whose people have slots (protocol.md, 3 step 4)."""

    union = "union"
    register = "register"


class KeyBits(StrEnum):
    """Length of the Paillier modulus."""

    short = "2048"
    usual = "3072"


_INTERRUPTED = 130  # exit code: 128 and the signal's number, as shells count

app = typer.Typer(
    help="Find the people a benefit policy is meant for, without any department showing its records to another.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
policy_app = typer.Typer(help="Policies: check one before it is sent anywhere.", no_args_is_help=True)
local_app = typer.Typer(help="A whole federation on this machine.", no_args_is_help=True)
node_app = typer.Typer(help="A department's node.", no_args_is_help=True)
coordinator_app = typer.Typer(help="The coordinating office.", no_args_is_help=True)
app.add_typer(policy_app, name="policy")
app.add_typer(local_app, name="local")
app.add_typer(node_app, name="node")
app.add_typer(coordinator_app, name="coordinator")

Departments = Annotated[
    Path, typer.Option(help="Folder with one folder a department (catalog.yaml and its data).")
]
Config = Annotated[Path, typer.Option(help="The service's configuration file (docs/configuration.md).")]


@app.command()
def demo(
    out: Annotated[Path | None, typer.Option(help="Keep results, evidence and logs here.")] = None,
) -> None:
    """Run the shipped policies on the shipped data, and compare with the plaintext answer."""
    from veilmatch.demo import run  # noqa: PLC0415  only the demo reads departments' data in this process

    run(out)


@policy_app.command("check")
def check(policy: Annotated[Path, typer.Argument(help="The policy file.")], departments: Departments) -> None:
    """Refuse what can be refused without running; run the examples; say what each department would do."""
    catalogs = catalogs_of(load_departments(departments))
    parsed = load_policies([policy])[0]
    checked = check_policy(parsed, catalogs, today())
    reference_date = parsed.reference_date or today()
    examples = run_examples(checked, reference_date)
    show.lines(
        f"{parsed.name}, version {parsed.version}: {parsed.title}",
        [f"{examples} worked examples come out as expected"],
    )
    show.lines("What each department does", plan_in_words(checked))
    show.lines("What it costs", cost_in_words(checked))
    show.lines("What each party learns", learned_in_words(checked, reference_date))
    stale = stale_in_words(checked, today())
    if stale:
        show.lines("Warning: data that is too old", stale)


@local_app.command("run")
def local_run(
    policies: Annotated[list[Path], typer.Argument(help="Policy files, run in this order over one linkage.")],
    departments: Departments,
    out: Annotated[Path, typer.Option(help="Folder for results, reports, evidence and logs.")],
    linkage: Annotated[LinkageMode, typer.Option(help="How people are matched.")] = LinkageMode.oprf,
    key_bits: Annotated[
        KeyBits, typer.Option(help="Length of the recipient's Paillier modulus.")
    ] = KeyBits.usual,
    slots: Annotated[
        SlotMode, typer.Option(help="Whose people get slots: everybody's, or the household register's alone.")
    ] = SlotMode.union,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Worker processes of each member.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Run policies in a whole federation on this machine, one process a member, mutual TLS between them."""
    from veilmatch.running import RunSettings, local_federation, register_of  # noqa: PLC0415  needs gRPC, which `policy check` does not

    parsed = load_policies(policies)
    loaded = load_departments(departments)
    check_everything(loaded, parsed)
    settings = RunSettings(linkage.value, int(key_bits.value), workers, slots.value)
    register = register_of(parsed, settings)
    catalogs = catalogs_of(loaded)
    jobs = jobs_of(parsed, catalogs, today())
    extra_dealer = needs_extra_dealer(jobs, catalogs, today())
    show.trust(extra_dealer=extra_dealer)
    results: dict[str, dict[str, object]] = {}
    with local_federation(loaded, out, settings, extra_dealer=extra_dealer, register=register) as federation:
        with show.bars(f"Linkage: {settings.linkage}") as bars:
            federation.link(settings, bars.step)
        for job in jobs:
            with show.bars("; ".join(f"{policy.name}: {policy.title}" for policy in job)) as bars:
                found = federation.run(job, settings.key_bits, bars.step)
            results |= {policy.name: result for policy, result in zip(job, found, strict=True)}
    ordered = [results[policy.name] for policy in parsed]
    if as_json:
        show.output.print_json(json.dumps(ordered, ensure_ascii=False))
    else:
        show.results([show.row_of(result) for result in ordered])


@node_app.command("serve")
def node_serve(config: Config) -> None:
    """Run a department's node until it is told to stop."""
    from veilmatch_node.serve import serve  # noqa: PLC0415  a process loads its own role only: half the start

    serve(config)
    _leave()


@coordinator_app.command("serve")
def coordinator_serve(config: Config) -> None:
    """Run the coordinator until it is told to stop."""
    from veilmatch_coordinator.serve import serve  # noqa: PLC0415  same

    serve(config)
    _leave()


def main() -> None:
    """Run the command line; every refusal is one line on standard error and an exit code."""
    _log_to_standard_error()
    # A `local run` that is told to stop stops its members too, as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _one_line():
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


def _leave() -> NoReturn:
    # A task whose call was cut may still be inside DuckDB or Arrow, in a thread of its own.  Python's own end
    # would tear the thread out there and abort the process; what must last is on disk already.
    os._exit(0)


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
