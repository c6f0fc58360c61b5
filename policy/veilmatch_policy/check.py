"""A policy held against the catalogs: everything that can be refused without running.

What is refused names the column, its owner, the rule that refuses, and the nearest allowed thing
(policies.md, "Commands").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from veilmatch_policy.catalog import Catalog, Column, Table
from veilmatch_policy.declarations import AmountEntry, DepartmentEntry, declarations_of
from veilmatch_policy.errors import PolicyRefusedError, nearest, quoted
from veilmatch_policy.expression import Expression, bind
from veilmatch_policy.formula import under_not
from veilmatch_policy.plan import Declarations, Plan, Question
from veilmatch_policy.planning import derive_plan
from veilmatch_policy.policy import Policy
from veilmatch_policy.questions import amount_questions, ask, bound_question, comparison, where_question

EXTRA_DEALER = "dealer"  # the node without data that deals where every department has another part


@dataclass(frozen=True)
class DepartmentTask:
    """What one department evaluates: its questions' numbers in the job, each with its bound expression."""

    questions: Mapping[int, Expression]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that are read, each once."""
        read = self.questions.values()
        return tuple(dict.fromkeys(column for expression in read for column in expression.columns))


@dataclass(frozen=True)
class CheckedPolicy:
    """A policy whose every expression is bound to the catalog of the department that answers it.

    ``catalogs`` are those of all departments, ``tasks`` those of the departments that are asked
    something, the recipient always among them; ``plan`` is that of a job with this policy alone.
    """

    policy: Policy
    catalogs: Mapping[str, Catalog]
    tasks: Mapping[str, DepartmentTask]
    plan: Plan


def check_policy(
    policy: Policy,
    catalogs: Mapping[str, Catalog],
    reference_date: date,
    dealers: Sequence[str] = (),
) -> CheckedPolicy:
    """Check a policy against the catalogs of all departments, by name.

    ``reference_date`` is the epoch's, ``dealers`` are the nodes that may deal (by default any department
    without another part, or a node of its own).  Raises PolicyRefusedError for what is wrong with it or
    what a catalog does not give.
    """
    plan, tasks = plan_of([policy], catalogs, reference_date, dealers)
    for name, task in tasks.items():
        check_alone(plan, catalogs[name], task)
    return CheckedPolicy(policy, catalogs, tasks, plan)


def plan_of(
    policies: Sequence[Policy],
    catalogs: Mapping[str, Catalog],
    reference_date: date,
    dealers: Sequence[str] = (),
) -> tuple[Plan, Mapping[str, DepartmentTask]]:
    """Plan a job of policies as its parties would, with all their catalogs at hand; arguments as `check_policy`.

    Returns the plan, and the tasks of the recipient, the register and whoever is asked something, by name.
    """
    dealers = dealers or (*sorted(catalogs), EXTRA_DEALER)
    declarations, tasks = declared_by(policies, catalogs, reference_date, dealers)
    return derive_plan(policies, declarations, reference_date=reference_date, dealers=dealers), tasks


def declared_by(
    policies: Sequence[Policy],
    catalogs: Mapping[str, Catalog],
    reference_date: date,
    dealers: Sequence[str] = (EXTRA_DEALER,),
) -> tuple[Declarations, Mapping[str, DepartmentTask]]:
    """What the catalogs declare of what policies ask, and the tasks as `plan_of` returns them."""
    for policy in policies:
        _departments_exist(policy, catalogs, dealers)
    questions = ask(policies, reference_date)
    names = {question.department for question in questions} | {policy.recipient for policy in policies}
    names |= {policy.household.department for policy in policies if policy.household is not None}
    tasks: dict[str, DepartmentTask] = {}
    entries: list[DepartmentEntry] = []
    for name in sorted(names):
        elsewhere = {
            column.name: other
            for other, catalog in sorted(catalogs.items())
            if other != name
            for column in catalog.columns()
        }
        tasks[name] = bind_questions(policies, questions, reference_date, catalogs[name], elsewhere)
        entries.append(declare(policies, questions, tasks[name], catalogs[name]))
    return declarations_of(entries, policies, reference_date), tasks


def bind_questions(
    policies: Sequence[Policy],
    questions: Sequence[Question],
    reference_date: date,
    catalog: Catalog,
    elsewhere: Mapping[str, str] | None = None,
) -> DepartmentTask:
    """Bind what a job's policies ask of one department to its catalog.

    ``questions`` are those of `ask` for ``policies`` and the epoch's ``reference_date``.  This is as
    much as a node can check that sees no other catalog; ``elsewhere`` maps columns of
    other departments to their owners, for messages.  Raises PolicyRefusedError.
    """
    bound: dict[int, Expression] = {}
    numbers = {question: number for number, question in enumerate(questions)}
    for policy in policies:
        _check_register(policy, catalog)
        for question in ask([policy], reference_date):
            if question.department != catalog.department:
                continue
            number = numbers[question]
            if number not in bound:
                bound[number] = bind(
                    question.text,
                    catalog,
                    kind=question.kind,
                    parameters=dict(question.parameters),
                    where=question.place,
                    elsewhere=elsewhere,
                    scope=question.scope,
                )
            if not (bound[number].columns or bound[number].counted):
                # It would make its department another one that is asked, and stand alone: never would not see it.
                raise PolicyRefusedError(
                    question.place,
                    f"reads nothing of {catalog.department}, so it is the same for everybody",
                    "name a column, or leave it out",
                )
            for column in bound[number].columns:
                _may_be_asked(policy, catalog, column, question.place)
            for table in bound[number].counted:
                _may_be_counted(policy, catalog, table, question.place)
        _check_unknown(policy, questions, reference_date, bound)
    return DepartmentTask(dict(sorted(bound.items())))


def declare(
    policies: Sequence[Policy], questions: Sequence[Question], task: DepartmentTask, catalog: Catalog
) -> DepartmentEntry:
    """What a department declares of the amounts that it is asked, before anything is computed."""
    registers = {policy.household.department for policy in policies if policy.household is not None}
    register = catalog.household
    return DepartmentEntry(
        department=catalog.department,
        amounts=tuple(
            AmountEntry(
                question=number,
                scale=expression.type.scale,
                largest=expression.largest,
                optional=expression.optional,
            )
            for number, expression in task.questions.items()
            if questions[number].kind == "amount"
        ),
        household_at_most=register[1].at_most
        if register is not None and catalog.department in registers
        else None,
    )


def check_alone(plan: Plan, catalog: Catalog, task: DepartmentTask) -> None:
    """Refuse a plan in which this department's answer could be read off alone, where a column says so."""
    for policy, planned in enumerate(plan.policies):
        others = {
            name for number in plan.terms_of(policy) for name in plan.contributors_to(plan.terms[number])
        }
        if others != {catalog.department}:
            continue
        for question in ask([planned.policy], plan.reference_date):
            if question.department != catalog.department:
                continue
            expression = task.questions[plan.questions.index(question)]
            for column in expression.columns:
                _may_stand_alone(planned.policy, catalog, column, question.place)
            for table in expression.counted:  # as its most willing column
                willing = next((each for each in table.columns.values() if each.alone == "approval"), None)
                _may_stand_alone(
                    planned.policy, catalog, willing or next(iter(table.columns.values())), question.place
                )


def _check_register(policy: Policy, catalog: Catalog) -> None:
    """Refuse a household register that the catalog does not keep, or that may not be used."""
    stated = policy.household
    if stated is None or stated.department != catalog.department:
        return
    where = f"{policy.name}: household"
    if catalog.household is None:
        raise PolicyRefusedError(
            where,
            f"{catalog.department} keeps no household register",
            "ask the department whose catalog has one",
        )
    column = catalog.household[1].column
    if stated.column != column:
        raise PolicyRefusedError(
            f"{where}.column",
            f"{catalog.department} has no household column {quoted(stated.column)}",
            nearest(stated.column, [column]),
        )
    listed = catalog.column(column)
    if listed is not None:
        _may_be_asked(policy, catalog, listed, where)


def _check_unknown(
    policy: Policy, questions: Sequence[Question], reference_date: date, bound: Mapping[int, Expression]
) -> None:
    """Under NOT and at_least, failing for a missing value would let somebody pass: the policy decides."""
    for name in under_not(policy.eligible):
        condition = policy.conditions[name]
        if condition.unknown is not None:
            continue
        if condition.total is None:
            asked = [where_question(policy, condition, reference_date)]
        else:
            bounding = bound_question(policy, condition, reference_date)
            asked = [
                *amount_questions(policy, condition, reference_date).values(),
                *([bounding] if bounding else []),
            ]
        for question in asked:
            expression = bound.get(questions.index(question))
            if expression is not None and expression.optional:
                raise PolicyRefusedError(
                    question.place,
                    f"its value may be missing in {question.department}, and it stands under NOT or at_least",
                    f"write unknown: fail or unknown: pass into {name}, or have missing declared in the catalog",
                )


def _departments_exist(policy: Policy, catalogs: Mapping[str, Catalog], dealers: Sequence[str]) -> None:
    named = [("recipient", policy.recipient)]
    for condition in policy.conditions.values():
        place = f"conditions.{condition.name}"
        if condition.department is not None:
            named.append((f"{place}.department", condition.department))
        named.extend((f"{place}.total", department) for department in condition.total or ())
        if condition.bound is not None and condition.bound.department is not None:
            named.append((f"{place}.{comparison(condition)}", condition.bound.department))
    if policy.household is not None:
        named.append(("household.department", policy.household.department))
    for number, example in enumerate(policy.examples, start=1):
        named.extend((f"examples.{number}.given", department) for department in example.given)
    for place, department in named:
        if department not in catalogs:
            what = f"there is no department {quoted(department)}"
            raise PolicyRefusedError(f"{policy.name}: {place}", what, nearest(department, catalogs))
    nodes = {*catalogs, *dealers}
    if policy.dealer is not None and policy.dealer not in nodes:
        what = f"there is no node {quoted(policy.dealer)}"
        raise PolicyRefusedError(f"{policy.name}: dealer", what, nearest(policy.dealer, nodes))


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


def _may_be_counted(policy: Policy, catalog: Catalog, table: Table, where: str) -> None:
    """Who has a row may be asked where one of the table's columns may be: a table that is not shared tells nothing."""
    refusal: PolicyRefusedError | None = None
    for column in table.columns.values():
        try:
            return _may_be_asked(policy, catalog, column, where)
        except PolicyRefusedError as error:
            refusal = error
    if refusal is not None:
        raise refusal
    return None


def _purpose_remedy(code: str | None, purposes: tuple[str, ...]) -> str:
    if code is None:
        return f"write purpose: {{code: {purposes[0]}}} if that is what it is for" if purposes else ""
    return nearest(code, purposes)


def _may_stand_alone(policy: Policy, catalog: Catalog, column: Column, where: str) -> None:
    owner = catalog.department
    if column.alone == "never":
        told = (
            f"{policy.recipient} would read its answer off"
            if policy.reveal == "members"
            else "the count would be of its answer alone"
        )
        raise PolicyRefusedError(
            where,
            f"{owner} is the only department asked, so {told}, which {column.name} of {owner} does not allow "
            "(alone: never)",
            f"add a condition of another department, or ask {owner} for alone: approval",
        )
