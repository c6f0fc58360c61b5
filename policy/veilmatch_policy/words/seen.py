"""A policy as its reader sees it: with everybody's catalog, or a node with its own alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from veilmatch_policy.catalog import Catalog, Column
from veilmatch_policy.check import DepartmentTask
from veilmatch_policy.formula import Formula, conjuncts, names_in
from veilmatch_policy.plan import Plan, PolicyPlan, Question, Term
from veilmatch_policy.policy import Parameter, Policy
from veilmatch_policy.questions import ask
from veilmatch_policy.words.language import Words


class SeenPolicy(Protocol):
    """What the words are made from; `veilmatch_policy.check.CheckedPolicy` is one with all there is.

    Of departments into whose catalogs the reader does not see, the policy itself is quoted.
    """

    @property
    def policy(self) -> Policy:
        """The policy."""
        ...

    @property
    def plan(self) -> Plan:
        """The plan of a job that has it, alone or among others."""
        ...

    @property
    def catalogs(self) -> Mapping[str, Catalog]:
        """The catalogs that the reader sees, by department."""
        ...

    @property
    def tasks(self) -> Mapping[str, DepartmentTask]:
        """What these departments evaluate in the job."""
        ...


@dataclass(frozen=True)
class PolicyView:
    """A policy as one node sees it."""

    policy: Policy
    plan: Plan
    catalogs: Mapping[str, Catalog]
    tasks: Mapping[str, DepartmentTask]


# Of a job's plan, what is of this policy.


def planned(seen: SeenPolicy) -> PolicyPlan:
    """What becomes of the policy in the job.  Raises ValueError where the plan has not got it."""
    return seen.plan.policies[_number(seen)]


def terms(seen: SeenPolicy) -> list[Term]:
    """The sums that the policy needs."""
    return [seen.plan.terms[number] for number in sorted(seen.plan.terms_of(_number(seen)))]


def contributors(seen: SeenPolicy) -> list[str]:
    """Who contributes to the policy's sums, sorted."""
    return sorted({name for term in terms(seen) for name in seen.plan.contributors_to(term)})


def registrar(seen: SeenPolicy) -> str | None:
    """Who tells who lives with whom for this policy."""
    return seen.plan.registrar if any(term.grain == "household" for term in terms(seen)) else None


def dealer(seen: SeenPolicy) -> str | None:
    """Who deals for this policy."""
    return seen.plan.dealer if planned(seen).circuits else None


def questions(seen: SeenPolicy, department: str) -> dict[int, Question]:
    """What the policy asks of a department, by the job's numbers, with the policy's own places."""
    return {
        seen.plan.questions.index(question): question
        for question in ask([seen.policy], seen.plan.reference_date)
        if question.department == department
    }


def columns(seen: SeenPolicy, department: str) -> tuple[Column, ...]:
    """The columns that a department reads for the policy, each once; none where the reader does not see it."""
    task = seen.tasks.get(department)
    if task is None:
        return ()
    read = (task.questions[number] for number in questions(seen, department))
    return tuple(dict.fromkeys(column for expression in read for column in expression.columns))


def _number(seen: SeenPolicy) -> int:
    return [each.policy.digest for each in seen.plan.policies].index(seen.policy.digest)


# Parts of sentences.


def named(seen: SeenPolicy, question: Question, say: Words) -> str:
    """A question with its condition's name, its text, and the parameters in it."""
    name = question.place.partition("conditions.")[2].partition(".")[0] or "among"
    said = say("{name}: {text}", name=name, text=flat(question.text))
    condition = seen.policy.conditions.get(name)
    if condition is not None and condition.members is not None:
        said += say(", every member") if condition.members == "every" else say(", any member")
    shown = [parameter(key, seen.policy.parameters[key], say) for key, _ in question.parameters]
    return said + say(" with {parameters}", parameters=say.parts(shown)) if shown else said


def parameter(name: str, stated: Parameter, say: Words) -> str:
    """A parameter with its value and the interval in which it may be."""
    if stated.allow is None:
        return say("{name} = {value}", name=name, value=stated.value)
    low, high = stated.allow
    return say(
        "{name} = {value}, approved from {low} to {high}", name=name, value=stated.value, low=low, high=high
    )


def asked_about(policy: Policy, say: Words) -> str:
    """Whom the recipient asks about."""
    if policy.among is None:
        people = say("all of its people")
    else:
        people = say("its people with {condition}", condition=flat(policy.among))
    if policy.among_at_most is None:
        return people
    return say("{people} (at most {count})", people=people, count=policy.among_at_most)


def own_conditions(seen: SeenPolicy, department: str, say: Words) -> str:
    """A department's conditions and amounts; whom the recipient asks about is said elsewhere."""
    among = planned(seen).among
    return say.all_of(
        named(seen, question, say)
        for number, question in questions(seen, department).items()
        if number != among
    )


def answered(policy: Policy) -> Iterator[tuple[str | None, Formula]]:
    """Of a policy that is opened as an answer, each part of its AND, and the department whose own it is."""
    for operand in conjuncts(policy.eligible):
        yield policy.conditions[next(names_in(operand))].department, operand


def flat(text: str) -> str:
    """A text on one line."""
    return " ".join(text.split())
