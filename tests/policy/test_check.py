"""What the catalogs refuse a policy, and what each department is asked."""

# ruff: noqa: E501  a message is read, and searched for, on one line

from collections.abc import Mapping
from datetime import date

import pytest
from policy_world import POLICE, POLICY, REFERENCE_DATE, SOCIAL, TAX, catalogs, changed, policy

from veilmatch_policy.catalog import Catalog, parse_catalog
from veilmatch_policy.check import (
    EXTRA_DEALER,
    CheckedPolicy,
    DepartmentTask,
    bind_questions,
    check_alone,
    check_policy,
    declare,
    plan_of,
)
from veilmatch_policy.declarations import AmountEntry, DepartmentEntry
from veilmatch_policy.errors import PolicyRefusedError
from veilmatch_policy.policy import parse_policy
from veilmatch_policy.questions import ask

LOW_WAGE = "conditions.low-wage.where"


def check(text: str = POLICY, at: Mapping[str, Catalog] | None = None) -> CheckedPolicy:
    return check_policy(policy(text), at or catalogs(), REFERENCE_DATE)


def refusal(text: str, at: Mapping[str, Catalog] | None = None) -> str:
    with pytest.raises(PolicyRefusedError) as refused:
        check(text, at)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 3
    return str(refused.value)


def asking(where: str) -> str:
    """The policy with another question to the tax bureau."""
    return changed(POLICY, "wage_year < :line", where)


def test_who_is_asked_what() -> None:
    checked = check()
    assert checked.plan.contributors == ("police", "tax")
    assert sorted(checked.tasks) == ["police", "social", "tax"]
    asked = {(question.department, question.kind, question.text) for question in checked.plan.questions}
    assert asked == {
        ("police", "condition", "age >= 65 AND alive"),
        ("tax", "condition", "wage_year < :line"),
        ("social", "condition", "pension_month > 0"),
        ("social", "condition", "pension_month < 1000"),
    }
    for name, task in checked.tasks.items():
        assert task.questions.keys() == checked.plan.questions_of(name).keys()
        for number, expression in task.questions.items():
            assert expression.text == checked.plan.questions[number].text
    tax, social = checked.tasks["tax"], checked.tasks["social"]
    assert not any(question.unknown for question in checked.plan.questions)
    assert [column.name for column in tax.columns] == ["wage_year"]
    assert [column.name for column in checked.tasks["police"].columns] == ["age", "alive"]
    assert [column.name for column in social.columns] == ["pension_month"]
    [planned] = checked.plan.policies
    assert planned.among is not None
    assert planned.policy.among_at_most == 50000
    assert social.questions[planned.among].text == "pension_month > 0"
    assert planned.own is not None
    assert social.questions[int(str(planned.own.formula))].text == "pension_month < 1000"


def test_a_node_alone_derives_the_same_task() -> None:
    for text in (POLICY, TOTAL):
        checked, asked = check(text), ask([policy(text)], REFERENCE_DATE)
        for name, catalog in catalogs().items():
            alone = bind_questions([policy(text)], asked, REFERENCE_DATE, catalog)
            assert alone == checked.tasks[name]


def test_unknown_pass() -> None:
    checked = check(changed(POLICY, '"wage_year < :line"', '"wage_year < :line"\n    unknown: pass'))
    assert {question.department: question.unknown for question in checked.plan.questions} == {
        "police": False,
        "tax": True,
        "social": False,
    }


def test_no_ceiling_and_no_among_are_fine() -> None:
    text = changed(changed(POLICY, 'among: "pension_month > 0"\n', ""), "among_at_most: 50000\n", "")
    assert check(text).plan.policies[0].among is None


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


def check_tasks(text: str) -> Mapping[str, DepartmentTask]:
    """The tasks of a policy without asking whether it may be run."""
    return plan_of([policy(text)], catalogs(), REFERENCE_DATE)[1]


ONLY_TAX = changed(POLICY, '  pensioner:\n    department: police\n    where: "age >= 65 AND alive"\n', "")


def test_the_only_department_asked() -> None:
    assert refusal(ONLY_TAX) == (
        f"top-up: {LOW_WAGE}: tax is the only department asked, so social would read its answer off, which wage_year of "
        "tax does not allow (alone: never); add a condition of another department, or ask tax for alone: approval"
    )
    allowed = catalogs(tax=changed(TAX, "range: [0, 5000000]}", "range: [0, 5000000], alone: approval}"))
    checked = check(ONLY_TAX, allowed)
    check_alone(checked.plan, catalogs()["police"], checked.tasks["social"])
    with pytest.raises(PolicyRefusedError, match="is the only department asked"):
        check_alone(checked.plan, catalogs()["tax"], check_tasks(ONLY_TAX)["tax"])


def test_the_only_department_counted() -> None:
    assert refusal(changed(ONLY_TAX, "version: 1", "reveal: count")) == (
        f"top-up: {LOW_WAGE}: tax is the only department asked, so the count would be of its answer alone, which wage_year of "
        "tax does not allow (alone: never); add a condition of another department, or ask tax for alone: approval"
    )


def test_the_only_department_of_one_policy_among_several() -> None:
    both = [policy(), policy(changed(ONLY_TAX, "policy: top-up", "policy: alone"))]
    plan, tasks = plan_of(both, catalogs(), REFERENCE_DATE)
    check_alone(plan, catalogs()["police"], tasks["police"])
    with pytest.raises(
        PolicyRefusedError, match=r"^alone: conditions\.low-wage\.where: tax is the only department asked"
    ):
        check_alone(plan, catalogs()["tax"], tasks["tax"])


def test_the_only_department_asked_may_allow_it() -> None:
    allowed = catalogs(tax=changed(TAX, "range: [0, 5000000]}", "range: [0, 5000000], alone: approval}"))
    assert check(ONLY_TAX, allowed).plan.contributors == ("tax",)


def test_nothing_to_match() -> None:
    conditions = 'conditions:\n  small-pension: {department: social, where: "pension_month < 1000"}\n'
    assert refusal(POLICY[: POLICY.index("conditions:")] + conditions) == (
        "top-up: conditions: every condition is answered by the recipient social, so there is nothing to match; "
        "add a condition of another department"
    )


def test_an_and_that_is_written_out() -> None:
    check(changed(POLICY, "examples:", "eligible: (pensioner AND low-wage) and small-pension\nexamples:"))


def test_expressions_are_held_against_the_subset() -> None:
    assert "conditions.low-wage.where" in refusal(asking("wage_year < (SELECT 1)"))
    assert "conditions.low-wage.where" in refusal(asking("wage_year"))
    assert "conditions.low-wage.where" in refusal(asking("wage_year < 'x'"))


def test_departments_that_are_not_asked_play_no_part() -> None:
    more = {**catalogs(), "housing": catalogs(police=changed(POLICE, "police", "housing"))["police"]}
    assert sorted(check(at=more).tasks) == ["police", "social", "tax"]


TOTAL = """\
policy: low-income
recipient: social
household: {department: police, column: household_id}
conditions:
  pensioner: {department: police, where: "age >= 65"}
  low:
    of: household
    total: {tax: "wage_year", social: "coalesce(pension_month, 0)"}
    below: 9000.50
eligible: "pensioner AND NOT low"
"""
TOTAL_PLACE = "low-income: conditions.low"


HOUSEHOLD = "household: {department: police, column: household_id}\nconditions:"
KNOWN = [
    ("pension_month < 1000", "coalesce(pension_month, 0) < 1000"),
    ('AND alive"', 'AND alive"\n    unknown: fail'),
]


@pytest.mark.parametrize(
    "changes",
    [
        [('where: "age >= 65 AND alive"', 'where: "max(age) >= 65"\n    of: household')],
        [("department: tax", "department: tax\n    members: any")],
        [("version: 1", "unit: household"), ("age >= 65 AND alive", "max(age) >= 65"), ("department: tax", "department: tax\n    members: any"), ("department: social", "department: social\n    members: every")],
        [("department: tax", "total: {tax: wage_year}"), ('where: "wage_year < :line"', 'below: ":line"')],
        [("version: 1", "reveal: count")],
        [("examples:", "eligible: pensioner AND low-wage OR small-pension\nexamples:")],
        [("examples:", "eligible: pensioner AND NOT (low-wage AND small-pension)\nexamples:"), *KNOWN],
        [("examples:", "eligible: at_least(2, pensioner, low-wage, small-pension)\nexamples:"), *KNOWN],
    ],
)  # fmt: skip
def test_what_needs_a_circuit_is_planned(changes: list[tuple[str, str]]) -> None:
    text = changed(changed(POLICY, "conditions:", HOUSEHOLD), "value: 7200.50", "value: 7200")
    for old, new in changes:
        text = changed(text, old, new)
    plan = check(text).plan
    [planned] = plan.policies
    assert planned.answer is None
    assert len(planned.circuits) == 1
    assert plan.dealer == EXTRA_DEALER
    assert plan.registrar == ("police" if "members" in text or "of: household" in text else None)


def test_a_household_register_that_nothing_asks_for_tells_nothing() -> None:
    checked = check(changed(POLICY, "conditions:", HOUSEHOLD))
    assert checked.plan.registrar is None
    assert checked.plan.participants == ("police", "social", "tax")


def test_what_departments_declare() -> None:
    asked, at = ask([policy(TOTAL)], REFERENCE_DATE), catalogs()
    number = {question.department: n for n, question in enumerate(asked) if question.kind == "amount"}
    entries = {
        name: declare(
            [policy(TOTAL)],
            asked,
            bind_questions([policy(TOTAL)], asked, REFERENCE_DATE, at[name]),
            at[name],
        )
        for name in at
    }
    assert entries == {
        "tax": DepartmentEntry(
            department="tax",
            amounts=(AmountEntry(question=number["tax"], scale=0, largest=5000000, optional=False),),
        ),
        "social": DepartmentEntry(
            department="social",
            amounts=(AmountEntry(question=number["social"], scale=2, largest=None, optional=False),),
        ),
        "police": DepartmentEntry(department="police", household_at_most=20),
    }
    assert all(DepartmentEntry.decode(entry.encode()) == entry for entry in entries.values())


def test_nobody_but_the_register_says_how_large_households_are() -> None:
    assert check(TOTAL).plan.household_at_most == 20
    # The tax bureau keeps one too, which is not the policy's.
    other = changed(TAX, "    rows: one\n", "    rows: one\n    household: {column: flat, at_most: 3}\n")
    assert check(TOTAL, catalogs(tax=other)).plan.household_at_most == 20


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("policy: low-income", "policy: low-income\ndealer: social", "low-income: dealer: social is the recipient, and with what a dealer knows it would see more than it may; name a department that has no other part"),
        ("policy: low-income", "policy: low-income\ndealer: tax", "low-income: dealer: tax is asked something, and with what a dealer knows it would see more than it may; name a department that has no other part"),
        ("policy: low-income", "policy: low-income\ndealer: deeler", "low-income: dealer: there is no node 'deeler'; did you mean 'dealer'?"),
        ('"pensioner AND NOT low"', '"pensioner AND NOT lov"', "top-up.yaml:10: eligible: there is no condition 'lov' at character 19; did you mean 'low'?"),
        ('"wage_year"', '"sex"', f"{TOTAL_PLACE}.total.tax: an amount is a number, this is text; count with CASE WHEN ... THEN 1 ELSE 0 END"),
        ('tax: "wage_year"', 'tacks: "wage_year"', f"{TOTAL_PLACE}.total: there is no department 'tacks'; there is police, social, tax"),
        ("9000.50", "9000.505", f"{TOTAL_PLACE}.below: 9000.505 has more decimal places than the total, which has 2; round it, or round(..., n) no part of the total to fewer places"),
        ("9000.50", "5500000000", f"{TOTAL_PLACE}.total: by what is declared (social no range, tax 5000000 times 20 members, the bound 5500000000) it can reach more than 40 bits hold, 5497558138.87 with 2 decimal places; declare narrower ranges, a smaller household at_most, or fewer decimal places"),
        ("column: household_id", "column: houshold_id", "low-income: household.column: police has no household column 'houshold_id'; did you mean 'household_id'?"),
        ("household: {department: police", "household: {department: social", "low-income: household: social keeps no household register; ask the department whose catalog has one"),
        ("household: {department: police", "household: {department: polise", "low-income: household.department: there is no department 'polise'; did you mean 'police'?"),
        ("coalesce(pension_month, 0)", "pension_month", f"{TOTAL_PLACE}.total.social: its value may be missing in social, and it stands under NOT or at_least; write unknown: fail or unknown: pass into low, or have missing declared in the catalog"),
        ("pensioner AND NOT low", "NOT pensioner AND low", "low-income: conditions.pensioner.where: its value may be missing in police, and it stands under NOT or at_least; write unknown: fail or unknown: pass into pensioner, or have missing declared in the catalog"),
        ("pensioner AND NOT low", "at_least(1, pensioner, low)", "low-income: conditions.pensioner.where: its value may be missing in police, and it stands under NOT or at_least; write unknown: fail or unknown: pass into pensioner, or have missing declared in the catalog"),
    ],
)  # fmt: skip
def test_a_total_that_is_refused(old: str, new: str, message: str) -> None:
    assert refusal(changed(TOTAL, old, new)) == message


def test_unknown_decides_what_may_be_missing() -> None:
    ranged = catalogs(social=changed(SOCIAL, "{type: decimal(2)}", "{type: decimal(2), range: [0, 9000]}"))
    for unknown in ("pass", "fail"):
        text = changed(TOTAL, "coalesce(pension_month, 0)", "pension_month")
        check(changed(text, "below: 9000.50", f"below: 9000.50\n    unknown: {unknown}"), ranged)
        text = changed(TOTAL, "pensioner AND NOT low", "NOT pensioner AND low")
        check(changed(text, '"age >= 65"', f'"age >= 65", unknown: {unknown}'))


def test_the_bound_is_asked_of_a_department_that_is_there() -> None:
    text = changed(changed(TOTAL, "of: household\n", "of: person\n"), "NOT low", "low")
    assert refusal(changed(text, "9000.50", "{pollice: age}")) == (
        f"{TOTAL_PLACE}.below: there is no department 'pollice'; did you mean 'police'?"
    )
    assert "police" in check(changed(text, "9000.50", "{police: age}")).plan.contributors


def test_the_dealer_is_whoever_has_no_other_part() -> None:
    assert check(TOTAL).plan.dealer == EXTRA_DEALER
    courts = catalogs(police=changed(POLICE, "department: police", "department: courts"))["police"]
    assert check(TOTAL, {**catalogs(), "courts": courts}).plan.dealer == "courts"
    named = changed(TOTAL, "recipient: social", "recipient: social\ndealer: dealer")
    assert check(named, {**catalogs(), "courts": courts}).plan.dealer == "dealer"
    # The register deals neither, also where it is asked nothing else.
    silent = TOTAL.replace("department: police, where", "department: tax, where").replace(
        "age >= 65", "wage_year >= 0"
    )
    allowed = catalogs(tax=changed(TAX, "range: [0, 5000000]}", "range: [0, 5000000], alone: approval}"))
    assert check(silent, allowed).plan.contributors == ("tax",)
    assert refusal(changed(silent, "recipient: social", "recipient: social\ndealer: police"), allowed) == (
        "low-income: dealer: police keeps the register, and with what a dealer knows it would see more than it may; "
        "name a department that has no other part"
    )


def test_the_dealer_is_held_against_linear_policies_too() -> None:
    assert refusal(changed(POLICY, "version: 1", "dealer: tax")).startswith(
        "top-up: dealer: tax is asked something"
    )
    assert check(changed(POLICY, "version: 1", "dealer: dealer")).plan.dealer is None


@pytest.mark.parametrize("text", ["1 = 1", ":line > 3", "NOT (2 < 1)"])
def test_a_condition_that_reads_nothing_is_refused(text):
    """It would stand beside another department's, whose answer could then be read off although alone: never."""
    policy = f"""
policy: hidden
recipient: social
parameters: {{line: {{value: 4}}}}
conditions:
  a: {{department: tax, where: "wage > 3"}}
  b: {{department: housing, where: "{text}"}}
"""
    catalogs = {
        name: parse_catalog(
            f"department: {name}\ntables:\n  t: {{source: t.csv, id: i, identifier: opaque, "
            f"columns: {{{column}: {{type: integer}}}}}}".encode(),
            name,
        )
        for name, column in (("tax", "wage"), ("housing", "rent"), ("social", "own"))
    }
    with pytest.raises(PolicyRefusedError, match="reads nothing of housing"):
        check_policy(parse_policy(policy.encode(), "policy"), catalogs, date(2026, 1, 1))


def test_who_has_a_row_is_refused_where_nothing_of_the_table_is_shared_and_never_stands_alone():
    text = "department: tax\ntables:\n  t: {{source: t.csv, rows: many, id: i, identifier: opaque, columns: {{w: {{type: integer, {}}}}}}}"
    social = parse_catalog(
        text.replace("tax", "social").replace("w:", "own:").format("release: open").encode(), "s"
    )
    policy = parse_policy(
        b"policy: p\nrecipient: social\nconditions:\n  a: {department: tax, where: 'count(*) > 1'}\n",
        "policy",
    )
    for release, match in (("release: never", "is not shared"), ("release: open", "alone: never")):
        catalogs = {"tax": parse_catalog(text.format(release).encode(), "t"), "social": social}
        with pytest.raises(PolicyRefusedError, match=match):
            check_policy(policy, catalogs, date(2026, 1, 1))
