"""Policies: the whole format, and one refusal for each way of being wrong."""

# ruff: noqa: E501  a message is read, and searched for, on one line

import hashlib
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from policy_world import POLICY, changed

from veilmatch_policy.errors import PolicyRefusedError
from veilmatch_policy.formula import And, Name
from veilmatch_policy.policy import Bound, Parameter, Policy, Purpose, load_policy, parse_policy
from veilmatch_policy.what_if import Vary

# The example of policies.md.
HOUSEHOLDS = """\
policy: pension-top-up
version: 2
title: Income supplement for pensioners who do not claim it
purpose: {code: relief, law: Decree 14}
reference_date: 2025-12-31
recipient: social_insurance
among: "pension_month > 0"
among_at_most: 50000
unit: household
household: {department: public_security, column: household_id}
parameters: {line: 7200.50}
conditions:
  pensioner:
    department: public_security
    where: "age >= 65 AND alive = 1"
    unknown: pass
  nobody-claims:
    department: civil_affairs
    where: "supplement_year = 0"
    members: every
  low-household-income:
    of: household
    total:
      tax: "wage_year + self_employment_year"
      housing: "rent_year"
    below: {public_security: ":line * (5 + sum(CASE WHEN age >= 14 THEN 5 ELSE 3 END))"}
  few-savings:
    total: {bank: savings}
    at_most: ":line"
    per_member: true
eligible: "pensioner AND (nobody-claims OR at_least(1, low-household-income, few-savings))"
reveal: count
min_count: 20
epsilon: 0.5
examples:
  - given: {public_security: [{age: 70, alive: 1}, {age: 71}], tax: {wage_year: 0}}
    expect: not-eligible
"""


def parse(text: str) -> Policy:
    return parse_policy(text.encode(), "p.yaml")


def test_the_whole_format() -> None:
    policy = parse(HOUSEHOLDS)
    assert (policy.name, policy.version, policy.unit, policy.reveal) == (
        "pension-top-up",
        2,
        "household",
        "count",
    )
    assert policy.purpose == Purpose(code="relief", law="Decree 14")
    assert policy.reference_date == date(2025, 12, 31)
    assert (policy.among, policy.among_at_most) == ("pension_month > 0", 50000)
    assert policy.household is not None
    assert policy.household.column == "household_id"
    assert policy.parameters == {"line": Parameter(value=Decimal("7200.50"))}
    assert (policy.min_count, policy.epsilon) == (20, Decimal("0.5"))
    low, few = policy.conditions["low-household-income"], policy.conditions["few-savings"]
    assert (low.name, low.of, list(low.total or {})) == (
        "low-household-income",
        "household",
        ["tax", "housing"],
    )
    assert low.bound is low.below
    assert low.below is not None
    assert low.below.department == "public_security"
    assert (few.at_most, few.per_member) == (Bound(parameter="line"), True)
    assert policy.conditions["pensioner"].unknown == "pass"
    assert str(policy.eligible).startswith("pensioner AND (nobody-claims OR at_least(1, ")
    [example] = policy.examples
    assert not example.eligible
    assert example.given["public_security"] == ({"age": "70", "alive": "1"}, {"age": "71"})
    assert policy.source == HOUSEHOLDS.encode()
    assert policy.digest == hashlib.sha256(HOUSEHOLDS.encode()).digest()


def test_defaults() -> None:
    policy = parse(
        "policy: p\nrecipient: r\nconditions:\n  a: {department: d, where: x > 1}\n  b: {department: d, where: y}\n"
    )
    assert (policy.version, policy.unit, policy.reveal) == (1, "person", "members")
    assert policy.eligible == And((Name("a"), Name("b")))
    assert (policy.purpose, policy.reference_date, policy.among, policy.among_at_most) == (None,) * 4
    assert (policy.parameters, policy.examples, policy.min_count, policy.epsilon) == ({}, (), None, None)


PERSONS = """\
policy: p
recipient: r
household: {department: police, column: household_id}
parameters: {line: {value: 100, allow: [50, 200]}, other: 3}
conditions:
  grown: {department: police, where: age > 17}
  a-child: {department: police, of: household, where: min(age) < 14}
  some-car: {department: cars, where: car_value > 9, members: any}
  poor: {of: household, total: {tax: wage}, below: ":line"}
  poor-alone: {total: {tax: wage}, at_most: {bank: savings}}
  few-savings: {total: {bank: savings}, at_most: 7.50}
"""
COUNTED = PERSONS + "reveal: count\n"


def test_of_what_a_condition_is_true() -> None:
    persons = parse(PERSONS)
    assert {name: persons.grain_of(condition) for name, condition in persons.conditions.items()} == {
        "grown": "person",
        "a-child": "household",
        "some-car": "household",
        "poor": "household",
        "poor-alone": "person",
        "few-savings": "person",
    }
    households = parse(HOUSEHOLDS)
    assert {households.grain_of(condition) for condition in households.conditions.values()} == {"household"}
    assert households.conditions["pensioner"].of is None


def test_the_smallest_count() -> None:
    assert parse(HOUSEHOLDS).smallest_count == 20
    assert parse(changed(HOUSEHOLDS, "min_count: 20\n", "")).smallest_count == 10
    assert parse(changed(HOUSEHOLDS, "min_count: 20", "min_count: 1")).smallest_count == 1


def test_the_dealer() -> None:
    assert parse(PERSONS).dealer is None
    assert parse(PERSONS + "dealer: post\n").dealer == "post"


@pytest.mark.parametrize(
    ("written", "condition", "bounds"),
    [
        ("{line: [50, 72.50, 200]}", "poor", ["50", "72.50", "200"]),
        ("{poor: [120]}", "poor", ["120"]),
        ("{few-savings: [-1, 0.001]}", "few-savings", ["-1", "0.001"]),
    ],
)
def test_what_if(written: str, condition: str, bounds: list[str]) -> None:
    vary = parse(f"{COUNTED}vary: {written}\n").vary
    assert vary == Vary(condition=condition, bounds=tuple(map(Decimal, bounds)))


def test_what_if_of_the_only_bound() -> None:
    text = changed(COUNTED, "at_most: 7.50", "at_most: {bank: limit}")
    vary = parse(f"{text}vary: {{bound: [{', '.join(map(str, range(60, 160)))}]}}\n").vary
    assert vary is not None
    assert (vary.condition, len(vary.bounds), vary.bounds[-1]) == ("poor", 100, 159)
    assert parse(COUNTED).vary is None


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("[50]", "vary: one threshold is varied; write {line: [6000, 7000]}, say"),
        ("{line: [50], poor: [60]}", "vary: one threshold is varied; write {line: [6000, 7000]}, say"),
        ("{lime: [50]}", "vary.lime: there is no bound 'lime'; did you mean 'line'?"),
        ("{other: [50]}", "vary.other: there is no bound 'other'; there is few-savings, line, poor"),
        ("{bound: [50]}", "vary.bound: there are 2 bounds that are numbers; name one"),
        ("{poor-alone: [50]}", "vary.poor-alone: 'poor-alone' has no number as its bound; vary one that has"),
        ("{grown: [50]}", "vary.grown: 'grown' has no number as its bound; vary one that has"),
        ("{line: 50}", "vary.line: the bounds are a list of 1 to 100 numbers; write [6000, 7000], say"),
        ("{line: []}", "vary.line: the bounds are a list of 1 to 100 numbers; write [6000, 7000], say"),
        (f"{{few-savings: [{', '.join(map(str, range(101)))}]}}", "vary.few-savings: the bounds are a list of 1 to 100 numbers; write [6000, 7000], say"),
        ("{line: [50, [60]]}", "vary.line.2: expected one value, found a list"),
        ("{line: [50, 6e1]}", "vary.line.2: '6e1' is not a number; write plain digits, such as 7200.50"),
        ("{line: [50, 60, 50.0]}", "vary.line.3: 50.0 stands twice; write each bound once"),
        ("{line: [50, 201]}", "vary.line.2: 201 is not within [50, 200], which line allows"),
        ("{poor: [49]}", "vary.poor.1: 49 is not within [50, 200], which line allows"),
    ],
)  # fmt: skip
def test_a_what_if_that_is_none(written: str, message: str) -> None:
    with pytest.raises(PolicyRefusedError) as refused:
        parse(f"{COUNTED}vary: {written}\n")
    assert str(refused.value) == f"p.yaml:13: {message}"


@pytest.mark.parametrize(
    ("old", "new", "also"),
    [
        ("at_most: 7.50", 'at_most: ":line"', "few-savings"),
        ("age > 17", "'age > :line'", "grown"),
        ("total: {bank: savings}", "total: {bank: 'savings + :line'}", "few-savings"),
        ("at_most: {bank: savings}", "at_most: {bank: 'savings - :line'}", "poor-alone"),
        ("total: {tax: wage}, below", "total: {tax: 'wage + :line'}, below", "poor"),
    ],
)
def test_a_parameter_with_two_uses_is_not_varied(old: str, new: str, also: str) -> None:
    with pytest.raises(PolicyRefusedError) as refused:
        parse(f"{changed(COUNTED, old, new)}vary: {{line: [60]}}\n")
    assert str(refused.value) == (
        f"p.yaml:13: vary.line: 'line' is used in poor and {also}, and only one bound is varied; "
        "give that one a parameter of its own"
    )


def test_a_similar_parameter_is_another_one() -> None:
    text = changed(changed(COUNTED, "age > 17", "'age > :line2'"), "other: 3", "line2: 3")
    assert parse(f"{text}vary: {{line: [60]}}\n").vary is not None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("members: any", "members: any, of: household", ":8: conditions.some-car.members: members beside of: household; leave one of them out"),
        ("members: any", "of: household", ":8: conditions.some-car.of: cars does not keep the household register, police does; write members: every or members: any"),
        ("household: {dep", "unit: household\nhousehold: {dep", ":11: conditions.poor-alone: a household's total is compared with a number or an expression of police, which keeps the register, not of bank; ask police"),
        ('below: ":line"', "below: {tax: tax_free}", ":9: conditions.poor: a household's total is compared with a number or an expression of police, which keeps the register, not of tax; ask police"),
        ("conditions:", "vary: {line: [60]}\nconditions:", ":5: vary: vary is for counts; write reveal: count, or leave it out"),
        ("conditions:", "dealer: [post]\nconditions:", ":5: dealer: expected one value, found a list"),
    ],
)  # fmt: skip
def test_what_asks_households_in_vain(old: str, new: str, message: str) -> None:
    with pytest.raises(PolicyRefusedError) as refused:
        parse(changed(PERSONS, old, new))
    assert str(refused.value) == "p.yaml" + message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    members: every\n", "", ":17: conditions.nobody-claims: households are eligible, and civil_affairs does not keep their register; other departments' conditions need members: every or any"),
        ("    unknown: pass\n", "    of: person\n", ":16: conditions.pensioner.of: a condition of persons, where households are eligible; leave of out, or write members: every or any"),
        ("    of: household\n", "    of: person\n", ":22: conditions.low-household-income.of: a total of persons, where households are eligible; leave of out"),
    ],
)  # fmt: skip
def test_what_households_cannot_be_asked(old: str, new: str, message: str) -> None:
    with pytest.raises(PolicyRefusedError) as refused:
        parse(changed(HOUSEHOLDS, old, new))
    assert str(refused.value) == "p.yaml" + message


def test_a_register_may_be_asked_about_its_members_too() -> None:
    policy = parse(changed(HOUSEHOLDS, "    unknown: pass\n", "    of: person\n    members: any\n"))
    assert policy.grain_of(policy.conditions["pensioner"]) == "household"


def test_an_example_of_a_household() -> None:
    given = "expect: not-eligible\n"
    others = "others: [{public_security: {age: 3}}, {tax: [{wage_year: 1}, {}]}]\n    " + given
    [example] = parse(changed(HOUSEHOLDS, given, others)).examples
    assert example.others == (
        {"public_security": ({"age": "3"},)},
        {"tax": ({"wage_year": "1"}, {})},
    )
    text = "policy: p\nrecipient: r\nconditions: {a: {department: d, where: x}}\n"
    text += "examples: [{given: {d: {x: 1}}, others: [{d: {x: 1}}], expect: eligible}]\n"
    with pytest.raises(PolicyRefusedError) as refused:
        parse(text)
    assert str(refused.value) == (
        "p.yaml:4: examples.1.others: needs to know the households; write the key household"
    )


def test_numbers_are_exact() -> None:
    line = parse(changed(HOUSEHOLDS, "line: 7200.50", "line: 0.1")).parameters["line"]
    assert (line.value, line.allow) == (Decimal("0.1"), None)
    assert parse(POLICY).parameters["line"].allow == (Decimal(6000), Decimal(9000))


def test_a_policy_cannot_be_changed() -> None:
    policy = parse(POLICY)
    with pytest.raises(TypeError):
        policy.conditions["x"] = policy.conditions["pensioner"]  # type: ignore[index]  # the point
    with pytest.raises(ValueError):
        policy.recipient = "tax"


@pytest.mark.parametrize("written", ["eligible", "not eligible", "not-eligible", "not_eligible"])
def test_outcomes(written: str) -> None:
    [example] = parse(changed(HOUSEHOLDS, "not-eligible", written)).examples
    assert example.eligible == (written == "eligible")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("policy: pension", "policy: pension ", ":1: policy: 'pension -top-up' is not a name; use letters, digits, - and _, at least one letter"),
        ("version: 2", "version: 0", ":2: version: expected 1 or more, found 0"),
        ("version: 2", "version: 1.5", ":2: version: '1.5' is not a whole number"),
        ("recipient:", "recipent:", ":6: recipent: there is no key 'recipent'; did you mean 'recipient'?"),
        ("recipient: social_insurance\n", "", ": the key 'recipient' is missing"),
        ("purpose: {code: relief, law: Decree 14}", "purpose: {}", ":4: purpose: a purpose without code and law; write one of them"),
        ("reference_date: 2025-12-31", "reference_date: 2025-02-30", ":5: reference_date: '2025-02-30' is not a date; write it as 2025-12-31"),
        ("unit: household", "unit: houshold", ":9: unit: 'houshold' is not possible here; did you mean 'household'?"),
        ("household: {department: public_security, column: household_id}\n", "", ":16: conditions.nobody-claims: needs to know the households; write the key household"),
        ("line: 7200.50", "line: 7.2e3", ":11: parameters.line.value: '7.2e3' is not a number; write plain digits, such as 7200.50"),
        ("line: 7200.50", "line: {value: 1, allow: [2, 3]}", ":11: parameters.line.allow: the value 1 is not within [2, 3]; change one of them"),
        ("line: 7200.50", "line: {value: 1, allow: [2]}", ":11: parameters.line.allow: what is allowed is an interval; write [6000, 9000], say"),
        ("line: 7200.50", "the-line: 7200.50", ":11: parameters.the-line: 'the-line' cannot be written in SQL; use letters, digits and _, with a letter in front"),
        ("  pensioner:", "  NOT:", ":13: conditions.NOT: 'NOT' is a word of the formula; choose another name"),
        ("    department: civil_affairs\n", "", ":17: conditions.nobody-claims: the key 'department' is missing; a condition is a department's where, or a total"),
        ('    where: "supplement_year = 0"\n', "", ":17: conditions.nobody-claims: the key 'where' is missing; a condition is a department's where, or a total"),
        ('where: "supplement_year = 0"', 'where: " "', ":19: conditions.nobody-claims.where: expected an expression"),
        ("members: every", "members: evry", ":20: conditions.nobody-claims.members: 'evry' is not possible here; did you mean 'every'?"),
        ("unknown: pass", "unknown: maybe", ":16: conditions.pensioner.unknown: 'maybe' is not possible here; there is fail, pass"),
        ("members: every", "below: 3", ":20: conditions.nobody-claims.below: below without a total; write the comparison into where"),
        ("    of: household\n", "    members: any\n", ":22: conditions.low-household-income.members: members beside a total; make it a condition of its own"),
        ('    at_most: ":line"\n', "", ":27: conditions.few-savings: a total has one bound, not 0; write one of below, at_most, above, at_least"),
        ('at_most: ":line"', 'at_most: ":lin"', ":27: conditions.few-savings: there is no parameter 'lin'; did you mean 'line'?"),
        ('at_most: ":line"', "at_most: {a: x, b: y}", ":29: conditions.few-savings.at_most: a bound is a number, a :parameter, or one department with its expression"),
        ('at_most: ":line"', "at_most: {a: x}", ":30: conditions.few-savings.per_member: only a number or a :parameter can be per_member; write count into it"),
        ("per_member: true", "per_member: yes", ":30: conditions.few-savings.per_member: 'yes' is neither true nor false"),
        ('eligible: "pensioner AND (nobody-claims', 'eligible: "pensioner AND (nobody_claims', ":31: eligible: there is no condition 'nobody_claims' at character 16; did you mean 'nobody-claims'?"),
        ('eligible: "pensioner AND (nobody-claims', 'eligible: "(nobody-claims', ":31: eligible: the condition 'pensioner' is not used; take it out or write it in"),
        ("reveal: count", "reveal: members", ":33: min_count: min_count is for counts; write reveal: count, or leave it out"),
        ("epsilon: 0.5", "epsilon: 0", ":34: epsilon: epsilon is above 0; write 0.5, say"),
        ("not-eligible", "perhaps", ":37: examples.1.expect: 'perhaps' is no outcome; write eligible or not eligible"),
        ("    expect: not-eligible\n", "", ":36: examples.1: the key 'expect' is missing"),
        ("tax: {wage_year: 0}", "tax: 0", ":36: examples.1.given.tax.1: expected keys with values, found a single value"),
        ("tax: {wage_year: 0}", "tax: {wage_year: [0]}", ":36: examples.1.given.tax.1.wage_year: expected one value, found a list"),
    ],
)  # fmt: skip
def test_refused_in_one_line(old: str, new: str, message: str) -> None:
    with pytest.raises(PolicyRefusedError) as refused:
        parse(changed(HOUSEHOLDS, old, new))
    assert str(refused.value) == "p.yaml" + message


def test_a_policy_without_conditions() -> None:
    with pytest.raises(
        PolicyRefusedError, match=r"^p\.yaml:3: conditions: a policy without conditions; write at least one$"
    ):
        parse("policy: p\nrecipient: r\nconditions: {}\n")


def test_duplicate_keys_name_both_lines() -> None:
    with pytest.raises(
        PolicyRefusedError, match=r"^p\.yaml:3: the key 'version' stands twice, first in line 2; keep one$"
    ):
        parse(changed(HOUSEHOLDS, "title:", "version: 3\ntitle:"))


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "top-up.yaml"
    with pytest.raises(
        PolicyRefusedError,
        match=r"^top-up\.yaml: cannot be read \(No such file or directory\); check the path$",
    ):
        load_policy(path)
    path.write_text(POLICY)
    assert load_policy(path) == parse(POLICY)
