"""Totals: their scale, what they may reach, and their bounds, exactly at the edge."""

from __future__ import annotations

import operator
from decimal import Decimal

import numpy as np
import pytest
from planned_worlds import InTheClear, World, declared, plan_of, policy_of

from veilmatch_policy.errors import PolicyRefusedError
from veilmatch_policy.evaluate import Amounts
from veilmatch_policy.plan import Amount, Declaration, Term
from veilmatch_policy.totals import LARGEST

COMPARED = {"below": operator.lt, "at_most": operator.le, "above": operator.gt, "at_least": operator.ge}


def total_of(parts="a: u, b: v", bound="below: 5", more="", **alike):
    """The sum of a policy that is one total, and its test; another may ask whether the amounts are known."""
    plan = plan_of(policy_of([f"t: {{total: {{{parts}}}, {bound}}}"], more=more), **alike)
    [circuit] = plan.policies[0].circuits
    [test] = [test for test in circuit.tests if test.kind == "negative"]
    return plan.terms[test.term], test


def refusal(*arguments, **alike):
    with pytest.raises(PolicyRefusedError) as refused:
        total_of(*arguments, **alike)
    assert refused.value.exit_code == 3
    return str(refused.value)


def amounts_of(term):
    return {name: (part.factors, part.limits) for name, part in term.parts}


def test_the_scale_is_the_finest_among_the_parts_and_the_bound():
    scales = {"u": Declaration(2, 500, False), "v": Declaration(0, 7, False), "w": Declaration(3, 90, False)}
    term, test = total_of(bound="below: 5.25", **scales)
    assert amounts_of(term) == {"a": ((1,), (500,)), "b": ((100,), (700,))}
    assert (test.kind, test.once, test.each) == ("negative", -525, 0)
    term, test = total_of(bound="below: {police: w}", **scales)
    assert amounts_of(term) == {
        "a": ((10,), (5000,)),
        "b": ((1000,), (7000,)),
        "police": ((-1,), (90,)),
    }
    assert (test.once, test.each) == (0, 0)


@pytest.mark.parametrize(
    ("bound", "once", "each"),
    [
        ("below: 5", -5, 0),
        ("at_most: 5", -6, 0),
        ("above: 5", -6, 0),
        ("at_least: 5", -5, 0),
        ("at_most: -5", 4, 0),
        ("below: 5, per_member: true", 0, -5),
        ("at_most: 5, per_member: true", -1, -5),
        ("above: -5, per_member: true, of: household", -1, 5),
        ("at_least: 5.00", -5, 0),
        ("below: {b: w}", 0, 0),
        ("at_most: {b: w}", -1, 0),
    ],
)
def test_constants(bound, once, each):
    _, test = total_of(bound=bound)
    assert (test.once, test.each) == (once, each)


@pytest.mark.parametrize("of", ["person", "household"])
@pytest.mark.parametrize("per_member", [False, True])
@pytest.mark.parametrize("compared", [*COMPARED])
@pytest.mark.parametrize("bound", ["0", "1", "-1", "1.5", "-0.1", "250000", "-250000"])
def test_at_the_bound_exactly(of, per_member, compared, bound):
    condition = f"{{total: {{a: u}}, {compared}: {bound}, of: {of}, per_member: {str(per_member).lower()}}}"
    plan = plan_of(policy_of([f"t: {condition}"]), scale=1, largest=None, household_at_most=3)
    # One alone and a household of three; the first of each stands at the bound, or next to it.
    homes, together = np.array([-1, 7, 7, 7]), of == "household"
    sizes = np.array([1, 3, 3, 3]) if together else np.ones(4, np.int64)
    limits = int(Decimal(bound) * 10) * (sizes if per_member else np.ones(4, np.int64))
    yes = np.ones(4, np.bool_)
    for offset in (-1, 0, 1):
        amounts = (limits + offset) * [1, 1, 0, 0]
        sums = amounts[[0, 1, 1, 1]] if together else amounts
        world = World(homes, {"r": yes}, {0: Amounts(amounts, yes, yes, 1)})
        [found] = InTheClear(plan, world).decided(0)
        assert found.tolist() == COMPARED[compared](sums, limits).tolist()


@pytest.mark.parametrize("compared", [*COMPARED])
def test_the_largest_total_that_40_bits_hold(compared):
    # 2**39 - 2 of total and bound together: one unit is kept for at_most.
    for bound in (0, 1000, -1000):
        largest = LARGEST - 1 - abs(bound)
        _, test = total_of("a: u", f"{compared}: {bound}", largest=largest)
        assert all(-(2**39) <= reached + test.once < 2**39 for reached in (-largest, largest))
        assert "more than 40 bits hold" in refusal("a: u", f"{compared}: {bound}", largest=largest + 1)


def test_a_total_of_a_household_is_so_many_times_what_one_member_reaches():
    total = ("a: u, police: v", "below: 9, of: household")
    term, _ = total_of(*total, largest=(LARGEST - 1 - 9) // 2 // 20, household_at_most=20)
    assert term.grain == "household"
    assert refusal(*total, largest=(LARGEST - 1) // 2 // 20 + 1, household_at_most=20) == (
        "p: conditions.t.total: by what is declared (a 13743895348 times 20 members, police 13743895348 times 20 "
        "members, the bound 9) it can reach more than 40 bits hold, 549755813887 with 0 decimal places; "
        "declare narrower ranges, a smaller household at_most, or fewer decimal places"
    )
    # A register's bound stands once a household, a bound per member at each.
    bound = "below: {police: w}, of: household"
    term, _ = total_of(
        "a: u", bound, u=Declaration(0, 1, False), w=Declaration(0, LARGEST - 21, False), household_at_most=20
    )
    assert amounts_of(term) == {"a": ((1,), (1,)), "police": ((-1,), (LARGEST - 21,))}
    assert "the bound 27487790694 times 20 members" in refusal(
        "a: u", "below: 27487790694, per_member: true, of: household", household_at_most=20
    )
    assert "times 32 members" in refusal("a: u", "below: 1, of: household", largest=LARGEST // 32 + 1)


def test_amounts_without_a_range_share_what_the_others_leave_of_half_of_40_bits():
    term, _ = total_of(
        "a: u, b: v, police: w", "below: 5.00", scale=2, largest=None, w=Declaration(1, 10, False)
    )
    share = (LARGEST // 2 - 100) // 2
    assert amounts_of(term) == {"a": ((1,), (share,)), "b": ((1,), (share,)), "police": ((10,), (100,))}
    term, _ = total_of("a: u", "below: 0, of: household", largest=None, household_at_most=20)
    assert amounts_of(term) == {"a": ((1,), (LARGEST // 2 // 20,))}
    assert refusal("a: u, b: v", "below: 1.25", scale=2, largest=None, u=Declaration(2, LARGEST, False)) == (
        "p: conditions.t.total: by what is declared (a 5497558138.87, b no range, the bound 1.25) it can reach "
        "more than 40 bits hold, 5497558138.87 with 2 decimal places; "
        "declare narrower ranges, a smaller household at_most, or fewer decimal places"
    )
    # The bound has the other half, and moves no limit.
    for bound in (0, LARGEST // 2, -(LARGEST // 2)):
        assert amounts_of(total_of("a: u", f"below: {bound}", largest=None)[0]) == {
            "a": ((1,), (LARGEST // 2,))
        }
    assert "a no range, the bound 274877906945)" in refusal("a: u", "below: 274877906945", largest=None)


def test_unknown_passes_only_where_every_range_is_declared():
    bound = "below: 5, unknown: pass"
    assert refusal("a: u, b: v", bound, u=Declaration(0, None, False)) == (
        "p: conditions.t.unknown: passes whose amounts are unknown, and an amount has no declared range; "
        "declare the ranges of its columns, or write unknown: fail"
    )
    total_of("a: u, b: v", bound, optional=True)
    total_of("a: u, b: v", bound.replace("pass", "fail"), largest=None)


@pytest.mark.parametrize(
    ("compared", "bound", "figure"),
    [
        ("below", "7200.505", "7200.505"),
        ("at_most", "-0.001", "-0.001"),
        ("at_least", "1.0000000000000000000000000000000000001", "1.0000000000000000000000000000000000001"),
        ("above", '":line"', "0.125"),
    ],
)
def test_a_bound_with_more_digits_than_the_scale(compared, bound, figure):
    assert refusal(bound=f"{compared}: {bound}", more="parameters: {line: 0.125}\n", scale=2) == (
        f"p: conditions.t.{compared}: {figure} has more decimal places than the total, which has 2; "
        "round it, or round(..., n) no part of the total to fewer places"
    )


def test_zeros_at_the_end_of_a_bound_are_no_digits():
    _, test = total_of(bound="below: 7200.5000000000000000000000000000000", scale=1)
    assert test.once == -72005


def test_every_bound_of_a_what_if_is_held_against_the_scale_and_the_range():
    condition = ["t: {total: {a: u}, below: 5}"]
    for bounds, said in (
        ("[5, 5.5]", "5.5 has more decimal places than the total, which has 0"),
        (f"[5, {2**39}]", "more than 40 bits hold"),
    ):
        with pytest.raises(PolicyRefusedError) as refused:
            plan_of(policy_of(condition, more=f"reveal: count\nvary: {{t: {bounds}}}\n"))
        assert said in str(refused.value)


def test_an_amount_that_is_also_the_bound_takes_itself_away():
    term, _ = total_of("a: u, b: v", "at_most: {a: u}")
    assert term == Term(
        "person",
        (("a", Amount((0, 0), (1, -1), (100, 100))), ("b", Amount((1,), (1,), (100,)))),
        "shares",
    )
    yes = np.ones(3, np.bool_)
    known = {"r": yes, "a": yes, "b": yes}
    values = {0: Amounts(np.array([5, 50, -5]), yes, yes, 0), 1: Amounts(np.array([-1, 0, 1]), yes, yes, 0)}
    plan = plan_of(policy_of(["t: {total: {a: u, b: v}, at_most: {a: u}}"]))
    [found] = InTheClear(plan, World(np.array([-1, -1, -1]), known, values)).decided(0)
    assert found.tolist() == [True, True, False]


def test_a_department_has_one_part_in_a_total():
    term, _ = total_of("police: u, a: u", "below: {police: w}, of: household")
    assert [name for name, _ in term.parts] == ["a", "police"]
    assert term.part("police") == Amount((1, 2), (1, -1), (100, 100))
    assert declared([policy_of(["t: {total: {a: u}, below: 5}"])]).amounts == {0: Declaration(0, 100, False)}
