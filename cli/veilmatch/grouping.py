"""Which policies run as one job: those whose terms meet, so that each term is contributed once."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from itertools import groupby
from typing import TypeVar

from veilmatch_policy.catalog import Catalog
from veilmatch_policy.check import EXTRA_DEALER, declared_by, plan_of
from veilmatch_policy.errors import PolicyRefusedError
from veilmatch_policy.manifest import MOST_POLICIES
from veilmatch_policy.plan import Question
from veilmatch_policy.planning import plan_terms
from veilmatch_policy.policy import Policy
from veilmatch_policy.questions import ask

Job = list[Policy]

_T = TypeVar("_T")


def jobs_of(policies: Sequence[Policy], catalogs: Mapping[str, Catalog], reference_date: date) -> list[Job]:
    """Group policies that share a term, directly or through others, and recipient, register, dealer and day.

    Jobs are in the order of their first policies.  Raises PolicyError where one is refused.
    """

    def terms_of(related: Job) -> list[set[int]]:
        declarations, _ = declared_by(related, catalogs, reference_date)
        plan = plan_terms(related, declarations, reference_date=reference_date)
        return [set(plan.terms_of(number)) for number in range(len(related))]

    return _grouped(policies, terms_of, lambda job: _together(job, catalogs, reference_date))


def submissions_of(policies: Sequence[Policy]) -> list[Job]:
    """Group policies as `jobs_of` does where no catalog is at hand: by what they ask of other departments.

    Whether two sums are one is for the catalogs to say; that two policies ask the same their texts say.
    """
    return _grouped(policies, lambda related: [_asked_of_others(policy) for policy in related], _with_room)


def needs_extra_dealer(jobs: Sequence[Job], catalogs: Mapping[str, Catalog], reference_date: date) -> bool:
    """Whether some job finds no department without another part, to deal for its circuits."""
    dealers = {plan_of(job, catalogs, reference_date)[0].dealer for job in jobs}
    return EXTRA_DEALER in dealers - catalogs.keys()


def _grouped(
    policies: Sequence[Policy],
    things_of: Callable[[Job], Sequence[set[_T]]],
    split: Callable[[Job], list[Job]],
) -> list[Job]:
    """Group policies of a kind that have one of their ``things_of`` in common; ``split`` takes a job apart again."""
    place = {policy.name: number for number, policy in enumerate(policies)}
    jobs: list[Job] = []
    for _, alike in groupby(sorted(policies, key=_kind), key=_kind):
        related = list(alike)
        for job in _connected(related, things_of(related)):
            ordered = sorted(job, key=lambda policy: place[policy.name])
            for start in range(0, len(ordered), MOST_POLICIES):
                jobs.extend(split(ordered[start : start + MOST_POLICIES]))
    return sorted(jobs, key=lambda job: place[job[0].name])


def _connected(policies: Sequence[Policy], have: Sequence[set[_T]]) -> list[Job]:
    """Policies in groups: in one are those that have something in common, directly or through others."""
    groups: list[tuple[set[_T], Job]] = []
    for policy, own in zip(policies, have, strict=True):
        things, job = set(own), [policy]
        for other in [group for group in groups if group[0] & things]:
            groups.remove(other)
            things |= other[0]
            job = other[1] + job
        groups.append((things, job))
    return [job for _, job in groups]


def _asked_of_others(policy: Policy) -> set[Question]:
    """The questions of a policy to departments besides its recipient; on any day, which is one for all of a kind."""
    return {question for question in ask([policy], date.min) if question.department != policy.recipient}


def _with_room(job: Job) -> list[Job]:
    """The job, or its policies one by one where together they leave the dealer that they name no room."""
    taken = {question.department for policy in job for question in _asked_of_others(policy)}
    return [[policy] for policy in job] if job[0].dealer in taken else [job]


def _together(job: Job, catalogs: Mapping[str, Catalog], reference_date: date) -> list[Job]:
    """The job, or its policies one by one where together they leave a named dealer no room."""
    try:
        plan_of(job, catalogs, reference_date)
    except PolicyRefusedError:
        return [[policy] for policy in job]
    return [job]


def _kind(policy: Policy) -> tuple[str, ...]:
    register = (
        ("", "") if policy.household is None else (policy.household.department, policy.household.column)
    )
    return (policy.recipient, policy.dealer or "", str(policy.reference_date or ""), *register)
