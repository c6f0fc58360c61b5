"""What a policy means: numpy agrees with a loop over people, exactly and at every edge."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilmatch_policy.evaluate import Amounts
from veilmatch_policy.meaning import Answers, Households, Total, Where, eligible, truths
from veilmatch_policy.policy import parse_policy

BOUNDS = {"below": "<", "at_most": "<=", "above": ">", "at_least": ">="}
TEXT = """\
policy: p
recipient: r
unit: {unit}
household: {{department: police, column: household_id}}
parameters: {{line: 2.5}}
conditions:
{conditions}
eligible: "{eligible}"
"""
CONDITION = "  c: {{of: {of}, total: {{a: x, b: y}}, {bound}, unknown: {unknown}, per_member: {per_member}}}"


def policy(conditions, eligible="c", unit="person", more=""):
    text = TEXT.format(unit=unit, conditions=conditions, eligible=eligible) + more
    return parse_policy(text.encode(), "p.yaml")


def numbers(values, dtype):
    return np.array(values, dtype=dtype)


@st.composite
def parts(draw, people):
    """An amount of each person: some at the bounds that are used, some unknown, few unreadable."""
    scale = draw(st.sampled_from([0, 1, 3]))
    units = st.sampled_from([0, 25 * 10**scale // 10, 2**62, -(2**62)]) | st.integers(-6, 6)
    rare = st.sampled_from([True] * 24 + [False])
    known = draw(st.lists(rare, min_size=people, max_size=people))
    values = draw(st.lists(units, min_size=people, max_size=people))
    return Amounts(
        numbers([value if each else 0 for value, each in zip(values, known, strict=True)], np.int64),
        numbers(known, np.bool_),
        numbers(draw(st.lists(rare, min_size=people, max_size=people)), np.bool_),
        scale,
    )


@st.composite
def totals(draw):
    people = draw(st.integers(1, 7))
    labels = draw(st.lists(st.integers(-1, 3), min_size=people, max_size=people))
    bound = draw(st.none() | parts(people))
    return Total((draw(parts(people)), draw(parts(people))), bound), labels


def together(labels, person):
    """The members of somebody's household."""
    if labels[person] < 0:
        return [person]
    return [other for other, label in enumerate(labels) if label == labels[person]]


def value(part, person):
    return Fraction(int(part.values[person]), 10**part.scale)


@settings(max_examples=60, deadline=None)
@given(
    world=totals(),
    compared=st.sampled_from([*BOUNDS]),
    of=st.sampled_from(["person", "household"]),
    number=st.sampled_from(["0", "2.5", ":line", "-0.0001", "5"]),
    per_member=st.booleans(),
    unknown=st.sampled_from(["pass", "fail"]),
)
def test_totals(world, compared, of, number, per_member, unknown):
    total, labels = world
    written = f'{compared}: "{number}"'
    if total.bound is not None:
        per_member = False
        written = f"{compared}: {{police: max(z)}}"
    asked = policy(
        CONDITION.format(of=of, bound=written, unknown=unknown, per_member=str(per_member).lower())
    )
    held = []
    for person in range(len(labels)):
        members = together(labels, person) if of == "household" else [person]
        if total.bound is None:
            limit = Fraction("2.5" if number == ":line" else number) * (len(members) if per_member else 1)
            used = [*total.amounts]
        else:
            limit = value(total.bound, person)
            used = [*total.amounts, total.bound]
        reached = sum((value(part, member) for part in total.amounts for member in members), Fraction(0))
        readable = all(part.readable[member] for part in used for member in members)
        known = all(part.known[member] for part in used for member in members)
        decided = {
            "<": reached < limit,
            "<=": reached <= limit,
            ">": reached > limit,
            ">=": reached >= limit,
        }
        held.append(readable and (decided[BOUNDS[compared]] if known else unknown == "pass"))
    answers = Answers({"c": total}, Households(np.array(labels)))
    found = eligible(asked, answers)
    assert found.dtype == np.bool_
    assert found.tolist() == held


@pytest.mark.parametrize(
    ("compared", "of", "held"),
    [
        # Two who live together have 2.4 + 2.6, two others 2.5 + 2.6, and one alone 2.5.
        ("below", "household", [False, False, False, False, False]),
        ("at_most", "household", [True, True, False, False, True]),
        ("above", "household", [False, False, True, True, False]),
        ("at_least", "household", [True, True, True, True, True]),
        ("below", "person", [True, False, False, False, False]),
        ("at_most", "person", [True, False, True, False, True]),
    ],
)
def test_a_bound_per_member(compared, of, held):
    tenths = Amounts(np.array([24, 26, 25, 26, 25]), *np.ones((2, 5), dtype=np.bool_), scale=1)
    none = Amounts(np.zeros(5, dtype=np.int64), *np.ones((2, 5), dtype=np.bool_), scale=0)
    asked = policy(CONDITION.format(of=of, bound=f'{compared}: ":line"', unknown="fail", per_member="true"))
    answers = Answers({"c": Total((tenths, none), None)}, Households(np.array([3, 3, 0, 0, -1])))
    assert eligible(asked, answers).tolist() == held


@settings(max_examples=60, deadline=None)
@given(
    people=st.lists(st.tuples(st.integers(-1, 3), st.booleans(), st.booleans()), min_size=1, max_size=9),
    members=st.sampled_from(["every", "any"]),
)
def test_members(people, members):
    labels = [label for label, _, _ in people]
    asked = policy(f"  c: {{department: a, where: x, members: {members}}}", unit="household")
    where = Where(
        numbers([holds for _, holds, _ in people], np.bool_),
        numbers([known for _, _, known in people], np.bool_),
    )
    held = [
        {"every": all, "any": any}[members](
            people[member][1] for member in together(labels, person) if people[member][2]
        )
        for person in range(len(people))
    ]
    answers = Answers({"c": where}, Households(np.array(labels)))
    assert eligible(asked, answers).tolist() == held


def test_a_household_of_whom_nobody_is_known():
    where = Where(numbers([True, False], np.bool_), numbers([False, False], np.bool_))
    for members, held in [("every", [True, True]), ("any", [False, False])]:
        asked = policy(f"  c: {{department: a, where: x, members: {members}}}")
        assert eligible(asked, Answers({"c": where}, Households(np.array([0, 0])))).tolist() == held
    asked = policy("  c: {department: a, where: x}")
    assert eligible(asked, Answers({"c": where}, Households(np.array([0, 0])))).tolist() == [True, False]


@pytest.mark.parametrize(
    ("formula", "held"),
    [
        ("a AND b AND c", [False, False, False, True]),
        ("a AND NOT (b OR c)", [True, False, False, False]),
        ("at_least(2, a, b, c)", [False, True, False, True]),
        ("NOT at_least(2, a, b, c) AND (a OR b OR c)", [True, False, True, False]),
    ],
)
def test_formulas(formula, held):
    conditions = "\n".join(f"  {name}: {{department: {name}, where: x}}" for name in "abc")
    asked = policy(conditions, formula)
    known = np.ones(4, dtype=np.bool_)
    said = {
        "a": [True, True, False, True],
        "b": [False, True, False, True],
        "c": [False, False, True, True],
    }
    answers = Answers(
        {name: Where(numbers(each, np.bool_), known) for name, each in said.items()}, Households.apart(4)
    )
    assert eligible(asked, answers).tolist() == held
    assert {name: each.tolist() for name, each in truths(asked, answers).items()} == said


def test_what_if_tries_other_bounds():
    conditions = "  c: {total: {a: x}, below: 10}\n  d: {total: {a: x}, below: 10}"
    asked = policy(conditions, "c AND d", more="reveal: count\nvary: {c: [3, 3.5]}\n")
    some = Amounts(np.array([2, 3, 9, 10]), *np.ones((2, 4), dtype=np.bool_), scale=0)
    answers = Answers({"c": Total((some,), None), "d": Total((some,), None)}, Households.apart(4))
    assert eligible(asked, answers).tolist() == [True, True, True, False]
    assert eligible(asked, answers, varied=Decimal(3)).tolist() == [True, False, False, False]
    assert eligible(asked, answers, varied=Decimal("3.5")).tolist() == [True, True, False, False]
    assert truths(asked, answers, varied=Decimal(3))["d"].tolist() == [True, True, True, False]


def test_households_of_one_and_of_many():
    households = Households(np.array([-1, 7, -1, 7, 2, 7]))
    assert households.sizes.tolist() == [1, 3, 1, 3, 1, 3]
    assert households.total(np.array([1, 2, 3, 4, 5, 2**80], dtype=object)).tolist() == [
        1,
        6 + 2**80,
        3,
        6 + 2**80,
        5,
        6 + 2**80,
    ]
    assert Households(np.array([], dtype=np.int64)).sizes.tolist() == []
    assert Households.apart(3).sizes.tolist() == [1, 1, 1]
