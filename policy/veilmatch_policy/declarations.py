"""What departments declare before a job is drafted (protocol.md, 7 step 0).

A total's scale and range follow from the catalogs of all its departments, but each node sees only its
own.  So each declares what its catalog says of the amounts that it is asked; the draft states all
declarations, and each node refuses a draft that changed its own.
"""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from veilmatch_policy import canonical
from veilmatch_policy.catalog import MOST_MEMBERS
from veilmatch_policy.errors import ManifestError
from veilmatch_policy.plan import Declaration, Declarations
from veilmatch_policy.policy import Policy
from veilmatch_policy.questions import ask


class AmountEntry(BaseModel):
    """What a department's catalog says of one amount (veilmatch_policy.plan.Declaration)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: Annotated[int, Field(ge=0)]
    scale: Annotated[int, Field(ge=0, le=38)]
    largest: Annotated[int, Field(ge=0)] | None
    optional: bool


class DepartmentEntry(BaseModel):
    """What one department declares; ``household_at_most`` is the register's and null from all others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    department: str
    amounts: tuple[AmountEntry, ...] = ()
    household_at_most: Annotated[int, Field(ge=1, le=MOST_MEMBERS)] | None = None

    def encode(self) -> bytes:
        """Return the canonical bytes that a node sends."""
        return canonical.encode(self.model_dump(mode="json"))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what ``encode`` wrote.  Raises ManifestError."""
        try:
            canonical.decode(data)  # refuses a second spelling of the same document
            return cls.model_validate_json(data)
        except (ValidationError, ValueError):
            raise ManifestError(
                "manifest", "a declaration cannot be read", "check that all parties run the same release"
            ) from None


def declarations_of(
    entries: Sequence[DepartmentEntry], policies: Sequence[Policy], reference_date: date
) -> Declarations:
    """Put the departments' declarations together, each only about what it is asked itself.

    Raises ManifestError where an amount is declared by nobody, or by a stranger.
    """
    questions = ask(policies, reference_date)
    registrars = {policy.household.department for policy in policies if policy.household is not None}
    amounts: dict[int, Declaration] = {}
    at_most: int | None = None
    for entry in entries:
        for each in entry.amounts:
            asked = questions[each.question] if each.question < len(questions) else None
            if asked is None or asked.kind != "amount" or asked.department != entry.department:
                raise ManifestError(
                    "manifest", f"{entry.department} declares what it is not asked", "check its release"
                )
            amounts[each.question] = Declaration(each.scale, each.largest, each.optional)
        if entry.department in registrars:
            at_most = entry.household_at_most
    missing = {
        question.department
        for number, question in enumerate(questions)
        if question.kind == "amount" and number not in amounts
    }
    if missing:
        raise ManifestError(
            "manifest", f"{', '.join(sorted(missing))} did not declare an amount", "check its release"
        )
    return Declarations(amounts, at_most)
