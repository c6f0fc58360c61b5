"""The manifest of a job: the one document that every key and every byte of the job is bound to.

protocol.md, 7: (0) each department declares what its catalog says of the amounts that it is asked;
(1) the draft goes to every party; (2) each returns a fresh key signed over
H(draft); (3) the manifest is draft, keys and signatures, and H of its exact bytes is the
salt of every derived key.  Nothing here does I/O or holds a secret.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from veilmatch_crypto import MAX_CONTRIBUTIONS, PublicKey, SignatureRefusedError, encode_tuple, verify
from veilmatch_policy import canonical
from veilmatch_policy.declarations import DepartmentEntry, declarations_of
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import LinkageMode, OpenEpoch
from veilmatch_policy.errors import ManifestError
from veilmatch_policy.plan import Plan
from veilmatch_policy.planning import derive_plan
from veilmatch_policy.policy import Policy, parse_policy

# 393,216 bytes a chunk at 3072 bits, 31,232 people: a message well below gRPC's limits.
CHUNK_CIPHERTEXTS = 512

# Until a manifest expires: a job's keys and ciphertexts are erased then at the latest.
LONGEST = timedelta(days=7)

MOST_POLICIES = 64  # of one job; a run with more is several jobs
MOST_OUTCOMES = 1024  # of one job: each is an encryption and an opening of every slot

Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Hex = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2})*$")]


class OutcomeEntry(BaseModel):
    """An outcome of the plan as the manifest states it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    index: Annotated[int, Field(ge=0, lt=2**32)]
    contributors: Annotated[
        tuple[str, ...], Field(min_length=1, max_length=MAX_CONTRIBUTIONS)
    ]  # headroom of a slot: protocol.md, 4.2
    opened: Literal["answer", "shares"]  # as in 4.6, or as in 5.1


class Draft(BaseModel):
    """Step 1: everything about the job but its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    job: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    federation: str
    directory: Hash
    epoch: Hash  # the epoch's context
    linkage: LinkageMode
    padded: Annotated[int, Field(ge=1, lt=2**32)]  # slots of the epoch, dummies included
    policies: Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_POLICIES)]  # the policy files
    declarations: tuple[DepartmentEntry, ...]
    reference_date: date  # the epoch's, for policies that name none
    recipient: str
    recipient_rows: Annotated[int, Field(ge=0)]
    registrar: str | None  # who tells the coordinator who lives with whom
    dealer: str | None  # who gives the randomness of the circuits
    participants: Annotated[tuple[str, ...], Field(min_length=2)]
    outcomes: Annotated[tuple[OutcomeEntry, ...], Field(min_length=1, max_length=MOST_OUTCOMES)]
    key_bits: Literal[2048, 3072]
    chunk_ciphertexts: Annotated[int, Field(ge=1, le=CHUNK_CIPHERTEXTS)]
    expires: AwareDatetime

    def encode(self) -> bytes:
        """Return the canonical bytes that the parties' keys are signed over."""
        return canonical.encode(self.model_dump(mode="json"))


class PartyKeys(BaseModel):
    """Step 2: what one party brings to the job."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    agreement: Hash  # X25519 public key, hex
    paillier: Hex = (
        ""  # the recipient's public key, hex (veilmatch_crypto.PublicKey.to_bytes); empty from all others
    )
    signature: Hex

    def signed(self, draft: bytes) -> bytes:
        """What the party signs: ("veilmatch/1/jobkey", H(draft), name, keys)."""
        return signed_keys(draft, self.name, bytes.fromhex(self.agreement), bytes.fromhex(self.paillier))


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    draft: Draft
    keys: tuple[PartyKeys, ...]


@dataclass(frozen=True)
class Manifest:
    """A verified manifest.  ``digest`` is the SHA-256 of its exact bytes, H(manifest)."""

    draft: Draft
    keys: Mapping[str, PartyKeys]
    plan: Plan
    digest: bytes

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The job's policies, in the manifest's order."""
        return tuple(each.policy for each in self.plan.policies)

    @staticmethod
    def epoch_of(data: bytes) -> bytes:
        """Return the epoch's context that a stored manifest names, to look the epoch up."""
        return bytes.fromhex(_File.model_validate_json(data).draft.epoch)

    @staticmethod
    def draft_of(data: bytes) -> Draft:
        """Return the draft of a stored manifest; nothing of it is verified again."""
        return _File.model_validate_json(data).draft

    @staticmethod
    def digest_of(data: bytes) -> bytes:
        """Return H(manifest) of a stored manifest."""
        return hashlib.sha256(data).digest()

    @staticmethod
    def job_of(data: bytes) -> str:
        """Return the job's name that a stored manifest gives."""
        return _File.model_validate_json(data).draft.job

    def agreement(self, name: str) -> bytes:
        """Return a party's X25519 public key of this job."""
        return bytes.fromhex(self.keys[name].agreement)

    def paillier(self) -> PublicKey:
        """Return the recipient's public key.  Raises KeyRefusedError where it has not the form of 4.1."""
        return PublicKey.from_bytes(
            bytes.fromhex(self.keys[self.draft.recipient].paillier), self.draft.key_bits
        )


def signed_keys(draft: bytes, name: str, agreement: bytes, paillier: bytes) -> bytes:
    """Return what a party signs in step 2; ``draft`` are the draft's bytes."""
    return encode_tuple("veilmatch/1/jobkey", hashlib.sha256(draft).digest(), name, agreement, paillier)


def signed_contribution(manifest: bytes, outcome: int, chunk: int, ciphertexts: bytes) -> bytes:
    """Return what a contributor signs for a chunk; ``manifest`` is H(manifest)."""
    return encode_tuple(
        "veilmatch/1/contribution", manifest, outcome, chunk, hashlib.sha256(ciphertexts).digest()
    )


def signed_combined(manifest: bytes, outcome: int, chunk: int, blank: bytes, product: bytes) -> bytes:
    """Return what the coordinator signs for a chunk: its own ciphertexts B and the product."""
    digests = (hashlib.sha256(blank).digest(), hashlib.sha256(product).digest())
    return encode_tuple("veilmatch/1/combined", manifest, outcome, chunk, *digests)


def open_draft(
    data: bytes, directory: Directory, epoch: OpenEpoch, padded: int, *, now: datetime
) -> tuple[Draft, Plan]:
    """Read a draft and hold it against what this party knows itself (protocol.md, 7 step 2).

    Raises ManifestError where the draft names another federation, directory, epoch, mode or
    number of slots than this party's own, has expired, or where its participants and outcomes
    are not those of the plan that the policies give; PolicyError where a policy is refused.
    """
    draft = _read(data, Draft, "the draft")
    for what, stated, own in (
        ("federation", draft.federation, directory.federation),
        ("directory", draft.directory, directory.digest.hex()),
        ("epoch", draft.epoch, epoch.context.hex()),
        ("linkage mode", draft.linkage, epoch.epoch.linkage),
        ("number of slots", draft.padded, padded),
        ("reference date", draft.reference_date, epoch.epoch.reference_date),
    ):
        if stated != own:
            raise ManifestError(
                "manifest", f"names another {what} than this node's own", "link again and submit again"
            )
    if draft.expires <= now:
        raise ManifestError("manifest", "has expired", "submit the job again")
    if draft.expires > now + LONGEST:
        raise ManifestError("manifest", f"expires later than in {LONGEST.days} days", "submit the job again")
    plan = _plan_of(draft, directory, epoch)
    _compare_plan(draft, plan, epoch)
    return draft, plan


def reopen_draft(data: bytes, directory: Directory, epoch: OpenEpoch) -> tuple[Draft, Plan]:
    """Read a draft from this party's own store, where only a verified one was put, and derive its plan again."""
    draft = Draft.model_validate_json(data)
    return draft, _plan_of(draft, directory, epoch)


def entries_of(plan: Plan) -> tuple[OutcomeEntry, ...]:
    """The outcome table of a plan, as a draft states it."""
    return tuple(
        OutcomeEntry(index=outcome.index, contributors=outcome.contributors, opened=outcome.opened)
        for outcome in plan.outcomes
    )


def _plan_of(draft: Draft, directory: Directory, epoch: OpenEpoch) -> Plan:
    policies = [parse_policy(source.encode(), "manifest: policy") for source in draft.policies]
    if len({policy.name for policy in policies}) != len(policies):
        raise ManifestError("manifest", "names a policy twice", "submit each once")
    return derive_plan(
        policies,
        declarations_of(draft.declarations, policies, draft.reference_date),
        reference_date=draft.reference_date,
        dealers=directory.may_deal,
        register=epoch.epoch.register,
    )


def _compare_plan(draft: Draft, plan: Plan, epoch: OpenEpoch) -> None:
    if draft.outcomes != entries_of(plan):
        raise ManifestError("manifest", "names other contributors than the policy", "nothing was contributed")
    stated = (draft.recipient, draft.registrar, draft.dealer, draft.participants)
    if stated != (plan.recipient, plan.registrar, plan.dealer, plan.participants):
        raise ManifestError("manifest", "names other participants than the policy", "nothing was contributed")
    strangers = set(plan.participants) - set(epoch.epoch.nodes)
    if strangers:
        # A coordinator or operator among them would be given what only departments may have.
        raise ManifestError(
            "manifest", f"{', '.join(sorted(strangers))} is no node of the epoch", "correct the policy"
        )


def encode_manifest(draft: bytes, keys: Mapping[str, PartyKeys]) -> bytes:
    """Return the manifest's canonical bytes for a draft's bytes and the parties' keys."""
    parties = [keys[name].model_dump(mode="json") for name in sorted(keys)]
    return canonical.encode({"draft": canonical.decode(draft), "keys": parties})


def open_manifest(data: bytes, draft: bytes, plan: Plan, directory: Directory, own: PartyKeys) -> Manifest:
    """Verify a manifest (protocol.md, 7 step 3).

    ``draft`` are the bytes that this party signed its keys over, ``plan`` what it derived from them,
    ``own`` the keys it gave.  Raises ManifestError where the draft changed, a party is missing
    or a stranger, a signature does not hold, or this party's own keys were changed.
    """
    file = _read(data, _File, "it")
    if file.draft.encode() != draft:
        raise ManifestError(
            "manifest", "is not made from the draft that this node signed", "nothing was contributed"
        )
    names = tuple(party.name for party in file.keys)
    if names != tuple(sorted({*file.draft.participants, directory.coordinator})):
        raise ManifestError(
            "manifest", "does not hold the keys of exactly its parties", "nothing was contributed"
        )
    for party in file.keys:
        try:
            verify(directory.identity(party.name), party.signed(draft), bytes.fromhex(party.signature))
        except SignatureRefusedError:
            raise ManifestError(
                "manifest", f"the keys of {party.name} are not signed for this job", "nothing was contributed"
            ) from None
        if bool(party.paillier) != (party.name == file.draft.recipient):
            raise ManifestError(
                "manifest", "exactly the recipient brings a Paillier key", "nothing was contributed"
            )
    keys = {party.name: party for party in file.keys}
    if keys.get(own.name) != own:
        raise ManifestError("manifest", "this node's own keys were changed", "nothing was contributed")
    return Manifest(file.draft, keys, plan, hashlib.sha256(data).digest())


def reopen_manifest(data: bytes, directory: Directory, epoch: OpenEpoch) -> Manifest:
    """Read a manifest from this party's own store, where only a verified one was put."""
    file = _File.model_validate_json(data)
    plan = _plan_of(file.draft, directory, epoch)
    keys = {party.name: party for party in file.keys}
    return Manifest(file.draft, keys, plan, hashlib.sha256(data).digest())


_M = TypeVar("_M", bound=BaseModel)


def _read(data: bytes, model: type[_M], what: str) -> _M:
    try:
        canonical.decode(data)  # refuses a second spelling of the same document
        return model.model_validate_json(data)
    except (ValidationError, ValueError):
        raise ManifestError(
            "manifest", f"{what} cannot be read", "check that all parties run the same release"
        ) from None
