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
