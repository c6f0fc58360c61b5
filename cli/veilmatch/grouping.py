"""Which policies run as one job: those whose terms meet, so that each term is contributed once."""

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import groupby

from veilmatch_policy.catalog import Catalog
from veilmatch_policy.check import EXTRA_DEALER, declared_by, plan_of
from veilmatch_policy.errors import PolicyRefusedError
from veilmatch_policy.manifest import MOST_POLICIES
from veilmatch_policy.planning import plan_terms
from veilmatch_policy.policy import Policy

Job = list[Policy]


def jobs_of(policies: Sequence[Policy], catalogs: Mapping[str, Catalog], reference_date: date) -> list[Job]:
    """Group policies that share a term, directly or through others, and recipient, register, dealer and day.

    Jobs are in the order of their first policies.  Raises PolicyError where one is refused.
    """
    place = {policy.name: number for number, policy in enumerate(policies)}
    jobs: list[Job] = []
    for _, alike in groupby(sorted(policies, key=_kind), key=_kind):
        related = list(alike)
        declarations, _ = declared_by(related, catalogs, reference_date)
        plan = plan_terms(related, declarations, reference_date=reference_date)
        groups: list[tuple[set[int], Job]] = []
        for number, policy in enumerate(related):
            terms, job = set(plan.terms_of(number)), [policy]
            for other in [group for group in groups if group[0] & terms]:
                groups.remove(other)
                terms |= other[0]
                job = other[1] + job
            groups.append((terms, job))
        for _, job in groups:
            ordered = sorted(job, key=lambda policy: place[policy.name])
            for start in range(0, len(ordered), MOST_POLICIES):
                jobs.extend(_together(ordered[start : start + MOST_POLICIES], catalogs, reference_date))
    return sorted(jobs, key=lambda job: place[job[0].name])


def needs_extra_dealer(jobs: Sequence[Job], catalogs: Mapping[str, Catalog], reference_date: date) -> bool:
    """Whether some job finds no department without another part, to deal for its circuits."""
    dealers = {plan_of(job, catalogs, reference_date)[0].dealer for job in jobs}
    return EXTRA_DEALER in dealers - catalogs.keys()


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
