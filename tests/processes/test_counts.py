"""Real processes: a count reaches the coordinator alone, once an epoch, also where the dealer only dials out."""

import time

import pytest
from processes.small_world import PEOPLE

COUNT = """\
policy: how-many
recipient: tax
conditions:
  old: {department: police, where: "age >= 65"}
reveal: count
min_count: 1
"""
AT_AGES = """\
policy: at-ages
recipient: tax
conditions:
  old: {total: {police: age}, at_least: 65, unknown: fail}
reveal: count
min_count: 5
vary: {old: [50, 65, 85, 120]}
"""


def plain(at_least):
    """How many of the tax bureau's people are so old."""
    return sum(person.wage is not None and (person.age or 0) >= at_least for person in PEOPLE)


@pytest.fixture
def counting(linked):
    """A new epoch, in which nothing was counted."""
    linked.link()
    linked.policies |= {"how-many": COUNT, "at-ages": AT_AGES}
    return linked


def test_counts_are_the_plain_ones_and_no_department_writes_them(counting):
    [result] = counting.submit("how-many")
    assert (result["eligible"], result["status"]) == (plain(65), "complete")
    assert result["departments"] == ["police", "social", "tax"]  # social insurance deals
    [result] = counting.submit("at-ages")
    told = [(each["bound"], each["eligible"]) for each in result["vary"]]
    expected = [(str(bound), plain(bound)) for bound in (50, 65, 85, 120)]
    assert told == [(bound, count if count >= 5 else None) for bound, count in expected]
    assert 0 < plain(85) < 5 < plain(65) < plain(50)
    for name in ("how-many", "at-ages"):
        assert not (counting.out / name).exists()


def test_a_second_count_is_the_stored_one_also_after_a_restart(counting):
    [first] = counting.submit("how-many")
    jobs = counting.stored("tax", "SELECT count(*) FROM jobs")
    began = time.monotonic()
    assert counting.submit("how-many") == [first]
    assert time.monotonic() - began < 1
    counting.terminate("coordinator")
    counting.start("coordinator")
    assert counting.submit("how-many") == [first]
    assert counting.stored("tax", "SELECT count(*) FROM jobs") == jobs  # nothing ran
