"""The worked examples are evaluated as a node would evaluate them."""

# ruff: noqa: E501  a message is read, and searched for, on one line

import pytest
from policy_world import POLICY, REFERENCE_DATE, SOCIAL, catalogs, changed, policy

from veilmatch_policy.check import check_policy
from veilmatch_policy.errors import PolicyRefusedError
from veilmatch_policy.examples import run_examples

BEFORE = POLICY[: POLICY.index("examples:")]


def run(given: str, expect: str, text: str = BEFORE, **changed_catalogs: str) -> int:
    example = f"examples:\n  - {{given: {{{given}}}, expect: {expect}}}\n"
    return run_examples(
        check_policy(policy(text + example), catalogs(**changed_catalogs), REFERENCE_DATE), REFERENCE_DATE
    )


def refusal(given: str, expect: str, text: str = BEFORE, **changed_catalogs: str) -> str:
    with pytest.raises(PolicyRefusedError) as refused:
        run(given, expect, text, **changed_catalogs)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_policys_own_examples() -> None:
    assert run_examples(check_policy(policy(), catalogs(), REFERENCE_DATE), REFERENCE_DATE) == 3


def test_a_policy_without_examples() -> None:
    assert run_examples(check_policy(policy(BEFORE), catalogs(), REFERENCE_DATE), REFERENCE_DATE) == 0


ELIGIBLE = "police: {age: 65}, tax: {wage_year: 7200}, social: {pension_month: 999.99}"


@pytest.mark.parametrize(
    ("given", "decided"),
    [
        ("police: {age: 64}, tax: {wage_year: 7200}, social: {pension_month: 999.99}", "pensioner (police)"),
        ("police: {age: 70, alive: false}, social: {pension_month: 1}", "pensioner (police)"),
        ("tax: {wage_year: 7200}, social: {pension_month: 999.99}", "pensioner (police)"),
        ("police: {age: 65}, tax: {wage_year: 7201}, social: {pension_month: 999.99}", "low-wage (tax)"),
        (
            "police: {age: 65}, tax: {wage_year: 7200}, social: {pension_month: 1000}",
            "small-pension (social)",
        ),
        ("police: {age: 65}, tax: {wage_year: 7200}, social: {pension_month: 0}", "among"),
        ("police: {age: 65}, tax: {wage_year: 7200}, social: {}", "among"),
        # The recipient knows the person without any value: only among is taken as met.
        ("police: {age: 65}, tax: {wage_year: 7200}", "small-pension (social)"),
    ],
)
def test_what_decided_is_named(given: str, decided: str) -> None:
    assert run(given, "not eligible") == 1
    assert refusal(given, "eligible") == (
        f"top-up: examples.1: expected eligible, but {decided} does not hold; correct the example or the condition"
    )


def test_eligible_against_expectation() -> None:
    assert run(ELIGIBLE, "eligible") == 1
    assert refusal(ELIGIBLE, "not-eligible") == (
        "top-up: examples.1: expected not eligible, but every condition holds; correct the example or a condition"
    )


def test_among_is_taken_as_met_where_the_recipient_is_not_given() -> None:
    text = changed(
        BEFORE,
        'department: social\n    where: "pension_month < 1000"',
        "department: police\n    where: age < 90",
    )
    assert run("police: {age: 65}", "eligible", text) == 1


def test_a_recipient_that_is_not_given_has_a_row_without_values() -> None:
    small = changed(SOCIAL, "{type: decimal(2)}", "{type: decimal(2), missing: {no_value: 5}}")
    assert run("police: {age: 65}", "eligible", social=small) == 1


def test_missing_values_follow_the_catalog() -> None:
    # wage_year is 0 for a missing row and an empty value alike; rent_year for a missing row alone.
    rent = changed(
        changed(BEFORE, "wage_year < :line", "rent_year < 10"), "purpose: E", "purpose: {code: relief} # "
    )
    assert run("police: {age: 65}, social: {pension_month: 1}", "eligible", rent) == 1
    assert run("police: {age: 65}, social: {pension_month: 1}, tax: {}", "not eligible", rent) == 1
    assert (
        run("police: {age: 65}, social: {pension_month: 1}, tax: {wage_year: 5}", "not eligible", rent) == 1
    )
    # A row of payments is no row of income.
    assert run("police: {age: 65}, social: {pension_month: 1}, tax: {paid: 5}", "eligible", rent) == 1
    passing = changed(rent, 'rent_year < 10"', 'rent_year < 10"\n    unknown: pass')
    assert run("police: {age: 65}, social: {pension_month: 1}, tax: {}", "eligible", passing) == 1


def test_several_rows() -> None:
    paid = changed(BEFORE, "wage_year < :line", "sum(paid) <= 0.30 AND count(paid) = 2")
    rows = "police: {age: 65}, social: {pension_month: 1}, tax: [{paid: 0.10}, {paid: %s}]"
    assert run(rows % "0.20", "eligible", paid) == 1  # exactly: 0.1 + 0.2 is not above 0.3
    assert run(rows % "0.21", "not eligible", paid) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("tax: {wage_yaer: 1}", "examples.1.given.tax.wage_yaer: tax has no column 'wage_yaer'; did you mean 'wage_year'?"),
        ("tax: {wage_year: lots}", "examples.1.given.tax.wage_year: 'lots' is not a number; write plain digits, such as 7200.50"),
        ("tax: {wage_year: 5000001}", "examples.1.given.tax.wage_year: '5000001' is not within the declared range [0, 5000000]"),
        ("tax: [{wage_year: 1}, {wage_year: 2}]", "examples.1.given.tax: several rows for the table income, which has rows: one; give one"),
        ("tax: []", "examples.1.given.tax: a list without rows; leave a department out that does not know the person"),
    ],
)  # fmt: skip
def test_an_example_that_cannot_be(given: str, message: str) -> None:
    assert refusal(given, "eligible") == f"top-up: {message}"


def test_the_first_failing_example_is_named_by_its_number() -> None:
    text = f"{POLICY}  - {{given: {{{ELIGIBLE}}}, expect: not eligible}}\n"
    with pytest.raises(PolicyRefusedError, match=r"^top-up: examples\.4: expected not eligible"):
        run_examples(check_policy(policy(text), catalogs(), REFERENCE_DATE), REFERENCE_DATE)


def test_text_keeps_its_zeros_and_dates_are_dates() -> None:
    text = changed(BEFORE, "age >= 65 AND alive", "county = '010100' AND born <= DATE '1960-12-31'")
    known = "police: {county: 010100, born: 1960-12-31}, social: {pension_month: 1}"
    assert run(known, "eligible", text) == 1
    assert run(known.replace("010100", "10100"), "not eligible", text) == 1
    assert run(known.replace("1960", "1961"), "not eligible", text) == 1


def test_an_empty_value_is_missing() -> None:
    assert run('police: {age: ""}, social: {pension_month: 1}', "not eligible") == 1
