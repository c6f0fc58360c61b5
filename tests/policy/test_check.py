"""What the catalogs refuse a policy, and what each department is asked."""

# ruff: noqa: E501  a message is read, and searched for, on one line

from collections.abc import Mapping

import pytest
from policy_world import POLICE, POLICY, TAX, catalogs, changed, policy

from veilmatch_policy.catalog import Catalog
from veilmatch_policy.check import CheckedPolicy, check_department, check_policy
from veilmatch_policy.errors import NotSupportedYetError, PolicyRefusedError

LOW_WAGE = "conditions.low-wage.where"


def check(text: str = POLICY, at: Mapping[str, Catalog] | None = None) -> CheckedPolicy:
    return check_policy(policy(text), at or catalogs())


def refusal(text: str, at: Mapping[str, Catalog] | None = None) -> str:
    with pytest.raises(PolicyRefusedError) as refused:
        check(text, at)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def asking(where: str) -> str:
    """The policy with another question to the tax bureau."""
    return changed(POLICY, "wage_year < :line", where)


def test_who_is_asked_what() -> None:
    checked = check()
    assert checked.contributors == ("police", "tax")
    assert sorted(checked.tasks) == ["police", "social", "tax"]
    tax, social = checked.tasks["tax"], checked.tasks["social"]
    assert (tax.names, tax.unknowns, tax.among, tax.among_at_most) == (("low-wage",), (False,), None, None)
    assert [column.name for column in tax.columns] == ["wage_year"]
    assert [column.name for column in checked.tasks["police"].columns] == ["age", "alive"]
    assert social.among is not None
    assert (social.among.text, social.among_at_most, social.names) == (
        "pension_month > 0",
        50000,
        ("small-pension",),
    )
    assert [column.name for column in social.columns] == ["pension_month"]


def test_a_node_alone_derives_the_same_task() -> None:
    checked = check()
    for name, catalog in catalogs().items():
        assert check_department(policy(), catalog) == checked.tasks[name]


def test_unknown_pass() -> None:
    checked = check(changed(POLICY, '"wage_year < :line"', '"wage_year < :line"\n    unknown: pass'))
    assert checked.tasks["tax"].unknowns == (True,)


def test_no_ceiling_and_no_among_are_fine() -> None:
    text = changed(changed(POLICY, 'among: "pension_month > 0"\n', ""), "among_at_most: 50000\n", "")
    assert check(text).tasks["social"].among is None


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("employer_name = 'x'", f"top-up: {LOW_WAGE}: employer_name of tax is not shared (release: never); there is paid, rent_year, sex, wage_year"),
        ("wage_yaer < 3", f"top-up: {LOW_WAGE}: tax has no column 'wage_yaer'; did you mean 'wage_year'?"),
        ("age < 3", f"top-up: {LOW_WAGE}: 'age' is a column of police; this condition is asked of tax; ask police in a condition of its own"),
        ("rent_year < 3", f"top-up: {LOW_WAGE}: rent_year of tax is for the purposes relief only, and the policy's purpose has no code; write purpose: {{code: relief}} if that is what it is for"),
        ("sex = 'male'", f"top-up: {LOW_WAGE}: sex of tax is for the recipients housing only, not social; ask tax"),
    ],
)  # fmt: skip
def test_a_column_that_is_not_to_be_had(where: str, message: str) -> None:
    assert refusal(asking(where)) == message


def test_purposes() -> None:
    text = asking("rent_year < 3")
    law = "purpose: Elderly Income Supplement Act, section 12"
    check(changed(text, law, "purpose: {code: relief}"))
    assert refusal(changed(text, law, "purpose: {code: releif}")) == (
        f"top-up: {LOW_WAGE}: rent_year of tax is for the purposes relief only, not 'releif'; did you mean 'relief'?"
    )


def test_recipients() -> None:
    allowed = catalogs(tax=changed(TAX, "recipients: [housing]", "recipients: [housing, social]"))
    assert check(asking("sex = 'male'"), allowed).tasks["tax"].columns[0].name == "sex"


def test_the_recipients_own_never_column() -> None:
    assert refusal(changed(POLICY, "pension_month > 0", "disabled")) == (
        "top-up: among: disabled of social is not shared (release: never); there is pension_month"
    )


def test_among_is_the_recipients_own() -> None:
    assert refusal(changed(POLICY, "pension_month > 0", "age > 60")) == (
        "top-up: among: 'age' is a column of police; this condition is asked of social; ask police in a condition of its own"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("recipient: social", "recipient: socail", "top-up: recipient: there is no department 'socail'; did you mean 'social'?"),
        ("department: tax", "department: tacks", "top-up: conditions.low-wage.department: there is no department 'tacks'; there is police, social, tax"),
        ("tax: {wage_year: 7201}", "taxes: {wage_year: 7201}", "top-up: examples.3.given: there is no department 'taxes'; did you mean 'tax'?"),
    ],
)  # fmt: skip
def test_a_department_that_is_not_there(old: str, new: str, message: str) -> None:
    assert refusal(changed(POLICY, old, new)) == message


ONLY_TAX = changed(POLICY, '  pensioner:\n    department: police\n    where: "age >= 65 AND alive"\n', "")


def test_the_only_department_asked() -> None:
    assert refusal(ONLY_TAX) == (
        f"top-up: {LOW_WAGE}: tax is the only department asked, so social would read its answer off, which wage_year of "
        "tax does not allow (alone: never); add a condition of another department, or ask tax for alone: approval"
    )
    with pytest.raises(PolicyRefusedError, match="is the only department asked"):
        check_department(policy(ONLY_TAX), catalogs()["tax"])


def test_the_only_department_asked_may_allow_it() -> None:
    allowed = catalogs(tax=changed(TAX, "range: [0, 5000000]}", "range: [0, 5000000], alone: approval}"))
    assert check(ONLY_TAX, allowed).contributors == ("tax",)


def test_nothing_to_match() -> None:
    conditions = 'conditions:\n  small-pension: {department: social, where: "pension_month < 1000"}\n'
    assert refusal(POLICY[: POLICY.index("conditions:")] + conditions) == (
        "top-up: conditions: every condition is answered by the recipient social, so there is nothing to match; "
        "add a condition of another department"
    )


HOUSEHOLD = "household: {department: police, column: household_id}\nconditions:"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("conditions:", HOUSEHOLD)], "household: household"),
        ([("conditions:", HOUSEHOLD), ("version: 1", "unit: household")], "unit: unit: household"),
        ([("conditions:", HOUSEHOLD), ("department: tax", "department: tax\n    of: household")], "conditions.low-wage.of: of: household"),
        ([("conditions:", HOUSEHOLD), ("department: tax", "department: tax\n    members: any")], "conditions.low-wage.members: members"),
        ([("department: tax", "total: {tax: wage_year}"), ('where: "wage_year < :line"', 'below: ":line"')], "conditions.low-wage.total: total"),
        ([("version: 1", "reveal: count")], "reveal: reveal: count"),
        ([("examples:", "eligible: pensioner AND low-wage AND NOT small-pension\nexamples:")], "eligible: a formula with OR, NOT or at_least"),
        ([("examples:", "eligible: at_least(2, pensioner, low-wage, small-pension)\nexamples:")], "eligible: a formula with OR, NOT or at_least"),
    ],
)  # fmt: skip
def test_what_comes_later_is_named(changes: list[tuple[str, str]], message: str) -> None:
    text = POLICY
    for old, new in changes:
        text = changed(text, old, new)
    with pytest.raises(NotSupportedYetError) as refused:
        check(text)
    assert str(refused.value) == f"top-up: {message} is not supported yet; leave it out"
    with pytest.raises(NotSupportedYetError):
        check_department(policy(text), catalogs()["tax"])


def test_an_and_that_is_written_out() -> None:
    check(changed(POLICY, "examples:", "eligible: (pensioner AND low-wage) and small-pension\nexamples:"))


def test_expressions_are_held_against_the_subset() -> None:
    assert "conditions.low-wage.where" in refusal(asking("wage_year < (SELECT 1)"))
    assert "conditions.low-wage.where" in refusal(asking("wage_year"))
    assert "conditions.low-wage.where" in refusal(asking("wage_year < 'x'"))


def test_departments_that_are_not_asked_play_no_part() -> None:
    more = {**catalogs(), "housing": catalogs(police=changed(POLICE, "police", "housing"))["police"]}
    assert sorted(check(at=more).tasks) == ["police", "social", "tax"]
