"""The shipped example: policies computed by the departments' own code equal the plain computation.

The departments' answers are joined here in the open, by identifier; what the federation does instead
is tested with the federation.
"""

import hashlib
from pathlib import Path

import pytest
from oracles import eusilc

from veilmatch_node.source import load
from veilmatch_policy.catalog import load_catalog
from veilmatch_policy.check import check_policy
from veilmatch_policy.evaluate import truth
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
def departments(catalogs):
    return {
        name: load(catalog, DEPARTMENTS / name, reference_date=eusilc.REFERENCE_DATE)
        for name, catalog in catalogs.items()
    }


@pytest.fixture(scope="module")
def tables():
    return eusilc.records()


@pytest.fixture(scope="module", params=eusilc.POLICIES)
def checked(request, catalogs):
    policy = load_policy(eusilc.EXAMPLE / "policies" / f"{request.param}.yaml")
    return check_policy(policy, catalogs)


def answers(department, expression, *, unknown=False):
    """Who fulfils an expression: a function of a normal form."""
    found = truth(
        department.connection,
        expression,
        people=department.people,
        reference_date=eusilc.REFERENCE_DATE,
        unknown=unknown,
    )
    by_form = dict(zip(department.identifiers.to_pylist(), found[:-1].tolist(), strict=True))
    return lambda form: by_form.get(form, bool(found[-1]))


def presented(checked, departments):
    """The recipient's people whom its `among` selects."""
    recipient = checked.policy.recipient
    among = answers(departments[recipient], checked.tasks[recipient].among)
    return [form for form in departments[recipient].identifiers.to_pylist() if among(form)]


def conditions(checked, departments):
    """Each condition's answer as a function of a normal form."""
    for name, task in checked.tasks.items():
        for condition, unknown in zip(task.conditions, task.unknowns, strict=True):
            yield condition.where, answers(departments[name], condition, unknown=unknown)


def test_the_oracle_knows_every_policy_of_the_example():
    assert {path.stem for path in (eusilc.EXAMPLE / "policies").iterdir()} == set(eusilc.POLICIES)


def test_equals_the_plain_computation(checked, departments, tables):
    eligible = among = presented(checked, departments)
    for _, fulfils in conditions(checked, departments):
        eligible = [form for form in eligible if fulfils(form)]
    assert sorted(eligible) == eusilc.eligible(checked.policy.name, tables)
    # Neither nobody nor everybody, or the comparison says little.
    assert 50 < len(eligible) < len(among) * 3 // 4
    assert len(among) <= checked.policy.among_at_most


def test_every_condition_is_true_of_some_and_false_of_others(checked, departments):
    assert len(checked.contributors) >= 2
    among = presented(checked, departments)
    for where, fulfils in conditions(checked, departments):
        assert {fulfils(form) for form in among} == {True, False}, where


def test_worked_examples(checked):
    assert {example.eligible for example in checked.policy.examples} == {True, False}
    assert run_examples(checked, eusilc.REFERENCE_DATE) >= 3


def test_every_row_is_read(departments, tables):
    for name, department in departments.items():
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
