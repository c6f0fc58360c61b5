"""What the root has decided, as its folder keeps it.

``state.json`` is signed by the root, so that whoever lacks the passphrase cannot slip a member in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from cryptography import x509

from veilmatch.membership.documents import Document, read, require_signed
from veilmatch_policy.directory import Member, Revocation
from veilmatch_transport import SettingsError
from veilmatch_transport.settings import read_file

TRUSTEES = 2  # protocol.md, 1: where nobody names others


class State(Document):
    """What the next directory says."""

    federation: str
    version: int = 0  # of the newest signed directory; 0: none yet
    members: Mapping[str, Member] = {}
    certificates: Mapping[str, str] = {}  # of members, PEM
    requests: Mapping[str, str] = {}  # what members asked for last, as they signed it; also of those revoked
    revoked: Mapping[str, Revocation] = {}
    trustees: tuple[str, ...] = ()
    dealers: tuple[str, ...] = ()
    register_node: str | None = None
    purposes: Mapping[str, str] = {}

    @property
    def lacks(self) -> str:
        """What a directory still needs before it can be signed; empty: nothing."""
        roles = [member.role for member in self.members.values()]
        if roles.count("coordinator") != 1:
            return "a coordinator"
        return "two departments" if roles.count("node") < TRUSTEES else ""


@dataclass(frozen=True)
class Overview:
    """What the root's folder says, for whoever looks: no passphrase is needed."""

    folder: Path
    public: bytes
    state: State

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a root's folder.  Raises SettingsError or DocumentRefusedError."""
        try:
            public = bytes.fromhex(read_file(folder / "root.pub").decode("ascii").strip())
        except ValueError:
            raise SettingsError(f"{folder / 'root.pub'}: is not a public key in hex; restore it") from None
        path = folder / "state.json"
        signed = read(read_file(path), State, str(path))
        require_signed(signed, public, str(path))
        return cls(folder, public, signed.content)

    def ends(self, name: str) -> datetime:
        """When a member's certificate ends."""
        return x509.load_pem_x509_certificate(self.state.certificates[name].encode()).not_valid_after_utc
