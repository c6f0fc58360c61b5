"""What a party writes into its log: one record an action, of these fields and no others.

protocol.md, 7: of what it did, never of what the data was.  No field can hold an identifier, a value, an
answer or a number of matches: names are those of members, policies and columns, the rest are
hashes, counters that the coordinator knows anyway, and words of a fixed list.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]  # SHA-256, hex
JobName = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Signature = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]  # Ed25519, hex
Count = Annotated[int, Field(ge=0)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServiceStarted(_Entry):
    """The party began to serve, under this directory."""

    action: Literal["service-started"] = "service-started"
    release: str
    directory: Hash
    directory_version: Count


class Linked(_Entry):
    """An epoch was linked; ``epoch`` is its context."""

    action: Literal["linked"] = "linked"
    epoch: Hash
    linkage: Literal["oprf", "shared-key"]
    slots: Literal["union", "register"]


class Requested(_Entry):
    """A policy waits for this department's officer; ``request`` is its hash (veilmatch_policy.approvals)."""

    action: Literal["requested"] = "requested"
    request: Hash
    policy: str
    version: Count
    recipient: str


class Decided(_Entry):
    """The officer decided; ``decision`` is the SHA-256 of the signed statement."""

    action: Literal["decided"] = "decided"
    kind: Literal["approve", "refuse", "revoke"]
    decision: Hash
    request: Hash
    policy: str
    version: Count


class Refused(_Entry):
    """This party refused a step of a job; ``rule`` is the refusal's name (docs/security.md lists them)."""

    action: Literal["refused"] = "refused"
    job: JobName | None
    rule: str


class PolicyUse(_Entry):
    """A policy of a started job, and by what right this department took part in it.

    ``approval`` is the SHA-256 of the approval's statement and ``run`` which of its runs this is; None and 0
    where everything that is read is open, or nothing is.  ``columns`` are those that are read here.
    """

    policy: str
    version: Count
    content: Hash
    recipient: str
    purpose: str
    reveal: Literal["members", "count"]
    columns: tuple[str, ...]
    approval: Hash | None
    run: Count


class Debit(_Entry):
    """What was taken from a budget before data was read; ``spent`` includes it and never exceeds ``limit``.

    ``what`` is a budget group of columns (``runs``) or empty (``epsilon``, in millionths).  ``receiver`` is who
    learns the result.
    """

    kind: Literal["runs", "epsilon"]
    window: Literal["epoch", "year"]
    what: str
    receiver: str
    units: Count
    spent: Count
    limit: Count


class Started(_Entry):
    """A manifest was accepted and its budgets debited; its data is read only after this is on record."""

    action: Literal["started"] = "started"
    job: JobName
    manifest: Hash
    epoch: Hash
    policies: tuple[PolicyUse, ...]
    debits: tuple[Debit, ...]


class Contributed(_Entry):
    """A chunk of ciphertexts left this contributor."""

    action: Literal["contributed"] = "contributed"
    job: JobName
    manifest: Hash
    outcome: Count
    chunk: Count
    sha256: Hash


class ToldHouseholds(_Entry):
    """The registrar told the coordinator who lives with whom, by slot."""

    action: Literal["told-households"] = "told-households"
    job: JobName
    manifest: Hash


class Dealt(_Entry):
    """The dealer sent its seeds and corrections; ``sha256`` is of the corrections in their order."""

    action: Literal["dealt"] = "dealt"
    job: JobName
    manifest: Hash
    households: Count
    presented: tuple[Count, ...]
    sha256: Hash


class Presented(_Entry):
    """The recipient told the coordinator whom a policy asks about: how many."""

    action: Literal["presented"] = "presented"
    job: JobName
    manifest: Hash
    policy: Count
    people: Count


class Opened(_Entry):
    """The recipient opened a product and its check slots held; ``sha256`` is of the product as it came."""

    action: Literal["opened"] = "opened"
    job: JobName
    manifest: Hash
    outcome: Count
    chunk: Count
    sha256: Hash


class Delivered(_Entry):
    """The recipient wrote a policy's result, or the coordinator kept a count."""

    action: Literal["delivered"] = "delivered"
    job: JobName
    manifest: Hash
    policy: str


class Submitted(_Entry):
    """The office asked the coordinator for a job; ``content`` are the hashes of its policies."""

    action: Literal["submitted"] = "submitted"
    job: JobName
    operator: str
    content: tuple[Hash, ...]


class Drafted(_Entry):
    """The coordinator sent a draft; ``draft`` is the SHA-256 of its bytes."""

    action: Literal["drafted"] = "drafted"
    job: JobName
    draft: Hash


class ManifestMade(_Entry):
    """The coordinator put the manifest together, before any node had it."""

    action: Literal["manifest-made"] = "manifest-made"
    job: JobName
    manifest: Hash
    epoch: Hash


class Received(_Entry):
    """A contribution came, with its maker's signature."""

    action: Literal["received"] = "received"
    job: JobName
    manifest: Hash
    department: str
    outcome: Count
    chunk: Count
    sha256: Hash


class Combined(_Entry):
    """The coordinator multiplied: ``blank`` is the SHA-256 of its own ciphertexts B, ``product`` of what it sent."""

    action: Literal["combined"] = "combined"
    job: JobName
    manifest: Hash
    outcome: Count
    chunk: Count
    blank: Hash
    product: Hash


class Closed(_Entry):
    """A job's keys and ciphertexts were erased here."""

    action: Literal["closed"] = "closed"
    job: JobName
    manifest: Hash


class HeadSeen(_Entry):
    """Another party's newest record, signed by it: it cannot rewrite what came before without showing it."""

    action: Literal["head-seen"] = "head-seen"
    party: str
    sequence: Count
    digest: Hash
    signature: Signature


class Disclosed(_Entry):
    """The front desk was told which policies used a person's row: that it was, and nothing of person or answer."""

    action: Literal["disclosed"] = "disclosed"


Action = Annotated[
    ServiceStarted
    | Linked
    | Requested
    | Decided
    | Refused
    | Started
    | Contributed
    | ToldHouseholds
    | Dealt
    | Presented
    | Opened
    | Delivered
    | Submitted
    | Drafted
    | ManifestMade
    | Received
    | Combined
    | Closed
    | HeadSeen
    | Disclosed,
    Field(discriminator="action"),
]
