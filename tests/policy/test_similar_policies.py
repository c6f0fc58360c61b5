"""Which policies an officer is warned of: they share all but one condition, so their difference is its answer."""

import pytest

from veilmatch_policy.policy import parse_policy
from veilmatch_policy.similar import all_but_one

POLICY = """
policy: aid
recipient: social
among: "own > 0"
parameters: {line: {value: 8, allow: [5, 9]}, other: {value: 1, allow: [0, 2]}}
conditions:
  rent: {department: housing, where: "rent < 8"}
  wage: {department: tax, where: "wage < :line"}
"""


def similar(changed):
    one, other = (parse_policy(text.encode(), "policy") for text in (POLICY, changed))
    assert all_but_one(one, other) == all_but_one(other, one)
    return all_but_one(one, other)


@pytest.mark.parametrize(
    ("was", "is_"),
    [
        ("rent < 8", "( Rent<8 )"),  # another spelling of all of it
        ("rent < 8", "rent < 7"),  # another bound
        ("policy: aid", "policy: other"),  # the same under another name
        ("  rent: {", "  flat: {"),  # a condition under another name
        ("[5, 9]", "[4, 9]"),  # another interval of a parameter that a condition names
        ('among: "own > 0"', 'among: "own > 1"'),
        ('  wage: {department: tax, where: "wage < :line"}\n', ""),  # one condition less
        ("conditions:\n", 'conditions:\n  more: {department: tax, where: "wage > 2"}\n'),  # one more
        ("conditions:\n", "title: Aid\nconditions:\n"),
    ],
)
def test_policies_that_differ_in_one_condition(was, is_):
    assert was in POLICY
    assert similar(POLICY.replace(was, is_))


@pytest.mark.parametrize(
    "changes",
    [
        {"recipient: social": "recipient: fund"},  # another party learns it
        {"rent < 8": "rent < 7", "wage < :line": "wage < 3"},
        {"rent < 8": "rent < 7", "own > 0": "own > 1"},
        {
            "conditions:": 'conditions:\n  a: {department: tax, where: "wage > 2"}\n'
            '  b: {department: tax, where: "wage > 3"}'
        },
    ],
)
def test_policies_that_differ_in_more(changes):
    text = POLICY
    for was, is_ in changes.items():
        assert was in text
        text = text.replace(was, is_)
    assert not similar(text)


@pytest.mark.parametrize(
    ("was", "is_"),
    [
        ("rent < 8", "rent<8"),
        ("rent < 8", "(rent) < (8)"),
        ("rent < 8", "RENT < 8"),
        ('"rent < 8"}', '"rent < 8", unknown: fail}'),
        ("[5, 9]", "[5.0, 9.00]"),
        ("  rent: {", "  flat: {"),
    ],
)
def test_another_spelling_hides_no_likeness(was, is_):
    """Each beside another condition: were the spelling another condition, two would differ."""
    assert was in POLICY
    assert similar(POLICY.replace(was, is_).replace('among: "own > 0"', 'among: "own > 1"'))
