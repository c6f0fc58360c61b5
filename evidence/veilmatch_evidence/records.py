"""One line of a party's log, and the signed head of all of it (protocol.md, 7).

A record's hash covers the record before it, so whoever knows a party's newest hash knows all that the
party ever wrote: nothing before it can change unseen.  Records stand as canonical JSON, one a line.  A
record of another job can be *withheld*: its text is left out, its hash and signature stay, and the chain
still closes.  A tag that is signed with it says to whoever knows a job's name whether it is about that job,
so whoever puts evidence together cannot withhold what belongs to it.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from veilmatch_crypto import IdentityKey, SignatureRefusedError, encode_tuple, verify
from veilmatch_evidence.actions import Action, HeadSeen
from veilmatch_evidence.errors import EvidenceRefusedError
from veilmatch_policy import canonical

FIRST: Final = bytes(32)  # what stands for the hash of the record before the first
HEADS: Final = "heads"  # what another party's head is about; no job has this name
_TIME = "%Y-%m-%dT%H:%M:%SZ"  # UTC; seconds are enough to tell an approval's end
_SALT = re.compile(r"[0-9a-f]{32}")  # 128 bits

Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Signature = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]
Sequence = Annotated[int, Field(ge=1, lt=2**63)]

_actions: TypeAdapter[Action] = TypeAdapter(Action)


class Record(BaseModel):
    """What a party did, in its place among all that it did.

    ``sequence`` counts from 1.  ``previous`` is the hash of the record before, `FIRST` at the first.
    ``about`` is the SHA-256 of ("veilmatch/1/record-about", party, sequence, previous, subject).  The subject is the
    job's name, `HEADS` for another party's head, and 16 random bytes for all else.
    ``body`` is the action with its time and a random salt of 16 bytes, None where it is withheld; ``body_sha256`` the
    SHA-256 of its canonical bytes.  ``signature`` is Ed25519 by the party over
    ("veilmatch/1/record-signature", hash).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    party: str
    sequence: Sequence
    previous: Hash
    about: Hash
    body: Mapping[str, object] | None
    body_sha256: Hash
    signature: Signature

    @classmethod
    def make(
        cls,
        party: str,
        sequence: int,
        previous: bytes,
        action: Action,
        identity: IdentityKey,
        *,
        now: datetime,
    ) -> Self:
        """Write down an action; ``now`` is an aware time, kept to the second."""
        about = _tag(party, sequence, previous, _subject(action) or secrets.token_bytes(16))
        body = {
            "time": now.astimezone(UTC).strftime(_TIME),
            # Times and actions are few: without it a withheld body could be guessed from its hash.
            "salt": secrets.token_hex(16),
            **action.model_dump(mode="json"),
        }
        content = _content(body)
        digest = _digest(party, sequence, previous, about, content)
        return cls(
            party=party,
            sequence=sequence,
            previous=previous.hex(),
            about=about.hex(),
            body=body,
            body_sha256=content.hex(),
            signature=identity.sign(_signed(digest)).hex(),
        )

    @classmethod
    def decode(cls, line: bytes) -> Self:
        """Read a line without its line break.

        Raises ValueError where it is no record, another spelling of one, or its text is not the one that was hashed.
        Neither the signature nor the place in the chain is looked at.
        """
        try:
            record = cls.model_validate_json(line)
        except ValidationError:
            raise ValueError("is no record") from None
        if record.encode() != line:
            raise ValueError("is not the canonical spelling of a record")
        if record.body is not None and _content(record.body).hex() != record.body_sha256:
            raise ValueError("holds another text than the one that was hashed")
        return record

    @property
    def digest(self) -> bytes:
        """The record's hash: SHA-256 of ("veilmatch/1/record", party, sequence, previous, about, body_sha256)."""
        previous, about, content = map(bytes.fromhex, (self.previous, self.about, self.body_sha256))
        return _digest(self.party, self.sequence, previous, about, content)

    @property
    def job(self) -> str | None:
        """The job that the record names; None where it names none, or is withheld."""
        job = None if self.body is None else self.body.get("job")
        return job if isinstance(job, str) else None

    def is_about(self, subject: str) -> bool:
        """Whether the record is about a job, by its name, or about `HEADS`: also where it is withheld."""
        return self.about == _tag(self.party, self.sequence, bytes.fromhex(self.previous), subject).hex()

    def encode(self) -> bytes:
        """Return the line, without its line break."""
        # Not model_dump: this is the path of every chunk, and the fields are plain already.
        return canonical.encode(dict(self.__dict__))

    def withheld(self) -> Self:
        """Return the record without its text, and so without its salt: its hash is the same."""
        return self.model_copy(update={"body": None})

    def read(self) -> tuple[datetime, Action] | None:
        """Return when what was done, None where it is withheld.

        Raises ValueError for an action that is none of veilmatch_evidence.actions, or another spelling of one, and
        where the record's tag is not that of its action.  Of an action that is about no job, no tag can be checked.
        """
        if self.body is None:
            return None
        fields = dict(self.body)
        salt = fields.pop("salt", None)
        if not (isinstance(salt, str) and _SALT.fullmatch(salt)):
            raise ValueError("has no salt")
        try:
            time = datetime.strptime(str(fields.pop("time", "")), _TIME).replace(tzinfo=UTC)
            action = _actions.validate_python(fields)
        except ValueError:  # pydantic's is one
            raise ValueError("is no action that a log holds") from None
        if {"time": time.strftime(_TIME), "salt": salt, **action.model_dump(mode="json")} != self.body:
            raise ValueError("is not the one spelling of its action")
        subject = _subject(action)
        if subject is not None and not self.is_about(subject):
            raise ValueError("is tagged as being about something else than it is")
        return time, action


def verify_record(record: Record, public: bytes) -> None:
    """Return if a record is signed by its party, whose identity is ``public``.  Raises SignatureRefusedError."""
    verify(public, _signed(record.digest), bytes.fromhex(record.signature))


@dataclass(frozen=True)
class Head:
    """A party's newest record: its number and hash, and the party's signature over both.

    A log without records has sequence 0 and the digest `FIRST`.
    """

    party: str
    sequence: int
    digest: bytes
    signature: bytes

    @classmethod
    def make(cls, party: str, sequence: int, digest: bytes, identity: IdentityKey) -> Self:
        """Sign the head of one's own log: ("veilmatch/1/log-head", party, sequence, digest)."""
        return cls(party, sequence, digest, identity.sign(_signed_head(party, sequence, digest)))

    @classmethod
    def of(cls, seen: HeadSeen) -> Self:
        """The head that a record says was seen."""
        return cls(seen.party, seen.sequence, bytes.fromhex(seen.digest), bytes.fromhex(seen.signature))

    def seen(self) -> HeadSeen:
        """What another party writes into its log when it is shown this head."""
        return HeadSeen(
            party=self.party,
            sequence=self.sequence,
            digest=self.digest.hex(),
            signature=self.signature.hex(),
        )


def verify_head(head: Head, public: bytes) -> None:
    """Return if a head is signed by its party, whose identity is ``public``.  Raises EvidenceRefusedError."""
    try:
        verify(public, _signed_head(head.party, head.sequence, head.digest), head.signature)
    except (SignatureRefusedError, ValueError):  # ValueError: a number that no signature can be over
        raise EvidenceRefusedError(
            f"log of {head.party}: its head {head.sequence} is not signed by {head.party}; ask who is on the line"
        ) from None


def _content(body: Mapping[str, object]) -> bytes:
    return hashlib.sha256(canonical.encode(body)).digest()


def _subject(action: Action) -> str | None:
    """What an action is about: its job's name or `HEADS`; None where it is neither."""
    subject: str | None = HEADS if isinstance(action, HeadSeen) else getattr(action, "job", None)
    return subject


def _tag(party: str, sequence: int, previous: bytes, subject: str | bytes) -> bytes:
    # The place is hashed too: otherwise all records of one job had one tag, for those who do not know it to count.
    encoded = encode_tuple("veilmatch/1/record-about", party, sequence, previous, subject)
    return hashlib.sha256(encoded).digest()


def _digest(party: str, sequence: int, previous: bytes, about: bytes, content: bytes) -> bytes:
    encoded = encode_tuple("veilmatch/1/record", party, sequence, previous, about, content)
    return hashlib.sha256(encoded).digest()


def _signed(digest: bytes) -> bytes:
    return encode_tuple("veilmatch/1/record-signature", digest)


def _signed_head(party: str, sequence: int, digest: bytes) -> bytes:
    return encode_tuple("veilmatch/1/log-head", party, sequence, digest)
