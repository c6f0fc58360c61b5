"""A policy held against the catalogs: everything that can be refused without running.

What is refused names the column, its owner, the rule that refuses, and the nearest allowed thing
(policies.md, "Commands").  What comes with a later release is refused apart, as not supported yet.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from veilmatch_policy.catalog import Catalog, Column
from veilmatch_policy.errors import NotSupportedYetError, PolicyRefusedError, nearest, quoted
from veilmatch_policy.expression import Expression, bind
from veilmatch_policy.formula import conjunction
from veilmatch_policy.plan import conditions_of, derive_plan
from veilmatch_policy.policy import Condition, Policy


@dataclass(frozen=True)
class DepartmentTask:
    """What one department evaluates: its conditions, in the policy's order.

    ``names``, ``conditions`` and ``unknowns`` go together; ``unknowns`` is the answer where a condition
    is neither true nor false.  ``among`` is the recipient's and None elsewhere.
    """

    names: tuple[str, ...]
    conditions: tuple[Expression, ...]
    unknowns: tuple[bool, ...]
    among: Expression | None
    among_at_most: int | None

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that are read, each once."""
        read = [*self.conditions, *([self.among] if self.among is not None else [])]
        return tuple(dict.fromkeys(column for expression in read for column in expression.columns))


@dataclass(frozen=True)
class CheckedPolicy:
    """A policy whose every expression is bound to the catalog of the department that answers it.

    ``catalogs`` are those of all departments, ``tasks`` those of the recipient and of the
    ``contributors``: the departments asked besides the recipient, sorted.
    """

    policy: Policy
    catalogs: Mapping[str, Catalog]
    tasks: Mapping[str, DepartmentTask]
    contributors: tuple[str, ...]


def check_policy(policy: Policy, catalogs: Mapping[str, Catalog]) -> CheckedPolicy:
    """Check a policy against the catalogs of all departments, by name.

    Raises PolicyRefusedError for what is wrong with it or what a catalog does not give, and
    NotSupportedYetError for what this release does not compute.
    """
    _departments_exist(policy, catalogs)
    _supported(policy)
    plan = derive_plan(policy)
    if not plan.contributors:
        raise PolicyRefusedError(
            f"{policy.name}: conditions",
            f"every condition is answered by the recipient {policy.recipient}, so there is nothing to match",
            "add a condition of another department",
        )
    tasks = {}
    for name in plan.participants:
        owners = {
            column.name: other
            for other, catalog in sorted(catalogs.items())
            if other != name
            for column in catalog.columns()
        }
        tasks[name] = check_department(policy, catalogs[name], owners)
    return CheckedPolicy(policy, catalogs, tasks, plan.contributors)


def check_department(
    policy: Policy, catalog: Catalog, elsewhere: Mapping[str, str] | None = None
) -> DepartmentTask:
    """Check what a policy asks of one department against that department's catalog.

    This is as much as a node can check that sees no other catalog; ``elsewhere`` maps columns of
    other departments to their owners, for messages.  Raises as `check_policy` does.
    """
    _supported(policy)
    department = catalog.department
    contributors = derive_plan(policy).contributors
    parameters = {name: parameter.value for name, parameter in policy.parameters.items()}

    def bound(text: str, place: str) -> Expression:
        where = f"{policy.name}: {place}"
        expression = bind(
            text, catalog, kind="condition", parameters=parameters, where=where, elsewhere=elsewhere
        )
        for column in expression.columns:
            _may_be_asked(policy, catalog, column, where)
            if contributors == (department,):
                _may_stand_alone(policy, catalog, column, where)
        return expression

    asked = [policy.conditions[name] for name in conditions_of(policy, department)]
    recipient = department == policy.recipient
    return DepartmentTask(
        names=tuple(condition.name for condition in asked),
        conditions=tuple(
            bound(_where(condition), f"conditions.{condition.name}.where") for condition in asked
        ),
        unknowns=tuple(condition.unknown == "pass" for condition in asked),
        among=bound(policy.among, "among") if recipient and policy.among is not None else None,
        among_at_most=policy.among_at_most if recipient else None,
    )


def _departments_exist(policy: Policy, catalogs: Mapping[str, Catalog]) -> None:
    named = [("recipient", policy.recipient)]
    for condition in policy.conditions.values():
        place = f"conditions.{condition.name}"
        if condition.department is not None:
            named.append((f"{place}.department", condition.department))
        named.extend((f"{place}.total", department) for department in condition.total or ())
        if condition.bound is not None and condition.bound.department is not None:
            named.append((f"{place}.bound", condition.bound.department))
    if policy.household is not None:
        named.append(("household.department", policy.household.department))
    for number, example in enumerate(policy.examples, start=1):
        named.extend((f"examples.{number}.given", department) for department in example.given)
    for place, department in named:
        if department not in catalogs:
            what = f"there is no department {quoted(department)}"
            raise PolicyRefusedError(f"{policy.name}: {place}", what, nearest(department, catalogs))


def _supported(policy: Policy) -> None:
    for place, what in _not_yet(policy):
        raise NotSupportedYetError(f"{policy.name}: {place}", f"{what} is not supported yet", "leave it out")


def _not_yet(policy: Policy) -> Iterable[tuple[str, str]]:
    """What this release does not compute: its place in the policy, and its name."""
    if policy.unit == "household":
        yield "unit", "unit: household"
    for condition in policy.conditions.values():
        place = f"conditions.{condition.name}"
        if condition.total is not None:
            yield f"{place}.total", "total"
        if condition.of == "household":
            yield f"{place}.of", "of: household"
        if condition.members is not None:
            yield f"{place}.members", "members"
    if policy.household is not None:
        yield "household", "household"
    if policy.reveal == "count":
        yield "reveal", "reveal: count"
    if conjunction(policy.eligible) is None:
        yield "eligible", "a formula with OR, NOT or at_least"


def _where(condition: Condition) -> str:
    if condition.where is None:  # a total, refused before
        raise ValueError(f"the condition {condition.name} has no where")
    return condition.where


def _may_be_asked(policy: Policy, catalog: Catalog, column: Column, where: str) -> None:
    owner = f"{column.name} of {catalog.department}"
    if column.release == "never":
        askable = [other.name for other in catalog.columns() if other.release != "never"]
        raise PolicyRefusedError(
            where, f"{owner} is not shared (release: never)", nearest(column.name, askable)
        )
    code = policy.purpose.code if policy.purpose is not None else None
    if column.purposes is not None and code not in column.purposes:
        stated = f"not {quoted(code)}" if code is not None else "and the policy's purpose has no code"
        allowed = ", ".join(column.purposes)
        raise PolicyRefusedError(
            where,
            f"{owner} is for the purposes {allowed} only, {stated}",
            _purpose_remedy(code, column.purposes),
        )
    if column.recipients is not None and policy.recipient not in {catalog.department, *column.recipients}:
        allowed = ", ".join(column.recipients)
        raise PolicyRefusedError(
            where,
            f"{owner} is for the recipients {allowed} only, not {policy.recipient}",
            f"ask {catalog.department}",
        )


def _purpose_remedy(code: str | None, purposes: tuple[str, ...]) -> str:
    if code is None:
        return f"write purpose: {{code: {purposes[0]}}} if that is what it is for" if purposes else ""
    return nearest(code, purposes)


def _may_stand_alone(policy: Policy, catalog: Catalog, column: Column, where: str) -> None:
    owner = catalog.department
    if column.alone == "never":
        raise PolicyRefusedError(
            where,
            f"{owner} is the only department asked, so {policy.recipient} would read its answer off, which "
            f"{column.name} of {owner} does not allow (alone: never)",
            f"add a condition of another department, or ask {owner} for alone: approval",
        )
