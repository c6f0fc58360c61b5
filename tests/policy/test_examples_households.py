"""Worked examples with totals, households and any formula come out as policies.md says."""

# ruff: noqa: E501  a message is read, and searched for, on one line

import pytest
from policy_world import POLICE, REFERENCE_DATE, TAX, catalogs, changed, policy

from veilmatch_policy.check import check_policy
from veilmatch_policy.errors import PolicyRefusedError
from veilmatch_policy.examples import run_examples

BANK = """\
department: bank
tables:
  accounts:
    source: accounts.csv
    id: id_number
    identifier: opaque
    columns:
      savings: {type: decimal(2), range: [-100000, 1000000], missing: 0}
      debt: {type: integer, range: [0, 100000]}
"""
POST = "department: post\ntables: {post: {source: p.csv, id: i, identifier: opaque, columns: {x: {type: date}}}}\n"
OPEN_TAX = changed(TAX, "purposes: [relief], alone: approval}", "range: [0, 100000], alone: approval}")

POOR = """\
policy: poor
recipient: social
unit: household
household: {department: police, column: household_id}
parameters: {line: {value: 7200.50, allow: [6000, 9000]}}
conditions:
  grown: {department: police, where: "max(age) >= 18"}
  low-income:
    total: {tax: "wage_year", bank: "round(savings * 0.03, 2)"}
    below: {police: ":line * sum(CASE WHEN age >= 14 THEN 5 ELSE 3 END) * 0.1"}
  nobody-owes: {department: bank, where: "debt > 0", members: any, unknown: fail}
  all-insured: {department: social, where: "pension_month >= 0", members: every}
eligible: "grown AND low-income AND NOT nobody-owes AND all-insured"
"""


def run(text: str, *examples: str, **changes: str) -> int:
    texts = {"tax": OPEN_TAX, "bank": BANK, "post": POST} | changes
    listed = "".join(f"  - {{{example}}}\n" for example in examples)
    checked = check_policy(policy(f"{text}examples:\n{listed}"), catalogs(**texts), REFERENCE_DATE)
    return run_examples(checked, REFERENCE_DATE)


def expected(example: str, eligible: bool) -> str:
    return f"{example}, expect: {'eligible' if eligible else 'not eligible'}"


INSURED = changed(POOR, "members: every", "members: every, unknown: pass")
CASES = [
    # Two grown-ups and a child: 7200.50 * 1.3 = 9360.65.
    ("police: {age: 40}, tax: {wage_year: 9360}", "{police: {age: 39}}, {police: {age: 3}}", True),
    ("police: {age: 40}, tax: {wage_year: 9361}", "{police: {age: 39}}, {police: {age: 3}}", False),
    ("police: {age: 40}, tax: {wage_year: 9000}", "{police: {age: 39}}, {police: {age: 3}, bank: {savings: 12021.49}}", True),
    ("police: {age: 40}, tax: {wage_year: 9000}", "{police: {age: 39}}, {police: {age: 3}, bank: {savings: 12021.50}}", False),
    ("police: {age: 3}", "{police: {age: 39}, tax: {wage_year: 5760}}", True),
    ("police: {age: 3}", "{police: {age: 39}, tax: {wage_year: 5761}}", False),
    ("police: {age: 17}, tax: {wage_year: 0}", "{police: {age: 3}}", False),  # nobody is grown
    ("police: {age: 18}, bank: {debt: 0}", "{police: {age: 3}, bank: {debt: 1}}", False),
    ("police: {age: 18}, bank: {debt: 0}", "{police: {age: 3}, bank: {debt: 0}}", True),
    ("police: {age: 18}, bank: {savings: 1}", "{police: {age: 3}}", True),  # what is owed is not known
    ("police: {age: 18}, social: {pension_month: -1}", "{police: {age: 3}}", False),
    ("police: {age: 18}", "{police: {age: 3}, social: {pension_month: -1}}", False),
    # Where the register is not given, it knows a member without any value: who has no age is no adult.
    ("tax: {wage_year: 5760}", "{police: {age: 39}}", True),
    ("tax: {wage_year: 5761}", "{police: {age: 39}}", False),
    ("police: {age: 39}, tax: {wage_year: 5760}", "{bank: {savings: 0}}", True),
]  # fmt: skip


def test_households() -> None:
    # The recipient is not given: it knows the applicant, and what it does not know of a pension passes.
    examples = [
        expected(f"given: {{{given}}}, others: [{others}]", eligible) for given, others, eligible in CASES
    ]
    assert run(INSURED, *examples) == len(CASES)


def test_somebody_whom_the_register_does_not_know_is_alone() -> None:
    anybody = changed(INSURED, "max(age) >= 18", "count(age) < 2")
    run(
        anybody,
        expected("given: {tax: {wage_year: 0}}", eligible=False),  # 0 is not below 7200.50 * 0
        expected("given: {police: {age: 3}, tax: {wage_year: 2160}}", eligible=True),
        expected("given: {police: {age: 3}, tax: {wage_year: 2161}}", eligible=False),
    )


def test_a_collective_household_is_so_many_single_persons() -> None:
    home = (
        "given: {police: {age: 40}, tax: {wage_year: %s}}, others: [{police: {age: 40}}, {police: {age: 40}}]"
    )
    assert run(INSURED, expected(home % 5000, eligible=True)) == 1
    small = changed(POLICE, "at_most: 20", "at_most: 2")
    single = [expected(home % 5000, eligible=False), expected(home % 3600, eligible=True)]
    assert run(INSURED, *single, police=small) == 2


PERSONS = """\
policy: persons
recipient: social
household: {department: police, column: household_id}
parameters: {line: {value: 100}}
conditions:
  of-age: {department: police, where: "age >= 18"}
  child: {department: police, of: household, where: "min(age) < 14"}
  little: {of: household, total: {bank: savings}, at_most: ":line", per_member: true}
  wages: {total: {tax: wage_year, bank: "-debt"}, above: 10, unknown: UNKNOWN}
eligible: "of-age AND child AND at_least(1, little, wages)"
"""


# With unknown: pass, and with unknown: fail.
PERSON_CASES = [
    ("police: {age: 18}, bank: {savings: 200, debt: 0}", "{police: {age: 13}}", True, True),
    ("police: {age: 18}, bank: {savings: 200.01, debt: 0}", "{police: {age: 13}}", False, False),
    ("police: {age: 18}, bank: {savings: 300, debt: 0}", "{police: {age: 13}, bank: {savings: -100}}", True, True),
    ("police: {age: 18}, bank: {savings: 300}", "{police: {age: 13}}", True, False),  # debt is unknown
    ("police: {age: 18}, tax: {wage_year: 20}, bank: {savings: 300, debt: 10}", "{police: {age: 13}}", False, False),
    ("police: {age: 18}, tax: {wage_year: 21}, bank: {savings: 300, debt: 10}", "{police: {age: 13}}", True, True),
    # What a person earns is the person's own.
    ("police: {age: 18}, bank: {savings: 300, debt: 0}", "{police: {age: 13}, tax: {wage_year: 21}}", False, False),
    ("police: {age: 17}, bank: {debt: 0}", "{police: {age: 13}}", False, False),
    ("police: {age: 18}, bank: {debt: 0}", "{police: {age: 14}}", False, False),
]  # fmt: skip


@pytest.mark.parametrize("unknown", ["pass", "fail"])
def test_persons_in_households(unknown: str) -> None:
    examples = [
        expected(f"given: {{{given}}}, others: [{others}]", passes if unknown == "pass" else fails)
        for given, others, passes, fails in PERSON_CASES
    ]
    assert run(changed(PERSONS, "UNKNOWN", unknown), *examples) == len(PERSON_CASES)


def refusal(text: str, example: str) -> str:
    with pytest.raises(PolicyRefusedError) as refused:
        run(text, example)
    return str(refused.value)


def test_what_decided_in_a_formula_is_each_condition() -> None:
    text = changed(PERSONS, "UNKNOWN", "fail")
    example = "given: {police: {age: 17}, bank: {debt: 0}}, others: [{police: {age: 13}}], expect: "
    assert refusal(text, example + "eligible") == (
        "persons: examples.1: expected eligible, but the formula (of-age: no, child: yes, little: yes, wages: no) "
        "does not hold; correct the example or the condition"
    )
    assert refusal(text, changed(example, "17", "18") + "not eligible") == (
        "persons: examples.1: expected not eligible, but the formula (of-age: yes, child: yes, little: yes, wages: no) "
        "holds; correct the example or a condition"
    )


def test_what_decided_in_an_and_is_named() -> None:
    text = changed(changed(PERSONS, "at_least(1, little, wages)", "little AND wages"), "UNKNOWN", "fail")
    example = (
        "given: {police: {age: 18}, bank: {savings: 1}}, others: [{police: {age: 13}}], expect: eligible"
    )
    assert refusal(text, example) == (
        "persons: examples.1: expected eligible, but wages (tax, bank) does not hold; correct the example or the condition"
    )


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("{tax: {wage_yaer: 1}}", "others.2.tax.wage_yaer: tax has no column 'wage_yaer'; did you mean 'wage_year'?"),
        ("{tex: {wage_year: 1}}", "others.2: there is no department 'tex'; did you mean 'tax'?"),
        ("{police: [{age: 1}, {age: 2}]}", "others.2.police: several rows for the table residents, which has rows: one; give one"),
    ],
)  # fmt: skip
def test_others_that_cannot_be(other: str, message: str) -> None:
    text = changed(PERSONS, "UNKNOWN", "fail")
    assert refusal(text, f"given: {{}}, others: [{{}}, {other}], expect: eligible") == (
        f"persons: examples.1.{message}"
    )
