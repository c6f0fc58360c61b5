"""The shipped example: policies computed by the departments' own code equal the plain computation.

The departments' answers are joined here in the open, by identifier; what the federation does instead
is tested with the federation.
"""

import hashlib
import re
from decimal import Decimal
from pathlib import Path

import pytest
from fakes.desk import on_one_desk
from oracles import eusilc

from veilmatch_node.source import load
from veilmatch_policy.catalog import load_catalog
from veilmatch_policy.check import check_policy
from veilmatch_policy.examples import run_examples
from veilmatch_policy.policy import load_policy

DEPARTMENTS = eusilc.EXAMPLE / "departments"
SHARED = Path(__file__).parents[3] / "shared" / "data" / "departments"

# From the README of the data that the tables were made from.
ROWS = {
    "public_security": 14827,
    "tax": 9535,
    "social_insurance": 5281,
    "education": 1728,
    "housing": 1503,
    "civil_affairs": 3357,
}


@pytest.fixture(scope="module")
def catalogs():
    return {name: load_catalog(DEPARTMENTS / name / "catalog.yaml") for name in ROWS}


@pytest.fixture(scope="module")
def desk(catalogs):
    folders = {name: DEPARTMENTS / name for name in ROWS}
    with on_one_desk(catalogs, folders, eusilc.REFERENCE_DATE, "public_security") as desk:
        yield desk


@pytest.fixture(scope="module")
def tables():
    return eusilc.records()


@pytest.fixture(scope="module", params=eusilc.POLICIES)
def checked(request, catalogs):
    policy = load_policy(eusilc.EXAMPLE / "policies" / f"{request.param}.yaml")
    return check_policy(policy, catalogs, eusilc.REFERENCE_DATE)


def test_the_oracle_knows_every_policy_of_the_example():
    assert {path.stem for path in (eusilc.EXAMPLE / "policies").iterdir()} == set(eusilc.POLICIES)


def test_equals_the_plain_computation(checked, desk, tables):
    eligible = desk.eligible(checked.policy)
    assert eligible == eusilc.eligible(checked.policy.name, tables)
    # Neither nobody nor everybody, or the comparison says little.
    about = desk.asked_about(checked.policy)
    assert 50 < len(eligible) < len(about) * 3 // 4
    assert len(about) <= checked.policy.among_at_most


def test_every_condition_is_true_of_some_and_false_of_others(checked, desk):
    assert len(checked.plan.contributors) >= 2
    about = desk.asked_about(checked.policy)
    for name, found in desk.truths(checked.policy).items():
        assert {found[person] for person in about} == {True, False}, name


def test_the_published_figures_of_poverty(tables):
    """Alfons and Templ 2013 (Journal of Statistical Software 54(15)): 14.44422 per cent are at risk of poverty."""
    below = eusilc.households_under_poverty_line(tables)
    people = eusilc.eligible(eusilc.UNDER_POVERTY_LINE, tables)
    assert (len(people), len(below)) == (2090, 945)
    assert round(eusilc.weighted_share(people, tables), 5) == Decimal("14.44422")


def test_totals_of_the_largest_household_fit_into_40_bits(catalogs):
    """The declared ranges, for as many members as the register declares, in units of 0.0001 euro."""
    policy = load_policy(eusilc.EXAMPLE / "policies" / f"{eusilc.UNDER_POVERTY_LINE}.yaml")
    [condition] = policy.conditions.values()
    at_most = catalogs["public_security"].tables["residents"].household.at_most
    per_person = sum(
        max(map(abs, catalogs[department].column(name).range))
        for department, amount in condition.total.items()
        for name in re.findall(r"\w+", amount)
    )
    bound = policy.parameters["line"].allow[1] * (Decimal("0.5") + at_most * Decimal("0.5"))
    assert (per_person * at_most + bound) * 10**4 < 2**39


def test_worked_examples(checked):
    assert {example.eligible for example in checked.policy.examples} == {True, False}
    assert run_examples(checked, eusilc.REFERENCE_DATE) >= 3


def test_every_row_is_read(catalogs, tables):
    for name, catalog in catalogs.items():
        with load(catalog, DEPARTMENTS / name, needed=(), reference_date=eusilc.REFERENCE_DATE) as department:
            [report] = department.report.tables
            assert (report.rows, report.people, report.duplicates, report.refused) == (
                ROWS[name],
                ROWS[name],
                0,
                0,
            )
            assert department.identifiers.to_pylist() == sorted(tables[name])


def test_every_spelling_occurs(tables):
    """The tables are worth turning: 15 digits, full width, a small x, blanks and thousands separators."""
    spelled = [row[column] for name, column in eusilc._IDENTIFIERS.items() for row in tables[name].values()]
    assert any(len(number) == 15 for number in spelled)
    assert any(not number.isascii() for number in spelled)
    assert any(number.endswith("x") for number in spelled)
    assert any(number.startswith(" ") for number in spelled)
    assert any("," in row["rental_income"] for row in tables["housing"].values())


def test_no_number_was_ever_issued(tables):
    assert all(number[2:4] == "99" for table in tables.values() for number in table)


@pytest.mark.skipif(not SHARED.exists(), reason="the collection of test data is not beside the repository")
@pytest.mark.parametrize("name", ROWS)
def test_the_tables_are_the_collections(name):
    ours, theirs = (DEPARTMENTS / name / f"{name}.csv", SHARED / f"{name}.csv")
    assert hashlib.sha256(ours.read_bytes()).digest() == hashlib.sha256(theirs.read_bytes()).digest()
