"""Which policies the office's desk submits as one job, without any catalog."""

import pytest

from veilmatch.grouping import submissions_of
from veilmatch_policy.manifest import MOST_POLICIES
from veilmatch_policy.policy import parse_policy

OLD = 'old: {department: police, where: "age >= 65"}'
POOR = "poor: {total: {tax: wage, social: pension}, below: 500}"
OWN = 'own: {department: housing, where: "rent < 100"}'


def policy(name, *conditions, recipient="housing", more=""):
    text = f"policy: {name}\nrecipient: {recipient}\n{more}conditions:\n"
    return parse_policy((text + "".join(f"  {each}\n" for each in conditions)).encode(), name)


def names(*policies):
    return [[each.name for each in job] for job in submissions_of(policies)]


def test_policies_that_ask_the_same_are_one_job_also_through_others():
    between = policy("c", OLD, POOR)
    assert names(policy("a", OLD), policy("b", POOR), between) == [["a", "b", "c"]]
    assert names(policy("a", OLD), policy("b", POOR)) == [["a"], ["b"]]
    # The same bound or not: it is the amounts that are asked.
    assert names(policy("a", POOR), policy("b", POOR.replace("500", "900"))) == [["a", "b"]]


def test_what_the_recipient_asks_itself_joins_nothing():
    assert names(policy("a", OLD, OWN), policy("b", POOR, OWN)) == [["a"], ["b"]]


@pytest.mark.parametrize("more", ["reference_date: 2025-12-31\n", "dealer: audit\n"])
def test_policies_of_another_kind_are_another_job(more):
    assert names(policy("a", OLD), policy("b", OLD, more=more)) == [["a"], ["b"]]
    assert names(policy("a", OLD, more=more), policy("b", OLD, more=more)) == [["a", "b"]]
    assert names(policy("a", OLD), policy("b", OLD, recipient="tax")) == [["a"], ["b"]]


def test_a_named_dealer_is_not_asked_by_another_policy_of_its_job():
    dealer = "dealer: tax\n"
    other = policy("b", OLD, POOR, more=dealer)  # refused by itself, which is for the coordinator to say
    assert names(policy("a", OLD, more=dealer), other) == [["a"], ["b"]]


def test_jobs_come_in_the_order_of_their_first_policies_and_none_is_too_large():
    many = [policy(f"p{number}", OLD) for number in range(MOST_POLICIES + 1)]
    found = names(policy("first", POOR), *many[:2], policy("tax", OLD, recipient="tax"), *many[2:])
    assert [job[0] for job in found] == ["first", "p0", "tax", f"p{MOST_POLICIES}"]
    assert len(found[1]) == MOST_POLICIES
