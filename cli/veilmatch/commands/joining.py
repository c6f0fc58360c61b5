"""How a member joins, for `veilmatch node` and `veilmatch coordinator`: init, renew, join."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veilmatch import show
from veilmatch.commands.asking import UnlockOption, passphrase
from veilmatch.errors import UsageError
from veilmatch.membership.documents import Request, Signed
from veilmatch_crypto import key_fingerprint
from veilmatch_policy.directory import Role

if TYPE_CHECKING:
    from veilmatch.membership.joining import Joined

Home = Annotated[Path, typer.Option(help="The member's folder: its keys and what it gets from the root.")]
Title = Annotated[str | None, typer.Option(help="What people call the member.")]
Address = Annotated[
    str | None, typer.Option(help="host:port where others reach it; without one, a node dials out.")
]
Listen = Annotated[
    str | None, typer.Option(help="host:port to listen on, where it is not every address at that port.")
]
Reply = Annotated[Path, typer.Argument(help="The file that the root gave.")]
RootPrint = Annotated[
    str | None,
    typer.Option("--root", help="The root's fingerprint, as its office said it; only the first time."),
]
ServiceUnlock = Annotated[
    str | None,
    typer.Option(
        "--unlock",
        help="Where the service finds the passphrase: file:PATH or env:NAME [default: env:VEILMATCH_PASSPHRASE].",
    ),
]


def node_officer(
    department: Annotated[str, typer.Argument(help="The department, as its catalog names it.")],
    home: Home,
    rows: Annotated[int, typer.Option(min=0, help="How many different identities may ever be evaluated.")],
    unlock: UnlockOption = None,
) -> None:
    """Make the data officer's key, under the officer's own passphrase, and sign the first quota."""
    from veilmatch.membership.officer import make_officer  # noqa: PLC0415  needs gRPC, which `policy check` does not

    public = make_officer(home, department, rows, passphrase(unlock, "the officer", new=True))
    show.lines(
        f"{department}: the officer's key is {home / 'officer.key'}, the quota {home / 'quota.toml'}",
        [f"Its fingerprint: {show.spoken(key_fingerprint(public))}", "Next: veilmatch node init, or renew"],
    )


def node_quota(
    home: Home,
    rows: Annotated[int, typer.Option(min=0, help="How many identities; not fewer than before.")],
    unlock: UnlockOption = None,
) -> None:
    """Sign another number of identities that may be evaluated, as the data officer."""
    from veilmatch.membership.officer import sign_quota  # noqa: PLC0415  same

    sign_quota(home, rows, passphrase(unlock, "the officer"))
    show.lines(f"{home / 'quota.toml'}: {rows} identities", ["The node reads it when it is started"])


def node_init(
    department: Annotated[str, typer.Argument(help="The department, as its catalog names it.")],
    home: Home,
    title: Title = None,
    address: Address = None,
    unlock: UnlockOption = None,
) -> None:
    """Make a node's keys, encrypted, and its request to the federation's root."""
    _init(home, department, "node", title, address, unlock)


def coordinator_init(
    name: Annotated[str, typer.Argument(help="The member's name.")],
    home: Home,
    operator: Annotated[
        bool, typer.Option("--operator", help="For the operator, not the coordinator.")
    ] = False,
    title: Title = None,
    address: Address = None,
    unlock: UnlockOption = None,
) -> None:
    """Make the keys of the coordinator, or of its operator, and a request to the federation's root."""
    _init(home, name, "operator" if operator else "coordinator", title, address, unlock)


def renew(home: Home, title: Title = None, address: Address = None, unlock: UnlockOption = None) -> None:
    """Make a later request with the same keys: another title or address, or the officer's key."""
    from veilmatch.membership.home import Asked, ask_again  # noqa: PLC0415  same

    _show_request(home, ask_again(home, Asked(title, address), passphrase(unlock, "the member's keys")))


def node_join(
    reply: Reply,
    home: Home,
    data: Annotated[
        Path | None, typer.Option(help="The folder with catalog.yaml; only the first time.")
    ] = None,
    root: RootPrint = None,
    listen: Listen = None,
    unlock: ServiceUnlock = None,
) -> None:
    """Check the root's reply, and write certificate, directory and node.toml; again for each new reply."""
    joined = _join(reply, home, root, listen, data, unlock)
    if joined.made and not (home / "quota.toml").exists():
        show.lines("Still to do", ["An officer's quota for the OPRF: veilmatch node officer"])


def coordinator_join(
    reply: Reply,
    home: Home,
    root: RootPrint = None,
    listen: Listen = None,
    unlock: ServiceUnlock = None,
) -> None:
    """Check the root's reply, and write certificate, directory and configuration; again for each new reply."""
    _join(reply, home, root, listen, None, unlock)


def _init(
    home: Path, name: str, role: Role, title: str | None, address: str | None, unlock: str | None
) -> None:
    from veilmatch.membership.home import Asked, make_home  # noqa: PLC0415  same

    words = passphrase(unlock, "the member's keys", new=True)
    _show_request(home, make_home(home, name, role, Asked(title, address), words))


def _join(
    reply: Path, home: Path, root: str | None, listen: str | None, data: Path | None, unlock: str | None
) -> "Joined":
    from veilmatch.membership.joining import DEFAULT_UNLOCK, Place, join  # noqa: PLC0415  same

    place = Place(listen, data, DEFAULT_UNLOCK if unlock is None else _lasting(unlock))
    joined = join(home, reply, root, place)
    directory, role = joined.directory, joined.request.role
    start = f"veilmatch {role} serve --config {joined.config}"
    show.lines(
        f"{joined.request.name}: {role} of {directory.federation}, directory version {directory.version}",
        [
            f"members: {', '.join(sorted(directory.members))}",
            f"trustees: {', '.join(directory.trustees)}",
            f"configuration: {joined.config}" if joined.made else f"{joined.config} is as it was",
        ],
    )
    if role != "operator":
        show.lines("Next", [f"{start}" if joined.made else f"restart it: {start}"])
    return joined


def _lasting(unlock: str) -> str:
    """Where the passphrase is, as the configuration says it: a file by its whole path."""
    kind, _, where = unlock.partition(":")
    if kind not in {"file", "env"} or not where:
        raise UsageError(
            "--unlock: is neither file:PATH nor env:NAME; say one of them"
        )  # maybe the passphrase
    return f"file:{Path(where).resolve()}" if kind == "file" else unlock


def _show_request(home: Path, signed: Signed[Request]) -> None:
    name = signed.content.name
    show.lines(
        f"{name}: keys in {home}; the request is {home / f'{name}.request'}",
        [
            "Send the request to the federation's root; it holds no secret. Read this to its office:",
            show.spoken(signed.fingerprint),
        ],
    )
    if signed.content.role == "node" and signed.content.officer is None:
        show.lines("No officer's key is in it", ["Later: veilmatch node officer, then veilmatch node renew"])
