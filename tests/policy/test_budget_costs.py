"""What a job takes from a department's budgets: by source, by policy, by bound, for whoever learns the result."""

from datetime import date

import pytest

from veilmatch_policy.budgets import budget_groups, costs
from veilmatch_policy.catalog import parse_catalog
from veilmatch_policy.check import plan_of
from veilmatch_policy.policy import parse_policy

DAY = date(2026, 1, 1)
TAX = """
department: tax
tables:
  income:
    source: income.csv
    id: number
    identifier: opaque
    columns:
      wage: {type: integer, range: [0, 99]}
      Monthly: {type: integer, range: [0, 9], expression: "WAGE / 12"}
      taxed: {type: integer, range: [0, 9], expression: "monthly_before - duty"}
      duty: {type: integer, range: [0, 9]}
      other: {type: text}
  again:
    source: {file: income.csv, delimiter: ";"}
    id: number
    identifier: opaque
    rows: many
    columns:
      wages: {type: integer, expression: "wage"}
"""
SOCIAL = """
department: social
tables:
  people: {source: p.csv, id: number, identifier: opaque, columns: {own: {type: integer, range: [0, 9]}}}
"""
OTHER = """
department: housing
tables:
  people: {source: p.csv, id: number, identifier: opaque, columns: {rent: {type: integer}}}
"""
CATALOGS = {
    name: parse_catalog(text.encode(), name)
    for name, text in (("housing", OTHER), ("social", SOCIAL), ("tax", TAX))
}


def policy(name, *conditions, more=""):
    lines = [f"policy: {name}", "recipient: social", "conditions:"]
    lines += [f"  c{number}: {condition}" for number, condition in enumerate(conditions)]
    return parse_policy("\n".join([*lines, more]).encode(), name)


def where(text, department="tax"):
    return f'{{department: {department}, where: "{text}"}}'


def taken(*policies, department="tax"):
    plan, tasks = plan_of(policies, CATALOGS, DAY, ("dealer",))
    spent = costs(plan, tasks[department], CATALOGS[department], coordinator="office")
    return {(cost.kind, cost.what, cost.receiver): cost.units for cost in spent}


def test_columns_from_one_source_share_a_budget_whatever_they_are_called():
    groups = budget_groups(CATALOGS["tax"])
    assert groups["wage"] == groups["Monthly"] == groups["wages"] == "income.wage"  # also in another table
    assert groups["taxed"] == groups["duty"] == "income.taxed"
    assert groups["other"] == "income.other"


def test_an_expression_that_cannot_be_read_here_reads_all_of_its_source():
    text = TAX.replace('"WAGE / 12"', '"wage OF THE MONTH (+)"')
    assert set(budget_groups(parse_catalog(text.encode(), "tax")).values()) == {"income.wage"}


@pytest.mark.parametrize("text", ["wage > 5", "wage + 1 > 6", "NOT wage <= 5", "Monthly > 0"])
def test_a_run_is_a_run_however_it_is_written(text):
    assert taken(policy("a", where(text), where("rent > 0", "housing"))) == {
        ("runs", "income.wage", "social"): 1
    }


def test_each_policy_of_a_job_and_each_bound_takes_its_own():
    total = '{total: {tax: "wage", social: "own"}, below: ":line"}'
    vary = "parameters: {line: {value: 7}}\nvary: {line: [7, 8, 9]}\nreveal: count\nepsilon: 0.5"
    assert taken(
        policy("a", where("wage > 5"), where("duty = 0")),
        policy("b", where("wage > 6"), where("rent > 0", "housing")),
        policy("c", total, where("rent > 0", "housing"), more=vary),
    ) == {
        ("runs", "income.wage", "social"): 2,
        ("runs", "income.taxed", "social"): 1,
        ("runs", "income.wage", "office"): 3,  # whoever is told the counts
        ("epsilon", "", "office"): 1_500_000,
    }


def test_who_has_a_row_is_a_budget_too_and_ones_own_data_and_other_policies_are_free():
    count = where("count(*) > 2")
    assert taken(policy("a", count, where("rent > 0", "housing"))) == {("runs", "again.*", "social"): 1}
    counted = policy("b", where("rent > 0", "housing"), more="reveal: count\nepsilon: 1")
    members = policy("a", where("wage > 5"), where("own > 2", "social"))
    assert taken(members, counted) == {("runs", "income.wage", "social"): 1}  # no epsilon: tax is not in b
    assert taken(members, department="social") == {}
