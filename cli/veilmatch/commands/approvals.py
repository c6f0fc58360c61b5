"""`veilmatch node approvals`: the data officer's desk, for whoever prefers a terminal or signs elsewhere."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veilmatch import show
from veilmatch.commands.asking import UnlockOption, passphrase
from veilmatch.errors import UsageError
from veilmatch_crypto import IdentityKey
from veilmatch_policy.approvals import (
    Decision,
    SignedDecision,
    decode_request,
    new_name,
    sign_decision,
)

if TYPE_CHECKING:
    from veilmatch_node.desk import Desk, Held, Waiting

app = typer.Typer(help="The data officer's desk.", no_args_is_help=True)

Config = Annotated[Path, typer.Option(help="The node's configuration file (docs/configuration.md).")]
Name = Annotated[str, typer.Argument(help="The beginning of its name in the list, or all of it.")]
Key = Annotated[Path, typer.Option(help="File of the officer's private key.")]
Runs = Annotated[int, typer.Option(min=1, help="How many jobs may use the approval.")]
Until = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="The last day of the approval; without it a year from today."),
]
Reason = Annotated[str, typer.Option(help="Why, in a sentence that the coordinating office reads.")]
Out = Annotated[Path, typer.Option(help="The file to write.")]

_SHORT = 12  # hex digits that lists show of a name


@app.callback()
def _group() -> None:
    """The data officer's desk."""


@app.command("list")
def list_(config: Config) -> None:
    """Say what waits for a decision, what was decided, and what is left of the budgets."""
    from veilmatch_node.desk_access import open_desk  # noqa: PLC0415  a department's command loads its own role only

    with open_desk(config) as desk:
        waiting = [_waiting_line(each) for each in desk.waiting()]
        decided = [_held_line(each) for each in desk.decisions()]
        budgets = [show.budget(line) for line in desk.budgets()]
    show.lines("Waiting for a decision", waiting or ["nothing"])
    show.lines("Decided", decided or ["nothing"])
    show.lines("Budgets, as used within the year", budgets or ["nothing was used"])


@app.command("show")
def show_(name: Name, config: Config) -> None:
    """Say in words what a policy asks of this department, and what each party would learn."""
    from veilmatch_node.console.shown import shown_request  # noqa: PLC0415  same
    from veilmatch_node.desk_access import open_desk  # noqa: PLC0415  same
    from veilmatch_policy.words import ENGLISH  # noqa: PLC0415  same

    with open_desk(config) as desk:
        request = shown_request(desk, _waiting(desk, name), ENGLISH)
    policy = request.policy
    show.lines(f"{policy.name}, version {policy.version}: {policy.title}", [f"asked {request.received}"])
    show.lines("What it is about", [f"{fact.name}: {fact.said}" for fact in request.facts])
    show.lines(
        "Columns that are read here",
        [f"{each.column.name} (table {each.column.table}): {each.fresh}" for each in request.columns],
    )
    show.lines("What leaves this department", request.leaves)
    show.lines("What each department does", request.plan)
    show.lines("What each party learns", request.learned)
    show.lines("Decisions elsewhere", [f"{fact.name}: {fact.said}" for fact in request.others])
    if request.similar:
        show.lines(
            "Warning: approved policies that share all but one condition with it",
            [f"{each.name}, version {each.version}" for each in request.similar],
        )
    if request.changes is not None:
        show.lines(f"Changed since the approval of {request.approved_before}", request.text_changes)
    show.lines(
        "Budgets", [f"{each.name}, {each.receiver}, {each.window}: {each.said}" for each in request.budgets]
    )


@app.command()
def approve(
    name: Name,
    config: Config,
    officer_key: Key,
    runs: Runs = 12,
    until: Until = None,
    unlock: UnlockOption = None,
) -> None:
    """Approve what waits, until a day and for a number of jobs."""
    from veilmatch_node.desk_access import open_desk  # noqa: PLC0415  same

    key = _officer(officer_key, unlock)
    with open_desk(config) as desk:
        signed = desk.approve(_waiting(desk, name).digest, key, runs=runs, expires=_end_of(until))
    _say(signed)


@app.command()
def refuse(name: Name, config: Config, officer_key: Key, reason: Reason, unlock: UnlockOption = None) -> None:
    """Refuse what waits, with the reason."""
    from veilmatch_node.desk_access import open_desk  # noqa: PLC0415  same

    key = _officer(officer_key, unlock)
    with open_desk(config) as desk:
        signed = desk.refuse(_waiting(desk, name).digest, key, reason=reason)
    _say(signed)


@app.command()
def revoke(name: Name, config: Config, officer_key: Key, reason: Reason, unlock: UnlockOption = None) -> None:
    """Revoke an approval: a job that rests on it stops."""
    from veilmatch_node.desk_access import open_desk  # noqa: PLC0415  same

    key = _officer(officer_key, unlock)
    with open_desk(config) as desk:
        approvals = [held.signed.digest for held in desk.decisions() if held.decision.kind == "approve"]
        signed = desk.revoke(_one(approvals, name), key, reason=reason)
    _say(signed)


@app.command()
def export(name: Name, config: Config, out: Out) -> None:
    """Write what waits to a file, to be decided on another machine."""
    from veilmatch_node.desk_access import open_desk  # noqa: PLC0415  same
    from veilmatch_node.whole_file import write_whole  # noqa: PLC0415  same

    with open_desk(config) as desk:
        write_whole(out, desk.export(_waiting(desk, name).digest))
    show.messages.print(f"{out}: the request; decide it with `veilmatch node approvals sign`")


@app.command()
def sign(
    request: Annotated[Path, typer.Argument(help="The file that export wrote.")],
    officer_key: Key,
    out: Out,
    runs: Runs = 12,
    until: Until = None,
    refuse: Annotated[
        str | None, typer.Option(help="Refuse it, for this reason, instead of approving.")
    ] = None,
    unlock: UnlockOption = None,
) -> None:
    """Decide an exported request; needs neither the node nor its configuration."""
    from veilmatch_node.whole_file import write_whole  # noqa: PLC0415  same
    from veilmatch_policy.words import asked_in_words  # noqa: PLC0415  same

    asked, policy = decode_request(request.read_bytes(), str(request))
    show.lines(
        f"{policy.name}, version {policy.version}: {policy.title}",
        [f"{fact.name}: {fact.said}" for fact in asked_in_words(asked, policy, {})],
    )
    show.lines("The policy", policy.source.decode().splitlines())
    key = _officer(officer_key, unlock)
    decision = Decision(
        kind="approve" if refuse is None else "refuse",
        name=new_name(),
        request=asked,
        decided=datetime.now(UTC),
        by="officer",
        expires=_end_of(until) if refuse is None else None,
        runs=runs if refuse is None else None,
        reason=refuse or "",
    )
    signed = sign_decision(decision, key)
    write_whole(out, signed.encode())
    _say(signed)


@app.command("import")
def import_(
    decision: Annotated[Path, typer.Argument(help="The file that sign wrote.")], config: Config
) -> None:
    """Take a decision that was signed on another machine."""
    from veilmatch_node.desk_access import open_desk  # noqa: PLC0415  same

    with open_desk(config) as desk:
        signed = desk.take(decision.read_bytes())
    _say(signed)


def _say(signed: SignedDecision) -> None:
    decision = signed.decision
    what = f"{decision.request.policy}, version {decision.request.version}"
    until = (
        "" if decision.expires is None else f" until {decision.expires:%Y-%m-%d}, for {decision.runs} jobs"
    )
    done = {"approve": "approved", "refuse": "refused", "revoke": "revoked"}[decision.kind]
    show.messages.print(f"{what}: {done}{until} ({signed.digest.hex()[:_SHORT]})", soft_wrap=True)


def _waiting(desk: "Desk", name: str) -> "Waiting":
    return desk.waiting_for(_one([each.digest for each in desk.waiting()], name))


def _one(digests: Sequence[bytes], name: str) -> bytes:
    found = [digest for digest in digests if digest.hex().startswith(name.lower())]
    if len(found) != 1:
        raise UsageError(
            f"{name}: names {len(found)} of what there is; look at `veilmatch node approvals list`"
        )
    return found[0]


def _officer(path: Path, unlock: str | None) -> IdentityKey:
    from veilmatch_transport import read_secret  # noqa: PLC0415  needs gRPC, which `policy check` does not

    return IdentityKey.from_bytes(read_secret(path, "officer", passphrase(unlock, "the officer's key")))


def _end_of(until: datetime | None) -> datetime:
    """The last second of a day, in UTC."""
    day: date = (datetime.now(UTC) + timedelta(days=365)).date() if until is None else until.date()
    return datetime.combine(day, time(23, 59, 59), UTC)


def _waiting_line(waiting: "Waiting") -> str:
    request = waiting.request
    return (
        f"{waiting.digest.hex()[:_SHORT]}  {request.policy}, version {request.version}, "
        f"for {request.recipient}, asked {waiting.received:%Y-%m-%d %H:%M}"
    )


def _held_line(held: "Held") -> str:
    decision = held.decision
    used = f", {held.used} of {decision.runs} runs used" if decision.runs is not None else ""
    return (
        f"{held.signed.digest.hex()[:_SHORT]}  {decision.request.policy}, version {decision.request.version}: "
        f"{held.state}{used}, decided {decision.decided:%Y-%m-%d %H:%M}"
    )
