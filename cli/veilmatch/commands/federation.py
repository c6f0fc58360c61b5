"""`veilmatch federation`: the root of a federation, at the office that answers for who is a member."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veilmatch import show
from veilmatch.commands.asking import ComparedOption, UnlockOption, passphrase, require_compared
from veilmatch.errors import UsageError
from veilmatch.membership.documents import Request, Signed, read_request
from veilmatch_crypto import key_fingerprint
from veilmatch_policy.directory import Member

if TYPE_CHECKING:
    from veilmatch.membership.root import Root
    from veilmatch.membership.state import State

app = typer.Typer(
    help="The root of a federation: who is a member, and what each may be.", no_args_is_help=True
)

Home = Annotated[Path, typer.Option(help="The root's folder.")]
Days = Annotated[int, typer.Option(min=1, max=3650, help="How long the certificates are valid.")]


@app.callback()
def _group() -> None:
    """The root of a federation."""


@app.command("init")
def federation_init(
    federation: Annotated[str, typer.Argument(help="The federation's name.")],
    home: Home,
    unlock: UnlockOption = None,
) -> None:
    """Make a federation's root: two private keys, encrypted, in a new folder."""
    from veilmatch.membership.root import Root  # noqa: PLC0415  needs gRPC, which `policy check` does not

    root = Root.create(home, federation, passphrase(unlock, "the root", new=True))
    show.lines(
        f"{federation}: a root without members in {home}", ["Next: veilmatch federation add REQUEST..."]
    )
    _show_root(root.public)


@app.command("add")
def federation_add(
    requests: Annotated[list[Path], typer.Argument(help="Files that members made with init.")],
    home: Home,
    days: Days = 365,
    compared: ComparedOption = False,
    unlock: UnlockOption = None,
) -> None:
    """Take members in: certificates, and the next version of the directory."""
    signed = _read(requests)
    require_compared(compared, [line for request in signed for line in _asked(request)])
    root = _open(home, unlock)
    root.add(signed, days=days)
    _signed(root)


@app.command("renew")
def federation_renew(
    members: Annotated[list[str] | None, typer.Argument(help="Members whose certificates to renew.")] = None,
    *,
    home: Home,
    request: Annotated[
        list[Path] | None, typer.Option(help="A member's later request: another address, officer, key.")
    ] = None,
    days: Days = 365,
    compared: ComparedOption = False,
    unlock: UnlockOption = None,
) -> None:
    """Issue new certificates to members, and list what later requests of theirs say."""
    if not members and not request:
        raise UsageError("federation renew: names nobody; name members, or a later request with --request")
    signed = _read(request or [])
    if signed:
        require_compared(compared, [line for each in signed for line in _asked(each)])
    root = _open(home, unlock)
    root.renew(members or [], signed, days=days)
    _signed(root)


@app.command("revoke")
def federation_revoke(
    member: Annotated[str, typer.Argument(help="The member.")],
    home: Home,
    reason: Annotated[str, typer.Option(help="Why; every member reads it in the directory.")],
    unlock: UnlockOption = None,
) -> None:
    """Take a member out, with its keys."""
    if not 1 <= len(reason) <= 200:
        raise UsageError("--reason: has 1 to 200 characters; shorten it")
    root = _open(home, unlock)
    root.revoke(member, reason, datetime.now(UTC).date())
    _signed(root)


@app.command("set")
def federation_set(
    home: Home,
    trustee: Annotated[
        list[str] | None, typer.Option(help="A trustee; repeat it, in the order in which they evaluate.")
    ] = None,
    dealer: Annotated[
        list[str] | None, typer.Option(help="Who may deal; repeat it, in order. Empty: all departments.")
    ] = None,
    register: Annotated[
        str | None, typer.Option(help="The department whose people have slots in register mode. Empty: none.")
    ] = None,
    purpose: Annotated[
        list[str] | None, typer.Option(help="CODE=MEANING; repeat it. CODE= takes the code out.")
    ] = None,
    unlock: UnlockOption = None,
) -> None:
    """Say which departments are trustees, dealers and register, and which purposes there are."""
    if trustee is None and dealer is None and register is None and purpose is None:
        raise UsageError("federation set: changes nothing; say --trustee, --dealer, --register or --purpose")
    pairs = [each.partition("=") for each in purpose or []]
    for code, equals, _ in pairs:
        if not code or not equals:
            raise UsageError(f"--purpose {code}: is not CODE=MEANING; write both")
    root = _open(home, unlock)
    root.assign(
        trustees=None if trustee is None else tuple(trustee),
        dealers=None if dealer is None else tuple(name for name in dealer if name),
        register=register,
        purposes=None if purpose is None else {code: meaning for code, _, meaning in pairs},
    )
    _signed(root)


@app.command("show")
def federation_show(home: Home) -> None:
    """Print who is a member, with what, and when certificates end; asks for no passphrase."""
    from veilmatch.membership.state import Overview  # noqa: PLC0415  same

    overview = Overview.read(home)
    state = overview.state
    show.lines(
        f"{state.federation}, version {state.version}",
        [
            line
            for name, member in state.members.items()
            for line in _listed(name, member, overview.ends(name))
        ],
    )
    show.lines("Parts", _parts(state))
    show.lines("Purposes", [f"{code}: {meaning}" for code, meaning in state.purposes.items()] or ["none"])
    show.lines(
        "Revoked", [f"{name}: {past.on}, {past.reason}" for name, past in state.revoked.items()] or ["nobody"]
    )
    _show_root(overview.public)


def _listed(name: str, member: Member, ends: datetime) -> list[str]:
    where = member.address or ("dials the coordinator" if member.role == "node" else "")
    officer = "" if member.role != "node" else "with an officer" if member.officer else "without officer"
    said = ", ".join(part for part in (member.role, member.title, where, officer) if part)
    return [
        f"{name}: {said}",
        f"  certificate until {ends:%Y-%m-%d}, SHA-256 {member.certificate}",
        f"  identity {key_fingerprint(bytes.fromhex(member.identity))}",
    ]


def _open(home: Path, unlock: str | None) -> "Root":
    from veilmatch.membership.root import Root  # noqa: PLC0415  same

    return Root.open(home, passphrase(unlock, "the root"))


def _read(paths: list[Path]) -> list[Signed[Request]]:
    return [read_request(path.read_bytes(), str(path)) for path in paths]


def _asked(signed: Signed[Request]) -> list[str]:
    request = signed.content
    where = f", reached at {request.address}" if request.address else ""
    lines = [f"{request.name} ({request.role}{where}): {show.spoken(signed.fingerprint)}"]
    if request.officer is not None:  # another person than whoever made the request
        officer = show.spoken(key_fingerprint(bytes.fromhex(request.officer)))
        lines.append(f"the officer of {request.name}: {officer}")
    return lines


def _signed(root: "Root") -> None:
    state = root.state
    if state.lacks:
        text = f"Nothing was signed: the federation still needs {state.lacks}"
        show.lines(text, [f"Members have the directory of version {state.version}, or none"])
        return
    show.lines(
        f"{state.federation}: version {state.version} is signed",
        [
            *_parts(state),
            f"Give every member its reply, in {root.folder / 'replies'}: it holds no secret",
            "Each takes it with join and restarts its service; when all have, link again",
        ],
    )
    _show_root(root.public)


def _parts(state: "State") -> list[str]:
    return [
        f"trustees: {', '.join(state.trustees) or 'the first two departments by name'}",
        f"dealers: {', '.join(state.dealers) or 'every department'}",
        f"register: {state.register_node or 'none'}",
    ]


def _show_root(public: bytes) -> None:
    show.lines("Fingerprint of the root, for members to compare", [show.spoken(key_fingerprint(public))])
