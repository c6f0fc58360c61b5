"""What a data officer decides about a policy, and signs (protocol.md, 7).

A *request* says everything that the decision is about: the policy's content, who takes part and learns,
how people are matched, and what the department's own catalog says of the columns that are read.
Whatever of it changes later is another request.  A *decision* approves a request until a day and for a
number of runs, refuses it, or revokes an approval.  Nothing here does I/O or holds a secret.
"""

import hashlib
import os
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from veilmatch_crypto import IdentityKey, SignatureRefusedError, encode_tuple, verify
from veilmatch_policy import canonical, strict_yaml
from veilmatch_policy.catalog import Catalog, Column, Table
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import LinkageMode, SlotMode
from veilmatch_policy.errors import ApprovalError, PolicyRefusedError
from veilmatch_policy.plan import Plan
from veilmatch_policy.policy import Policy, parse_policy

LONGEST_REASON = 1000  # characters

Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Request(BaseModel):
    """What one department's officer is asked about one policy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    federation: Hash  # the root's public key: an approval holds in one federation
    department: str
    policy: str
    version: int
    content: Hash  # approved_content(policy)
    catalog: Hash  # catalog_entries(...) of the columns that this department reads
    recipient: str
    participants: tuple[str, ...]  # recipient, contributors and household registrar, sorted
    dealers: tuple[str, ...]  # who may deal; empty where the policy needs no circuit
    linkage: LinkageMode
    slots: SlotMode
    reveal: Literal["members", "count"]
    purpose: str  # the code, or the law where it has none

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return canonical.encode(self.model_dump(mode="json"))

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes."""
        return hashlib.sha256(self.encode()).digest()


class Decision(BaseModel):
    """What the officer signs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["approve", "refuse", "revoke"]
    name: Annotated[
        str, StringConstraints(pattern=r"^[0-9a-f]{32}$")
    ]  # drawn at random: no two decisions share it
    request: Request
    decided: AwareDatetime
    by: Literal[
        "officer", "one-machine"
    ]  # one-machine: whoever ran a federation alone, in the officer's name
    expires: AwareDatetime | None = None  # of an approval
    runs: Annotated[int, Field(ge=1)] | None = None  # of an approval: how many jobs
    reason: Annotated[str, StringConstraints(max_length=LONGEST_REASON)] = ""
    revokes: Hash | None = None  # the SHA-256 of the approval's statement

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.kind == "approve") != (self.expires is not None and self.runs is not None):
            raise ValueError("an approval, and nothing else, has an end and a number of runs")
        if (self.kind == "revoke") != (self.revokes is not None):
            raise ValueError("a revocation, and nothing else, names an approval")
        if self.kind != "approve" and not self.reason.strip():
            raise ValueError("a refusal or revocation says why")
        return self


@dataclass(frozen=True)
class SignedDecision:
    """A verified decision with the bytes that were signed."""

    decision: Decision
    statement: bytes
    signature: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 of the statement: what logs, evidence and revocations call the decision by."""
        return hashlib.sha256(self.statement).digest()

    def encode(self) -> bytes:
        """Return the bytes of a decision's file: canonical JSON of the statement's text and the signature."""
        return canonical.encode({"statement": self.statement.decode(), "signature": self.signature.hex()})


def new_name() -> str:
    """Draw a decision's name."""
    return os.urandom(16).hex()


def signed_decision(statement: bytes) -> bytes:
    """Return what an officer signs."""
    return encode_tuple("veilmatch/1/decision", statement)


def sign_decision(decision: Decision, officer: IdentityKey) -> SignedDecision:
    """Sign a decision with the officer's key."""
    statement = canonical.encode(decision.model_dump(mode="json"))
    return SignedDecision(decision, statement, officer.sign(signed_decision(statement)))


def open_decision(statement: bytes, signature: bytes, directory: Directory) -> SignedDecision:
    """Verify and read a decision of any department of this federation.

    Raises ApprovalError where it cannot be read, is of another federation, or is not signed by the officer
    of the department that it names; DirectoryError where that is no member or was revoked.
    """
    try:
        canonical.decode(statement)  # refuses a second spelling of the same document
        decision = Decision.model_validate_json(statement)
    except (ValidationError, ValueError):
        raise ApprovalError("decision", "cannot be read", "have it exported again") from None
    name = decision.request.department
    if decision.request.federation != directory.root.hex():
        raise ApprovalError("decision", "is of another federation", "have it signed for this one")
    try:
        verify(directory.officer(name), signed_decision(statement), signature)
    except SignatureRefusedError:
        raise ApprovalError(
            "decision", f"is not signed by the officer of {name}", f"have the officer of {name} sign it"
        ) from None
    return SignedDecision(decision, statement, signature)


def decode_decision(data: bytes, directory: Directory) -> SignedDecision:
    """Read a decision's file.  Raises as `open_decision`."""
    try:
        file = canonical.decode(data)
        statement, signature = file["statement"].encode(), bytes.fromhex(file["signature"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ApprovalError("decision", "is not the file of one", "have it exported again") from None
    return open_decision(statement, signature, directory)


def encode_request(request: Request, policy: Policy) -> bytes:
    """Return the bytes of a request's file: canonical JSON of the request and the policy's text."""
    return canonical.encode({"request": request.model_dump(mode="json"), "policy": policy.source.decode()})


def decode_request(data: bytes, where: str) -> tuple[Request, Policy]:
    """Read a request's file; ``where`` names it.

    Raises ApprovalError where it is none, or its policy is not the one that the request is about, and PolicyError
    for a policy that cannot be read.
    """
    try:
        file = canonical.decode(data)
        request, source = Request.model_validate(file["request"]), file["policy"].encode()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ApprovalError(where, "is not the file of a request", "have it exported again") from None
    policy = parse_policy(source, where)
    if approved_content(policy).hex() != request.content:
        raise ApprovalError(where, "holds another policy than it asks about", "have it exported again")
    return request, policy


def approved_content(policy: Policy) -> bytes:
    """Hash what of a policy is approved: all but comments, title and the values of parameters with an interval."""
    content = strict_yaml.parse(policy.source, policy.name, PolicyRefusedError).root
    asked = {key: value for key, value in content.items() if key != "title"}
    written = content.get("parameters")
    if isinstance(written, dict):
        asked["parameters"] = {
            name: {key: value for key, value in said.items() if key != "value"}
            if policy.parameters[name].allow is not None
            else said
            for name, said in written.items()
        }
    return hashlib.sha256(canonical.encode(asked)).digest()


def catalog_entries(
    catalog: Catalog, columns: tuple[Column, ...], counted: tuple[Table, ...], *, register: bool
) -> bytes:
    """Hash what a catalog says of ``columns``: their entries, and their tables' but for other columns and the day.

    ``counted`` are tables of which it is also asked who has a row at all; ``register``: this department also says
    who lives with whom.
    """
    tables = {column.table for column in columns} | {table.name for table in counted}
    if register and catalog.household is not None:
        table, household = catalog.household
        tables.add(table.name)
        listed = table.columns.get(household.column)
        columns = columns if listed is None or listed in columns else (*columns, listed)
    entries = {
        "columns": {column.name: column.model_dump(mode="json") for column in columns},
        "tables": {
            name: catalog.tables[name].model_dump(mode="json", exclude={"columns", "as_of", "codes"})
            | {"codes": {c.name: dict(catalog.tables[name].codes.get(c.name, {})) for c in columns}}
            for name in sorted(tables)
        },
    }
    return hashlib.sha256(canonical.encode(entries)).digest()


def request_of(
    plan: Plan,
    number: int,
    directory: Directory,
    department: str,
    *,
    catalog: bytes,
    linkage: LinkageMode,
    slots: SlotMode,
) -> Request:
    """Return what the officer of ``department`` is asked about policy ``number`` of a plan.

    ``catalog`` is the hash of what the department's own catalog says (`catalog_entries`).
    """
    planned = plan.policies[number]
    policy = planned.policy
    others = {name for term in plan.terms_of(number) for name in plan.contributors_to(plan.terms[term])}
    registrar = {policy.household.department} if policy.household is not None and plan.registrar else set()
    purpose = policy.purpose
    return Request(
        federation=directory.root.hex(),
        department=department,
        policy=policy.name,
        version=policy.version,
        content=approved_content(policy).hex(),
        catalog=catalog.hex(),
        recipient=plan.recipient,
        participants=tuple(sorted({*others, *registrar, plan.recipient})),
        dealers=directory.may_deal if planned.circuits else (),
        linkage=linkage,
        slots=slots,
        reveal=policy.reveal,
        purpose="" if purpose is None else purpose.code or purpose.law or "",
    )


class Mismatch(NamedTuple):
    """Why an approval does not allow what is asked: the refusal's name (docs/security.md lists them), and words."""

    rule: str
    words: str


def why_not(request: Request, approval: Decision, *, now: datetime) -> Mismatch | None:
    """Why an approval does not allow what is asked at ``now``; None where it does.

    How many of its runs are used, and whether it was revoked, the department's store knows.
    """
    approved = approval.request
    for rule, what, then, asked in (
        ("department", "department", approved.department, request.department),
        ("federation", "federation", approved.federation, request.federation),
        ("recipient", "recipient", approved.recipient, request.recipient),
        ("purpose", "purpose", approved.purpose, request.purpose),
        ("reveal", "what is revealed", approved.reveal, request.reveal),
        ("participants", "who takes part", ", ".join(approved.participants), ", ".join(request.participants)),
        ("dealers", "who may deal", ", ".join(approved.dealers), ", ".join(request.dealers)),
        ("linkage", "linkage", approved.linkage, request.linkage),
        ("slots", "slots", approved.slots, request.slots),
    ):
        if then != asked:
            return Mismatch(rule, f"{what}: approved is {then or 'none'}, asked is {asked or 'none'}")
    if (approved.policy, approved.version, approved.content) != (
        request.policy,
        request.version,
        request.content,
    ):
        return Mismatch("policy-changed", "the policy changed since it was approved")
    if approved.catalog != request.catalog:
        return Mismatch("catalog-changed", "this department's catalog changed since it was approved")
    if approval.expires is None or approval.expires <= now:
        return Mismatch("expired", "its approval has expired")
    return None
