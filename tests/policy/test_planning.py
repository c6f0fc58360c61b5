"""Plans: the cheapest way is taken, each term once, and what a plan computes is what the policy says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from planned_worlds import (
    DAY,
    RECIPIENT,
    InTheClear,
    declarations,
    declared,
    draw_world,
    meant,
    plan_of,
    policies,
    policy_of,
)

from veilmatch_policy.errors import PolicyRefusedError
from veilmatch_policy.formula import And, AtLeast, Name, Not, Or, names_in
from veilmatch_policy.plan import Amount, Circuit, Claim, Count, Declaration, Fails, Outcome, Term
from veilmatch_policy.plan import Test as Asked  # pytest would collect a class called Test
from veilmatch_policy.planning import LARGEST_HOUSEHOLD, derive_plan
from veilmatch_policy.policy import parse_policy
from veilmatch_policy.questions import ask

A1, A2 = "a1: {department: a, where: x}", "a2: {department: a, where: y}"
B1, B2 = "b1: {department: b, where: x}", "b2: {department: b, where: y}"
R1, R2 = "r1: {department: r, where: x}", "r2: {department: r, where: y}"
EVERY = "every: {department: a, where: x, members: every}"
ANY = "any: {department: b, where: x, members: any}"
HOME = "home: {department: police, where: count(x) > 2, of: household}"
TOTAL = "total: {total: {a: u, b: v}, below: 5}"
HOME_TOTAL = "income: {total: {a: u, r: v}, of: household, below: 5}"


def claim(formula, spread="everybody"):
    """A claim over questions that are written by number."""
    return Claim(Name(str(formula)) if isinstance(formula, int) else formula, spread)


def name(*numbers):
    return tuple(Name(str(number)) for number in numbers)


def only(plan):
    """The one circuit of a plan's one policy, and its terms."""
    [planned] = plan.policies
    assert (planned.answer, planned.own) == (None, None)
    [circuit] = planned.circuits
    return circuit, plan.terms


def linear(plan):
    [planned] = plan.policies
    return planned.answer is not None


def test_an_and_of_single_departments_answers_is_one_sum_that_is_opened():
    plan = plan_of(policy_of([A1, B1, R1], more="among: k > 0\n"))
    [planned] = plan.policies
    assert (planned.among, planned.answer, planned.circuits) == (0, 0, ())
    assert planned.own == claim(3)
    assert plan.terms == (
        Term("person", (("a", Fails((claim(1),))), ("b", Fails((claim(2),)))), "answer", 0),
    )
    assert plan.outcomes == (Outcome(0, ("a", "b"), "answer"),)
    assert (plan.registrar, plan.dealer, plan.participants) == (None, None, ("a", "b", "r"))
    assert plan_of(policy_of([A1, B1])).terms[0].among == -1


def test_what_one_department_says_of_its_own_stays_linear():
    plan = plan_of(
        policy_of(
            [A1, A2, B1, B2, R1, R2],
            "(a1 OR a2) AND NOT (b1 AND b2) AND (b1 AND NOT r1) AND at_least(1, r1, r2)",
        )
    )
    assert linear(plan)
    a1, a2, b1, b2, r1, r2 = name(*range(6))
    assert plan.terms[0].parts == (
        ("a", Fails((claim(Or((a1, a2))),))),
        ("b", Fails((claim(Not(And((b1, b2)))), claim(b1)))),
    )
    assert plan.policies[0].own == claim(And((Not(r1), AtLeast(1, (r1, r2)))))


@pytest.mark.parametrize(
    ("conditions", "formula", "more"),
    [
        ([A1, B1], "a1 AND b1", "reveal: count\n"),
        ([A1, B1], "a1 OR b1", ""),
        ([A1, R1], "a1 OR r1", ""),
        ([A1, B1], "NOT (a1 AND b1)", ""),
        ([A1, B1, R1], "at_least(2, a1, b1, r1)", ""),
        ([A1, TOTAL], "a1 AND total", ""),
        ([A1, EVERY], "a1 AND every", ""),
        ([A1, ANY], "a1 AND any", ""),
        ([A1, HOME], "a1 AND home", ""),
        ([A1, HOME_TOTAL], "a1 AND income", ""),
    ],
)
def test_everything_else_takes_a_circuit(conditions, formula, more):
    plan = plan_of(policy_of(conditions, formula, more=more))
    assert not linear(plan)
    assert {outcome.opened for outcome in plan.outcomes} == {"shares"}
    assert plan.dealer == "dealer"


def test_a_household_policy_takes_a_circuit():
    plan = plan_of(policy_of([EVERY], unit="household"))
    circuit, terms = only(plan)
    assert terms == (Term("household", (("a", Fails((claim(0, "members"),))),), "shares"),)
    assert circuit == Circuit((Asked(0, "zero"),), (), (Name("test:0"),), Name("household:0"))
    assert (plan.registrar, plan.participants) == ("police", ("a", "dealer", "police", "r"))


def test_answers_beside_a_total_are_one_test_for_zero():
    circuit, terms = only(plan_of(policy_of([A1, B1, TOTAL, R1, A2], "a1 AND b1 AND total AND (r1 AND a2)")))
    assert [(test.kind, test.once) for test in circuit.tests] == [("negative", -5), ("zero", 0)]
    assert terms[circuit.tests[1].term].parts == (
        ("a", Fails((claim(0), claim(5)))),
        ("b", Fails((claim(1),))),
    )
    assert circuit.own == (claim(4),)
    assert circuit.eligible == And((Name("test:0"), Name("own:0"), Name("test:1")))


def test_an_or_is_the_opposite_of_one_test_for_zero():
    circuit, terms = only(plan_of(policy_of([A1, B1, R1], "a1 OR NOT b1 OR r1")))
    a1, b1, r1 = name(0, 1, 2)
    assert circuit.tests == (Asked(0, "zero"),)
    assert terms[0].parts == (("a", Fails((claim(Not(a1)),))), ("b", Fails((claim(b1),))))
    assert circuit.own == (claim(Not(r1)),)
    assert circuit.eligible == Not(And((Name("own:0"), Name("test:0"))))


def test_at_least_is_one_sum_that_is_counted():
    circuit, terms = only(plan_of(policy_of([A1, A2, B1, R1], "at_least(2, a1, NOT a2, b1, r1, a1)")))
    a1, a2, b1, r1 = name(0, 1, 2, 3)
    assert terms == (
        Term(
            "person",
            (
                ("a", Count((claim(a1), claim(Not(a2)), claim(a1)))),
                ("b", Count((claim(b1),))),
                ("r", Count((claim(r1),))),
            ),
            "shares",
        ),
    )
    assert circuit.tests == (Asked(0, "negative", once=-2),)
    assert circuit.eligible == Not(Name("test:0"))


def test_at_least_of_more_than_answers_is_left_to_gates():
    circuit, _ = only(plan_of(policy_of([A1, TOTAL, HOME], "at_least(2, a1, total, home)")))
    assert [test.kind for test in circuit.tests] == ["bit", "negative", "bit"]
    assert circuit.eligible == AtLeast(2, (Name("test:0"), Name("test:1"), Name("household:0")))


def test_one_departments_own_formula_is_one_bit():
    for formula in ("NOT (a1 OR a2) AND total", "NOT a1 AND NOT a2 AND total"):
        circuit, terms = only(plan_of(policy_of([A1, A2, TOTAL], formula)))
        bits = [test for test in circuit.tests if test.kind == "bit"]
        assert [test.kind for test in circuit.tests] == ["negative", "bit"]
        [(department, part)] = terms[bits[0].term].parts
        assert department == "a"
        assert isinstance(part, Count)
        assert len(part.claims) == 1
    circuit, _ = only(plan_of(policy_of([HOME, A1], "home AND a1")))
    assert [test.kind for test in circuit.tests] == ["bit", "bit"]


def test_members():
    circuit, terms = only(plan_of(policy_of([EVERY, ANY, A1], "every AND any AND a1")))
    assert terms[:2] == (
        Term("household", (("b", Fails((claim(Not(Name("1")), "members"),))),), "shares"),
        Term("household", (("a", Fails((claim(0, "members"),))),), "shares"),
    )
    # any: somebody who holds makes noise; every: somebody who fails does.
    assert circuit.households == (And((Not(Name("test:0")), Name("test:1"))),)
    assert circuit.eligible == And((Name("household:0"), Name("test:2")))
    # Not any, and every, are one sum.
    circuit, terms = only(plan_of(policy_of([EVERY, ANY, A1], "every AND NOT any AND a1")))
    assert [test.kind for test in circuit.tests] == ["zero", "bit"]
    assert [department for department, _ in terms[0].parts] == ["a", "b"]


def test_household_conditions_are_carried_back_as_few_bits():
    circuit, _ = only(plan_of(policy_of([EVERY, HOME, HOME_TOTAL, A1], "every AND a1 AND home AND income")))
    assert len(circuit.households) == 1
    assert circuit.tests[0].kind == "negative"
    # The same of a household twice is one bit.
    circuit, _ = only(plan_of(policy_of([HOME, A1, B1], "(home AND a1) OR (home AND b1)")))
    assert len(circuit.households) == 1


def test_what_the_register_says_of_people_and_of_households_are_two_claims():
    person = "old: {department: police, where: z}"
    for formula, kinds in (
        ("old OR home", ["bit", "bit"]),
        ("at_least(2, old, home, a1)", ["bit", "bit", "bit"]),
    ):
        conditions = [person, HOME, A1] if "a1" in formula else [person, HOME]
        circuit, terms = only(plan_of(policy_of(conditions, formula)))
        assert [test.kind for test in circuit.tests] == kinds
        spreads = {
            (term.grain, each.spread) for term in terms for _, part in term.parts for each in part.claims
        }
        assert spreads == {("person", "everybody"), ("household", "household")}


def test_the_recipients_own_answers_are_its_input_about_people_and_a_part_about_households():
    circuit, terms = only(plan_of(policy_of([R1, TOTAL], "r1 AND total")))
    assert circuit.own == (claim(0),)
    assert [term.part(RECIPIENT) for term in terms] == [None]
    circuit, terms = only(plan_of(policy_of(["mine: {department: r, where: x, members: every}", EVERY])))
    assert circuit.own == ()
    assert terms[0].part(RECIPIENT) == Fails((claim(0, "members"),))
    assert plan_of(policy_of([EVERY])).outcomes == (Outcome(0, ("a",), "shares"),)


def test_a_term_of_the_recipient_alone_is_no_outcome():
    mine = "mine: {total: {r: u}, of: household, below: 5}"
    plan = plan_of(policy_of([mine, A1], "mine AND a1"))
    assert [term.grain for term in plan.terms] == ["household", "person"]
    assert plan.outcomes == (Outcome(1, ("a",), "shares"),)
    assert plan.contributors == ("a",)


def test_policies_share_terms():
    first = policy_of([A1, B1, TOTAL], name="first")
    second = policy_of([TOTAL, A2], "total OR a2", name="second")
    other_bound = policy_of([TOTAL.replace("below: 5", "above: 7")], name="third", more="reveal: count\n")
    plan = plan_of(first, second, other_bound)
    amounts = [term for term in plan.terms if isinstance(term.parts[0][1], Amount)]
    assert len(amounts) == 1
    total = plan.terms.index(amounts[0])
    assert all(total in plan.terms_of(number) for number in range(3))
    assert plan.terms_of(2) == {total}
    assert len(plan.terms) == 3
    # The same answers to other people are another sum, and so are answers and shares.
    linear_ones = [
        policy_of([A1, B1], name=f"p{number}", more=more)
        for number, more in enumerate(["", "among: k > 0\n", "", "reveal: count\n"])
    ]
    assert [plan_of(*linear_ones).terms_of(number) for number in range(4)] == [{0}, {1}, {0}, {2}]


@pytest.mark.parametrize("largest", [100, None])
def test_bounds_add_tests_and_no_terms(largest):
    varied = policy_of([TOTAL, A1], more="reveal: count\nvary: {total: [5, 7, 100000]}\n")
    plan = plan_of(varied, policy_of([TOTAL.replace("5", "300000")], name="q"), largest=largest)
    amounts = [term for term in plan.terms if isinstance(term.parts[0][1], Amount)]
    # Without a declared range each policy also asks whether the amounts are known.
    assert (len(amounts), len(plan.terms)) == (1, 2 if largest else 3)
    assert [circuit.tests[0].once for circuit in plan.policies[0].circuits] == [-5, -7, -100000]
    assert {circuit.tests[0].term for each in plan.policies for circuit in each.circuits} == {0}
    [limits] = {part.limits for _, part in amounts[0].parts}
    assert limits == ((100,) if largest else (2**39 // 2 // 2 - 1,))


def test_unknown_amounts():
    def circuit_of(unknown, **optional):
        text = TOTAL.replace("below: 5", f"below: 5, unknown: {unknown}")
        circuit, terms = only(plan_of(policy_of([text, A1, B1], "total AND a1 AND b1"), **optional))
        claims = {
            str(each.formula)
            for term in terms
            for _, part in term.parts
            for each in getattr(part, "claims", ())
        }
        return circuit, {each for each in claims if each.startswith("known:")}

    assert circuit_of("fail")[1] == set()
    circuit, known = circuit_of("fail", optional=True)
    assert known == {"known:0", "known:1"}
    assert [test.kind for test in circuit.tests] == ["negative", "zero"]  # with a1 and b1 in one sum
    circuit, known = circuit_of("pass", optional=True)
    assert known == {"known:0", "known:1"}
    assert circuit.eligible == And((Or((Name("test:0"), Not(Name("test:1")))), Name("test:2")))


def test_only_who_declares_that_an_amount_may_be_unknown_says_whether_it_is():
    asked = [policy_of([TOTAL.replace("total: {a: u, b: v}", "total: {a: u, b: v, r: w}")])]
    some = declared(asked, v=Declaration(0, 100, True), w=Declaration(0, 100, True))
    plan = derive_plan(asked, some, reference_date=DAY, dealers=("dealer",))
    circuit, terms = only(plan)
    assert terms[1] == Term("person", (("b", Count((claim(Name("known:1")),))),), "shares")
    assert circuit.own == (claim(Name("known:2")),)


def test_a_registers_bound_is_known_once_a_household():
    bound = "income: {total: {a: u}, of: household, below: {police: count(z)}}"
    circuit, terms = only(plan_of(policy_of([bound]), optional=True))
    assert terms[1].parts == (
        ("a", Fails((claim(Name("known:0")),))),
        ("police", Fails((claim(Name("known:1"), "household"),))),
    )
    assert circuit.households == (And((Name("test:0"), Name("test:1"))),)


def test_the_largest_household():
    assert plan_of(policy_of([EVERY])).household_at_most == LARGEST_HOUSEHOLD
    assert plan_of(policy_of([EVERY]), household_at_most=7).household_at_most == 7


def refused(*policies, **arguments):
    with pytest.raises(PolicyRefusedError) as error:
        plan_of(*policies, **arguments)
    return str(error.value)


REMEDY = (
    "and with what a dealer knows it would see more than it may; name a department that has no other part"
)


def test_the_dealer_has_no_other_part():
    asked = [A1, HOME_TOTAL]
    dealers = ("a", "r", "police", "second", "third")
    assert plan_of(policy_of(asked), dealers=dealers).dealer == "second"
    assert plan_of(policy_of(asked), dealers=dealers, register="second").dealer == "third"
    assert plan_of(policy_of(asked, more="dealer: third\n"), dealers=dealers).dealer == "third"
    for dealer, part in (
        ("r", "is the recipient"),
        ("a", "is asked something"),
        ("police", "keeps the register"),
        ("c", "keeps the register"),
    ):
        dealt = policy_of(asked, more=f"dealer: {dealer}\n")
        assert refused(dealt, dealers=dealers, register="c") == f"p: dealer: {dealer} {part}, {REMEDY}"
    for dealers in ((), ("a", "police", "r")):
        assert refused(policy_of(asked), dealers=dealers) == (
            "p: dealer: every department has a part in the policy, nobody is left to deal; "
            "add a node without data to the federation and name it as dealer"
        )
    assert plan_of(policy_of([A1, B1]), dealers=()).dealer is None


def test_a_dealer_that_another_policy_of_the_job_asks():
    counted = policy_of([A1], name="q", more="reveal: count\ndealer: b\n")
    assert plan_of(counted).dealer == "b"
    assert refused(counted, policy_of([B1, A1])) == f"q: dealer: b is asked something, {REMEDY}"


def test_policies_that_do_not_belong_together():
    message = (
        "p, q: the policies of one job have one recipient, one household register, one reference date and one dealer; "
        "submit them one by one"
    )
    for old, new in (
        ("recipient: r", "recipient: s"),
        ("department: police, column", "department: parish, column"),
        ("column: home", "column: flat"),
        ("dealer: c", "dealer: d"),
    ):
        one = policy_of([A1, B1], more="dealer: c\n")
        source = one.source.decode().replace("policy: p", "policy: q")
        assert refused(one, parse_policy(source.replace(old, new).encode(), "q.yaml")) == message


def test_what_a_plan_tells_of_its_parties():
    plan = plan_of(policy_of([A1, HOME_TOTAL, B1], "a1 AND (income OR b1)"))
    assert plan.contributors == ("a", "b")
    assert plan.participants == ("a", "b", "dealer", "police", "r")
    assert {plan.questions[number].text for number in plan.questions_of("a")} == {"x", "u"}
    assert all(one.index < other.index for one, other in pairwise(plan.outcomes))


# --- a plan computes what its policy says


@settings(max_examples=75)
@given(st.data())
def test_a_plan_carried_out_in_the_clear_is_what_the_policies_say(data):
    asked = [data.draw(policies(name)) for name in "pq"[: data.draw(st.integers(1, 2))]]
    assume({question.department for question in ask(asked, DAY)} != {RECIPIENT})
    said = data.draw(declarations(asked))
    try:
        plan = derive_plan(asked, said, reference_date=DAY, dealers=("dealer",))
    except PolicyRefusedError as refused:  # the policies must not change each other's meaning
        if len(asked) == 1 or "another policy of the job leaves it more or less room" not in str(refused):
            raise
        return
    assert plan.questions == ask(asked, DAY)
    _holds_nothing_that_is_not_needed(plan)
    world = draw_world(plan, said, data.draw(st.integers(1, 9)), data.draw(st.integers(0, 2**32 - 1)))
    clear = InTheClear(plan, world)
    for number, policy in enumerate(asked):
        bounds = [None] if policy.vary is None else policy.vary.bounds
        decided, presented = clear.decided(number), clear.presented(number)
        assert len(decided) == len(bounds)
        for found, bound in zip(decided, bounds, strict=True):
            expected = meant(policy, plan, world, bound)
            np.testing.assert_array_equal(found, expected & presented)


def _holds_nothing_that_is_not_needed(plan):
    """Every term is some policy's, every test some formula's, every question is asked of whom it is put to."""
    assert set().union(*map(plan.terms_of, range(len(plan.policies)))) == set(range(len(plan.terms)))
    used = set()
    for planned in plan.policies:
        used |= set() if planned.among is None else {planned.among}
        used |= set() if planned.own is None else _questions(planned.own)
        for circuit in planned.circuits:
            used |= set().union(*map(_questions, circuit.own))
            named = set(names_in(circuit.eligible)).union(*map(names_in, circuit.households))
            kinds = (("test", circuit.tests), ("own", circuit.own), ("household", circuit.households))
            assert named == {f"{kind}:{number}" for kind, several in kinds for number in range(len(several))}
            grains = {plan.terms[test.term].grain for test in circuit.tests}
            assert ("household" in grains) == bool(circuit.households)
    for term in plan.terms:
        for department, part in term.parts:
            amounts = isinstance(part, Amount)
            numbers = set(part.questions) if amounts else set().union(*map(_questions, part.claims))
            assert {plan.questions[number].department for number in numbers} == {department}
            used |= numbers
    assert used == set(range(len(plan.questions)))


def _questions(claimed):
    return {int(each.rpartition(":")[2]) for each in names_in(claimed.formula)}
