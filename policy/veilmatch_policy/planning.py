"""From policies to a plan (protocol.md, 7): the one function that every party calls."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date

from veilmatch_policy.catalog import LARGEST_HOUSEHOLD
from veilmatch_policy.errors import PolicyRefusedError
from veilmatch_policy.plan import Amount, Declarations, Plan
from veilmatch_policy.policy import Policy
from veilmatch_policy.questions import ask
from veilmatch_policy.terms import Terms


def derive_plan(
    policies: Sequence[Policy],
    declarations: Declarations,
    *,
    reference_date: date,
    dealers: Sequence[str] = (),
    register: str | None = None,
) -> Plan:
    """Derive the plan of a job's policies, all of one recipient.

    ``dealers`` are the nodes that may deal, the first of them without another part does, unless a policy
    names one; ``register`` is the department whose people are the epoch's slots, in ``register`` mode.
    Raises PolicyRefusedError where a total cannot be held, nobody may deal, a policy names a dealer with
    another part, nobody besides the recipient is asked, or the policies do not belong together.
    """
    plan = plan_terms(policies, declarations, reference_date=reference_date)
    if not plan.contributors:
        raise PolicyRefusedError(
            f"{policies[0].name}: conditions",
            f"every condition is answered by the recipient {plan.recipient}, so there is nothing to match",
            "add a condition of another department",
        )
    if len({policy.dealer for policy in policies if policy.dealer is not None}) > 1:
        raise _not_together(policies)
    _require_same_limits(plan)
    taken = dict.fromkeys(plan.contributors, "is asked something")
    registrars = {policy.household.department for policy in policies if policy.household is not None}
    taken |= {name: "keeps the register" for name in (register, *registrars) if name is not None}
    taken[plan.recipient] = "is the recipient"
    _check_named(policies, taken)
    if not any(each.circuits for each in plan.policies):
        return plan
    return replace(plan, dealer=_dealer(policies, dealers, taken))


def plan_terms(policies: Sequence[Policy], declarations: Declarations, *, reference_date: date) -> Plan:
    """Derive a plan but for its dealer.  Raises as `derive_plan` does for totals and policies apart."""
    recipient = policies[0].recipient
    registers = {policy.household for policy in policies if policy.household is not None}
    # The departments' own expressions read it too, and each department's data is read once a job.
    days = {policy.reference_date or reference_date for policy in policies}
    if len(registers) > 1 or len(days) > 1 or any(policy.recipient != recipient for policy in policies):
        raise _not_together(policies)
    registrar = next((each.department for each in registers), None)
    household = declarations.household_at_most or LARGEST_HOUSEHOLD
    questions = ask(policies, reference_date)
    terms = Terms(questions, declarations, reference_date, household)
    planned = tuple(terms.plan(policy) for policy in policies)
    return Plan(
        recipient=recipient,
        registrar=registrar if any(term.grain == "household" for term in terms.terms) else None,
        dealer=None,
        household_at_most=household,
        reference_date=days.pop(),
        questions=questions,
        terms=terms.terms,
        policies=planned,
    )


def _require_same_limits(plan: Plan) -> None:
    """Refuse policies that beside each other would mean something else than each by itself.

    How large an amount without a declared range may be before it is unknown, the sum decides that it is part of.
    """
    seen: dict[int, int] = {}
    for number, planned in enumerate(plan.policies):
        own: dict[int, int] = {}
        for term in plan.terms_of(number):
            for _, part in plan.terms[term].parts:
                if isinstance(part, Amount):
                    for question, factor, limit in zip(
                        part.questions, part.factors, part.limits, strict=True
                    ):
                        own[question] = min(limit // abs(factor), own.get(question, limit))
        for question, limit in own.items():
            if seen.setdefault(question, limit) != limit:
                raise PolicyRefusedError(
                    f"{planned.policy.name}: {plan.questions[question].place}",
                    "has no declared range, and another policy of the job leaves it more or less room",
                    "submit them one by one, or have a range declared in the catalog",
                )


def _not_together(policies: Sequence[Policy]) -> PolicyRefusedError:
    return PolicyRefusedError(
        ", ".join(policy.name for policy in policies),
        "the policies of one job have one recipient, one household register, one reference date and one dealer",
        "submit them one by one",
    )


def _check_named(policies: Sequence[Policy], taken: Mapping[str, str]) -> None:
    """Refuse a dealer that has another part; ``taken`` says which (protocol.md, 1)."""
    for policy in policies:
        if policy.dealer is not None and policy.dealer in taken:
            raise PolicyRefusedError(
                f"{policy.name}: dealer",
                f"{policy.dealer} {taken[policy.dealer]}, and with what a dealer knows it would see more than it may",
                "name a department that has no other part",
            )


def _dealer(policies: Sequence[Policy], dealers: Sequence[str], taken: Collection[str]) -> str:
    """Who deals: the one that a policy names, else the first that has no other part."""
    named = [policy.dealer for policy in policies if policy.dealer is not None]
    for name in [*named, *dealers]:
        if name not in taken:
            return name
    raise PolicyRefusedError(
        f"{policies[0].name}: dealer",
        "every department has a part in the policy, nobody is left to deal",
        "add a node without data to the federation and name it as dealer",
    )
