"""What a member and the federation's root send each other: a request, and a reply.

Neither holds a secret, and both may pass through anybody's hands: the request is signed by the member's
identity key, the reply by the root.  Whose keys these are, people say to each other by another way:
they compare fingerprints.
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Generic, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from veilmatch.errors import DocumentRefusedError
from veilmatch_crypto import IdentityKey, SignatureRefusedError, encode_tuple, verify
from veilmatch_policy import canonical, names
from veilmatch_policy.directory import Hex32, Role

_Pem = Annotated[str, StringConstraints(max_length=8192)]
_Signature = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]  # Ed25519, hex
# host:port, an IPv6 address in brackets; empty: none
Address = Annotated[str, StringConstraints(pattern=r"^(?:(?:[^\s:\[\]]+|\[[0-9a-fA-F:.]+\]):\d{1,5})?$")]
MemberName = Annotated[str, AfterValidator(names.name)]  # it becomes a file's name


class Document(BaseModel):
    """What can be signed here."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Request(Document):
    """What a member asks the root to list: its public keys, and where it is reached."""

    name: MemberName
    role: Role
    title: Annotated[str, StringConstraints(max_length=200)] = ""
    address: Address = ""  # where it listens; empty: it dials the coordinator
    made: AwareDatetime  # a later request of a member replaces an earlier one, never the reverse
    certificate: _Pem  # PKCS #10
    identity: Hex32
    sealing: Hex32 | None = None
    officer: Hex32 | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.role == "node") != (self.sealing is not None):
            raise ValueError("a node, and nobody else, has a sealing key")
        if self.officer is not None and self.role != "node":
            raise ValueError("only a node has an officer")
        if self.role == "coordinator" and not self.address:
            raise ValueError("a coordinator has an address")
        return self


class Reply(Document):
    """What the root gives a member: its certificate, and all that it needs to know the others by."""

    member: MemberName
    root: Hex32  # the root's Ed25519 public key
    tls_root: _Pem
    certificate: _Pem
    directory: Annotated[str, Field(max_length=1 << 20)]  # federation.toml
    signature: _Signature  # the root's, of the directory (federation.toml.sig)


_D = TypeVar("_D", bound=Document)


@dataclass(frozen=True)
class Signed(Generic[_D]):
    """A document with the bytes that were signed."""

    content: _D
    statement: bytes
    signature: bytes

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the statement, 64 hex digits: what people compare."""
        return hashlib.sha256(self.statement).hexdigest()

    def encode(self) -> bytes:
        """Return the file: canonical JSON of the statement's text and the signature."""
        return canonical.encode({"statement": self.statement.decode(), "signature": self.signature.hex()})


class _Envelope(Document):
    statement: str
    signature: _Signature


def sign(content: _D, key: IdentityKey) -> Signed[_D]:
    """Sign a document; what it is for is part of what is signed."""
    statement = canonical.encode(content.model_dump(mode="json", exclude_none=True))
    return Signed(content, statement, key.sign(_signed_bytes(type(content), statement)))


def read(data: bytes, kind: type[_D], where: str) -> Signed[_D]:
    """Read a document whose signature is yet to be checked.  Raises DocumentRefusedError for what is none."""
    try:
        envelope = _Envelope.model_validate(canonical.decode(data))
        statement = envelope.statement.encode()
        content = kind.model_validate(canonical.decode(statement))
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"
        raise DocumentRefusedError(f"{where}: is no {_name(kind)} ({what}); get it again") from None
    except ValueError:
        raise DocumentRefusedError(f"{where}: is no {_name(kind)}; get it again") from None
    return Signed(content, statement, bytes.fromhex(envelope.signature))


def require_signed(document: Signed[_D], public: bytes, where: str) -> None:
    """Raise DocumentRefusedError unless this key signed the document, as one of its kind."""
    try:
        verify(public, _signed_bytes(type(document.content), document.statement), document.signature)
    except SignatureRefusedError:
        raise DocumentRefusedError(
            f"{where}: is not signed by the key that it names; get it again, by another way"
        ) from None


def read_request(data: bytes, where: str) -> Signed[Request]:
    """Read a request and check that its maker has the identity key.  Raises DocumentRefusedError."""
    request = read(data, Request, where)
    require_signed(request, bytes.fromhex(request.content.identity), where)
    return request


def _signed_bytes(kind: type[Document], statement: bytes) -> bytes:
    return encode_tuple(f"veilmatch/1/federation-{_name(kind)}", statement)


def _name(kind: type[Document]) -> str:
    return kind.__name__.lower()
