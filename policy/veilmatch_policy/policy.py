"""A policy: who is eligible, in conditions that departments answer each for itself (policies.md).

The whole format is read and checked here, for itself; check.py holds it against the catalogs.
"""

import hashlib
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SkipValidation, ValidationInfo, field_validator, model_validator

from veilmatch_policy import formula, strict_yaml
from veilmatch_policy.column_types import exact_number, iso_date
from veilmatch_policy.documents import (
    Document,
    FieldError,
    Flag,
    FrozenMapping,
    Line,
    Name,
    Number,
    Sql,
    SqlName,
    Whole,
    build,
    from_text,
    kind_of,
    placed_by_key,
    read_file,
)
from veilmatch_policy.errors import PolicyRefusedError, nearest, quoted
from veilmatch_policy.formula import Formula
from veilmatch_policy.what_if import Vary, read_vary

Count = Annotated[Whole, Field(ge=1)]

LARGEST_POLICY = 1 << 16  # bytes: over a thousand conditions, more than a person reviews
LARGEST_JOB = 1 << 19  # bytes of all policies of one job: each is read by every party that has a part
SMALLEST_COUNT = 10  # that is told where a policy says nothing (protocol.md, 5.5)
_BOUNDS = ("below", "at_most", "above", "at_least")


class Purpose(Document):
    """What the policy is for: a code of the federation's directory, a law, or both."""

    code: Line | None = None
    law: Line | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.code is None and self.law is None:
            raise ValueError("a purpose without code and law; write one of them")
        return self


class HouseholdRegister(Document):
    """The department and its column that say who lives with whom."""

    department: Name
    column: Line


class Parameter(Document):
    """A number that conditions write as ``:name``; approved as the interval ``allow``, ends included."""

    value: Number
    allow: tuple[Decimal, Decimal] | None = None
    law: Line | None = None

    @field_validator("allow", mode="before")
    @classmethod
    def _interval(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, list):
            return value
        if len(value) != 2 or not all(isinstance(end, str) for end in value):
            raise ValueError("what is allowed is an interval; write [6000, 9000], say")
        low, high = map(exact_number, value)
        chosen = info.data.get("value", low)
        if not low <= chosen <= high:
            raise ValueError(f"the value {chosen} is not within [{low}, {high}]; change one of them")
        return low, high


class Bound(Document):
    """What a total is compared with: a number, a parameter, or one department's expression."""

    number: Decimal | None = None
    parameter: str | None = None
    department: Name | None = None
    expression: Sql | None = None


def _bound(value: object) -> object:
    match value:
        case str() if value.startswith(":"):
            return Bound(parameter=value[1:])
        case str():
            return Bound(number=exact_number(value))
        case dict() if len(value) == 1:
            [(department, expression)] = value.items()
            return Bound(department=department, expression=expression)
        case dict() | list():
            raise ValueError("a bound is a number, a :parameter, or one department with its expression")
        case _:
            return value


OptionalBound = Annotated[Bound | None, BeforeValidator(_bound)]


class Condition(Document):
    """One condition: a department's ``where``, or a ``total`` over departments and one bound for it.

    ``of`` "household" lets aggregates and totals range over the household's members (None: as
    `Policy.grain_of` says), ``members`` says which of them must fulfil another department's ``where``,
    ``unknown`` what holds where a value is missing (None: what the catalog says), ``per_member`` that the
    bound grows with their number.
    """

    name: Name
    department: Name | None = None
    where: Sql | None = None
    members: Literal["every", "any"] | None = None
    unknown: Literal["pass", "fail"] | None = None
    of: Literal["person", "household"] | None = None
    total: FrozenMapping[Name, Sql] | None = None
    below: OptionalBound = None
    at_most: OptionalBound = None
    above: OptionalBound = None
    at_least: OptionalBound = None
    per_member: Flag = False

    @property
    def bound(self) -> Bound | None:
        """What the total is compared with, whichever way; None without a total."""
        return self.below or self.at_most or self.above or self.at_least

    @model_validator(mode="after")
    def _where_or_total(self) -> Self:
        bounds = [key for key in _BOUNDS if getattr(self, key) is not None]
        if self.total is None:
            for key in ("department", "where"):
                if getattr(self, key) is None:
                    raise ValueError(
                        f"the key '{key}' is missing; a condition is a department's where, or a total"
                    )
            for key in [*bounds, *(["per_member"] if self.per_member else [])]:
                raise FieldError(f"{key} without a total; write the comparison into where", key)
            if self.members is not None and self.of == "household":
                raise FieldError("members beside of: household; leave one of them out", "members")
            return self
        for key in ("department", "where", "members"):
            if getattr(self, key) is not None:
                raise FieldError(f"{key} beside a total; make it a condition of its own", key)
        if len(bounds) != 1:
            raise ValueError(f"a total has one bound, not {len(bounds)}; write one of {', '.join(_BOUNDS)}")
        if self.per_member and self.bound is not None and self.bound.department is not None:
            raise FieldError(
                "only a number or a :parameter can be per_member; write count into it", "per_member"
            )
        return self


Given = FrozenMapping[Name, tuple[FrozenMapping[str, str], ...]]


def _rows(given: object) -> object:
    """One row is written without a list around it."""
    if not isinstance(given, dict):
        return given
    return {department: rows if isinstance(rows, list) else [rows] for department, rows in given.items()}


class Example(Document):
    """A worked case of one person, and of the ``others`` of the household.

    ``given`` is, by department, the person's rows: each the text of some columns, in the form of
    the catalog's types.  A department that is not there does not know the person.  Each of the
    ``others`` is given in the same way.
    """

    given: Annotated[Given, BeforeValidator(_rows)]
    others: tuple[Annotated[Given, BeforeValidator(_rows)], ...] = ()
    eligible: bool = Field(alias="expect")

    @field_validator("eligible", mode="before")
    @classmethod
    def _outcome(cls, value: object) -> object:
        if not isinstance(value, str):
            raise ValueError(f"expected one value, found {kind_of(value)}")  # noqa: TRY004  pydantic reads ValueErrors
        outcome = value.replace("-", " ").replace("_", " ")
        if outcome not in {"eligible", "not eligible"}:
            raise ValueError(f"{quoted(value)} is no outcome; write eligible or not eligible")
        return outcome == "eligible"


def _purpose(value: object) -> object:
    return {"law": value} if isinstance(value, str) else value


class Policy(Document):
    """A policy as its author wrote it, every default filled in.

    ``reference_date`` None: the epoch's.  ``among`` None: all of the recipient's people.  ``eligible``
    names no condition that is not there.  ``vary``: the bounds that are tried instead of one condition's.
    ``dealer`` None: whoever may.  ``digest`` is the SHA-256 of ``source``, the file's bytes.
    """

    name: Name = Field(alias="policy")
    version: Count = 1
    title: Line = ""
    purpose: Annotated[Purpose | None, BeforeValidator(_purpose)] = None
    reference_date: Annotated[date | None, from_text(iso_date)] = None
    recipient: Name
    among: Sql | None = None
    among_at_most: Count | None = None
    unit: Literal["person", "household"] = "person"
    household: HouseholdRegister | None = None
    parameters: FrozenMapping[SqlName, Parameter] = Field(default={}, validate_default=True)
    conditions: FrozenMapping[Name, Condition]
    eligible: SkipValidation[Formula] = Field(default="", validate_default=True)
    reveal: Literal["members", "count"] = "members"
    min_count: Count | None = None
    epsilon: Number | None = None
    vary: Vary | None = None
    dealer: Name | None = None
    examples: tuple[Example, ...] = ()
    digest: bytes
    source: bytes = Field(repr=False)

    @field_validator("parameters", mode="before")
    @classmethod
    def _bare_parameters(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {name: {"value": part} if isinstance(part, str) else part for name, part in value.items()}

    @field_validator("conditions", mode="before")
    @classmethod
    def _name_conditions(cls, value: object) -> object:
        if value == {}:
            raise ValueError("a policy without conditions; write at least one")
        return placed_by_key(value, "name")

    @field_validator("eligible", mode="before")
    @classmethod
    def _formula(cls, value: object, info: ValidationInfo) -> object:
        conditions = info.data.get("conditions")
        if conditions is None:  # refused already
            return value
        if value == "":
            return formula.all_of(conditions)
        if not isinstance(value, str):
            raise ValueError(f"expected one value, found {kind_of(value)}")  # noqa: TRY004  pydantic reads ValueErrors
        parsed = formula.parse(value, conditions)
        for name in conditions:
            if name not in formula.names_in(parsed):
                raise ValueError(f"the condition {quoted(name)} is not used; take it out or write it in")
        return parsed

    @model_validator(mode="after")
    def _names_its_parameters(self) -> Self:
        for name, condition in self.conditions.items():
            bound = condition.bound
            if bound is not None and bound.parameter is not None and bound.parameter not in self.parameters:
                remedy = nearest(bound.parameter, self.parameters) or "define it under parameters"
                raise FieldError(
                    f"there is no parameter {quoted(bound.parameter)}; {remedy}", "conditions", name
                )
        return self

    @field_validator("vary", mode="before")
    @classmethod
    def _what_if(cls, value: object, info: ValidationInfo) -> object:
        conditions, parameters = info.data.get("conditions"), info.data.get("parameters")
        if value is None or conditions is None or parameters is None:  # or refused already
            return None
        return read_vary(value, conditions, parameters)

    @model_validator(mode="after")
    def _knows_its_households(self) -> Self:
        unknown = "needs to know the households; write the key household"
        for name, condition in self.conditions.items():
            if self.household is None and (condition.of == "household" or condition.members is not None):
                raise FieldError(unknown, "conditions", name)
        if self.household is None and self.unit == "household":
            raise FieldError(unknown, "unit")
        for number, example in enumerate(self.examples):
            if self.household is None and example.others:
                raise FieldError(unknown, "examples", number, "others")
        for condition in self.conditions.values():
            if self.household is not None:
                _check_household(condition, self.household.department, self.unit)
        return self

    @model_validator(mode="after")
    def _counts_or_not(self) -> Self:
        for key in ("min_count", "epsilon", "vary"):
            if self.reveal == "members" and getattr(self, key) is not None:
                raise FieldError(f"{key} is for counts; write reveal: count, or leave it out", key)
        if self.epsilon is not None and self.epsilon <= 0:
            raise FieldError("epsilon is above 0; write 0.5, say", "epsilon")
        return self

    def grain_of(self, condition: Condition) -> Literal["person", "household"]:
        """Of what a condition of this policy is true: of each person, or of a household as a whole.

        With ``members`` it is a household, although ``where`` itself is asked of persons; without, the
        register's aggregates and a total's sum and bound range over its members.
        """
        if condition.members is not None:
            return "household"
        return condition.of or self.unit

    @property
    def smallest_count(self) -> int:
        """The smallest count that is told."""
        return self.min_count if self.min_count is not None else SMALLEST_COUNT


def _check_household(condition: Condition, register: str, unit: Literal["person", "household"]) -> None:
    """Raise FieldError where a condition asks of households what cannot be answered."""
    place = ("conditions", condition.name)
    bound, of_households = condition.bound, (condition.of or unit) == "household"
    if condition.total is not None:
        if unit == "household" and not of_households:
            raise FieldError("a total of persons, where households are eligible; leave of out", *place, "of")
        if bound is not None and of_households and bound.department not in {None, register}:
            raise FieldError(
                f"a household's total is compared with a number or an expression of {register}, which keeps the "
                f"register, not of {bound.department}; ask {register}",
                *place,
            )
    elif condition.members is None:
        if condition.of == "household" and condition.department != register:
            raise FieldError(
                f"{condition.department} does not keep the household register, {register} does; "
                "write members: every or members: any",
                *place,
                "of",
            )
        if unit == "household" and condition.department != register:
            raise FieldError(
                f"households are eligible, and {condition.department} does not keep their register; "
                "other departments' conditions need members: every or any",
                *place,
            )
        if unit == "household" and condition.of == "person":
            raise FieldError(
                "a condition of persons, where households are eligible; leave of out, or write members: every or any",
                *place,
                "of",
            )


def load_policy(path: Path) -> Policy:
    """Read a policy; raises PolicyRefusedError, also when it cannot be read."""
    return parse_policy(read_file(path, path.name, PolicyRefusedError), path.name)


@lru_cache(256)  # a job has up to 64 policies, and several jobs wait at once
def parse_policy(data: bytes, where: str) -> Policy:
    """Read a policy's bytes; ``where`` names the file in messages.  Raises PolicyRefusedError."""
    if len(data) > LARGEST_POLICY:
        raise PolicyRefusedError(
            where, f"the policy is larger than {LARGEST_POLICY} bytes", "split it into several policies"
        )
    tree = strict_yaml.parse(data, where, PolicyRefusedError)
    digest = hashlib.sha256(data).digest()
    return build(Policy, tree, PolicyRefusedError, digest=digest, source=data)


def parse_policies(sources: Sequence[bytes]) -> list[Policy]:
    """Read the policies of one job.  Raises PolicyRefusedError, also where they are too large together."""
    size = sum(map(len, sources))
    if size > LARGEST_JOB:
        raise PolicyRefusedError(
            "job", f"its policies have {size} bytes, more than {LARGEST_JOB}", "submit them as several jobs"
        )
    return [parse_policy(source, "policy") for source in sources]
