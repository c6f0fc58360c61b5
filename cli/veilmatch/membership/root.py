"""The federation's root: a folder on a machine that needs no network, and what is decided there.

It holds two private keys, encrypted: ``root.key`` (Ed25519) signs directories, ``tls.key`` members'
certificates.  ``state.json`` is what the next directory will say (state.py).  Every change that leaves a
complete federation is signed at once as the directory's next version, with a reply for each member.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Self

from veilmatch.errors import UsageError
from veilmatch.membership.documents import Reply, Request, Signed, read_request, sign
from veilmatch.membership.state import TRUSTEES, Overview, State
from veilmatch_crypto import (
    CertificateRefusedError,
    Credential,
    IdentityKey,
    Passphrase,
    Validity,
    fingerprint,
    issue_requested,
    make_root,
)
from veilmatch_node.whole_file import write_whole
from veilmatch_policy.directory import (
    Member,
    Revocation,
    encode_directory,
    open_directory,
    signed_bytes,
)
from veilmatch_transport import SettingsError, read_secret, read_tls_key, server_name
from veilmatch_transport.settings import read_file

ROOT_DAYS = 3650  # the TLS root outlives every certificate; another root is another federation
MEMBER_DAYS = 365


class Root:
    """An opened root: what it is told it signs."""

    def __init__(self, folder: Path, identity: IdentityKey, tls: Credential, state: State) -> None:
        self.folder = folder
        self.state = state
        self._identity = identity
        self._tls = tls

    @property
    def public(self) -> bytes:
        """The Ed25519 key that members know the federation by."""
        return self._identity.public

    @classmethod
    def create(cls, folder: Path, federation: str, passphrase: Passphrase) -> Self:
        """Make a federation without members in a new folder (mode 0700).

        Raises UsageError where the folder holds a root already or the name has no or more than 64 characters,
        and KeyFileError for a passphrase that is too short.
        """
        if (folder / "root.key").exists():
            raise UsageError(f"{folder}: holds a root already; name another folder")
        identity = IdentityKey.generate()
        try:
            tls = make_root(federation, Validity.for_days(ROOT_DAYS))
        except CertificateRefusedError as error:
            raise UsageError(
                f"{federation}: cannot be a federation's name ({error}); choose another"
            ) from None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for below in ("directories", "replies"):
            (folder / below).mkdir(exist_ok=True)
        write_whole(folder / "root.pub", identity.public.hex().encode() + b"\n")
        write_whole(folder / "root.pem", tls.certificate)
        write_whole(folder / "tls.key", passphrase.lock("tls", tls.key).encode())
        root = cls(folder, identity, tls, State(federation=federation))
        root._keep()
        write_whole(folder / "root.key", passphrase.lock("root", identity.to_bytes()).encode())
        return root

    @classmethod
    def open(cls, folder: Path, passphrase: Passphrase) -> Self:
        """Open a root's folder.  Raises SettingsError or DocumentRefusedError."""
        overview = Overview.read(folder)
        identity = IdentityKey.from_bytes(read_secret(folder / "root.key", "root", passphrase))
        if identity.public != overview.public:
            raise SettingsError(f"{folder / 'root.pub'}: is not of root.key; restore both")
        tls = Credential(read_file(folder / "root.pem"), read_tls_key(folder / "tls.key", passphrase))
        return cls(folder, identity, tls, overview.state)

    def add(self, requests: Sequence[Signed[Request]], *, days: int = MEMBER_DAYS) -> None:
        """Take new members in.  Raises UsageError for a name or key that is another's."""
        for request in requests:
            name = request.content.name
            if name in self.state.members:
                raise UsageError(f"{name}: is a member already; see federation renew")
            if request.content.role == "coordinator":
                self._require_no_coordinator(name)
            self._require_new_keys(request.content)
            self._change(revoked={n: past for n, past in self.state.revoked.items() if n != name})
            self._admit(request, days)
        self._publish()

    def renew(
        self, names: Iterable[str], requests: Sequence[Signed[Request]] = (), *, days: int = MEMBER_DAYS
    ) -> None:
        """Issue new certificates: to members by name for what they asked before, or for later requests of theirs.

        A later request may bring another address, title, TLS key, sealing key or officer's key.  Raises
        UsageError for a stranger, another identity key or role, and a request that is not later.
        """
        for name in names:
            self._require_member(name)
            self._admit(self._request(name), days)
        for request in requests:
            new = request.content
            self._require_member(new.name)
            old = self._request(new.name).content
            if (new.identity, new.role) != (old.identity, old.role):
                raise UsageError(
                    f"{new.name}: asks with another identity key or role; revoke it, and add it with new keys"
                )
            if new.made <= old.made:
                raise UsageError(f"{new.name}: its request is not later than the last; get the newest")
            self._admit(request, days)
        self._publish()

    def revoke(self, name: str, reason: str, on: date) -> None:
        """Take a member out.  Raises UsageError for a stranger and for one that has a department's part."""
        self._require_member(name)
        state = self.state
        for part, names in (
            ("a trustee", state.trustees),
            ("a dealer", state.dealers),
            ("the register", (state.register_node,)),
        ):
            if name in names:
                raise UsageError(f"{name}: is {part}; name others with federation set, then revoke it")
        self._change(
            members={each: member for each, member in state.members.items() if each != name},
            certificates={each: pem for each, pem in state.certificates.items() if each != name},
            revoked={**state.revoked, name: Revocation(on=on, reason=reason)},
        )
        self._publish()

    def assign(
        self,
        *,
        trustees: tuple[str, ...] | None = None,
        dealers: tuple[str, ...] | None = None,
        register: str | None = None,
        purposes: Mapping[str, str] | None = None,
    ) -> None:
        """Say which departments have which part, and which purposes there are; None leaves a part as it is.

        No dealers: every department may deal.  An empty register: none.  A purpose without a meaning is
        taken out.  Raises UsageError for whoever is no department, or twice trustee or dealer.
        """
        changes: dict[str, object] = {}
        if trustees is not None:
            changes["trustees"] = self._departments("trustee", trustees)
        if dealers is not None:
            changes["dealers"] = self._departments("dealer", dealers)
        if register is not None:
            [changes["register_node"]] = self._departments("register", (register,)) if register else [None]
        if purposes is not None:
            merged = {**self.state.purposes, **purposes}
            changes["purposes"] = {code: meaning for code, meaning in merged.items() if meaning}
        self._change(**changes)
        self._publish()

    def _admit(self, request: Signed[Request], days: int) -> None:
        asked = request.content
        try:
            certificate = issue_requested(
                self._tls,
                asked.certificate.encode(),
                asked.name,
                hosts=[*_host(asked.address), server_name(asked.name)],
                validity=Validity.for_days(days),
            )
        except CertificateRefusedError as error:
            raise UsageError(
                f"{asked.name}: gets no certificate ({error}); correct --days or the request"
            ) from None
        member = Member(
            role=asked.role,
            title=asked.title,
            address=asked.address,
            certificate=fingerprint(certificate),
            identity=asked.identity,
            sealing=asked.sealing,
            officer=asked.officer,
        )
        self._change(
            members={**self.state.members, asked.name: member},
            certificates={**self.state.certificates, asked.name: certificate.decode()},
            requests={**self.state.requests, asked.name: request.encode().decode()},
        )

    def _publish(self) -> None:
        """Keep the state, and where the federation is complete sign it as the next version of the directory."""
        if self.state.lacks:
            self._keep()
            return
        departments = sorted(name for name, member in self.state.members.items() if member.role == "node")
        trustees = self.state.trustees or tuple(departments[:TRUSTEES])
        self._change(version=self.state.version + 1, trustees=trustees)
        data = self._directory()
        signature = self._identity.sign(signed_bytes(data))
        open_directory(data, signature, self.public)  # whatever the members would refuse is refused here
        kept = self.folder / "directories" / f"{self.state.version}.toml"
        if kept.exists():
            raise SettingsError(f"{kept}: is signed already, so state.json is an old one; restore the newest")
        self._keep()  # first: no version is ever signed twice
        for path in (kept, self.folder / "federation.toml"):
            write_whole(path, data)
            write_whole(path.with_name(path.name + ".sig"), signature.hex().encode() + b"\n")
        for name in self.state.members:
            reply = Reply(
                member=name,
                root=self.public.hex(),
                tls_root=self._tls.certificate.decode(),
                certificate=self.state.certificates[name],
                directory=data.decode(),
                signature=signature.hex(),
            )
            path = self.folder / "replies" / f"{name}.reply"
            write_whole(path, sign(reply, self._identity).encode())

    def _directory(self) -> bytes:
        state = self.state
        return encode_directory(
            state.federation,
            state.version,
            state.trustees,
            state.members,
            state.purposes,
            dealers=state.dealers,
            register=state.register_node,
            revoked=state.revoked,
        )

    def _keep(self) -> None:
        write_whole(self.folder / "state.json", sign(self.state, self._identity).encode())

    def _change(self, **changes: Any) -> None:
        self.state = self.state.model_copy(update=changes)

    def _require_member(self, name: str) -> None:
        if name not in self.state.members:
            there = ", ".join(self.state.members) or "nobody"
            raise UsageError(f"{name}: is no member; members are {there}")

    def _require_no_coordinator(self, name: str) -> None:
        for other, member in self.state.members.items():
            if member.role == "coordinator":
                raise UsageError(f"{name}: is a second coordinator; revoke {other} first")

    def _require_new_keys(self, request: Request) -> None:
        """Also of those who were revoked: their keys were revoked with them."""
        for name in self.state.requests:
            if self._request(name).content.identity == request.identity:
                raise UsageError(
                    f"{request.name}: its identity key is one that {name} joined with; make new keys"
                )

    def _departments(self, part: str, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            self._require_member(name)
            if self.state.members[name].role != "node":
                raise UsageError(f"{name}: is no department and cannot be {part}; name a department")
            if names.count(name) > 1:
                raise UsageError(f"{name}: is named twice as {part}; name it once")
        return names

    def _request(self, name: str) -> Signed[Request]:
        return read_request(self.state.requests[name].encode(), name)


def _host(address: str) -> tuple[str, ...]:
    return (address.rpartition(":")[0].strip("[]"),) if address else ()
