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


def policy(name):
    return load_policy(eusilc.EXAMPLE / "policies" / f"{name}.yaml")


def answers(department, expression, policy, *, unknown):
    """Who fulfils an expression: a function of a normal form."""
    found = truth(
        department.connection,
        expression,
        people=department.people,
        reference_date=policy.reference_date,
        unknown=unknown,
    )
    by_form = dict(zip(department.identifiers.to_pylist(), found[:-1].tolist(), strict=True))
    return lambda form: by_form.get(form, bool(found[-1]))


def test_the_oracle_knows_every_policy_of_the_example():
    assert {path.stem for path in (eusilc.EXAMPLE / "policies").iterdir()} == set(eusilc.POLICIES)


@pytest.mark.parametrize("name", eusilc.POLICIES)
def test_equals_the_plain_computation(name, catalogs, departments, tables):
    asked = policy(name)
    checked = check_policy(asked, catalogs)
    assert len(checked.contributors) >= 2
    recipient = checked.tasks[asked.recipient]
    eligible = departments[asked.recipient].identifiers.to_pylist()
    eligible = list(
        filter(answers(departments[asked.recipient], recipient.among, asked, unknown=False), eligible)
    )
    presented = len(eligible)
    for department, task in checked.tasks.items():
        for condition, unknown in zip(task.conditions, task.unknowns, strict=True):
            eligible = list(
                filter(answers(departments[department], condition, asked, unknown=unknown), eligible)
            )
    assert sorted(eligible) == eusilc.eligible(name, tables)
    # Neither nobody nor everybody, or the comparison says little.
    assert 50 < len(eligible) < presented * 3 // 4 <= asked.among_at_most


@pytest.mark.parametrize("name", eusilc.POLICIES)
def test_every_condition_changes_the_outcome(name, catalogs, departments):
    asked = policy(name)
    for department, task in check_policy(asked, catalogs).tasks.items():
        for condition, unknown in zip(task.conditions, task.unknowns, strict=True):
            fulfils = answers(departments[department], condition, asked, unknown=unknown)
            among = answers(
                departments[asked.recipient],
                check_policy(asked, catalogs).tasks[asked.recipient].among,
                asked,
                unknown=False,
            )
            outcomes = {
                fulfils(form) for form in departments[asked.recipient].identifiers.to_pylist() if among(form)
            }
            assert outcomes == {True, False}, condition.where


@pytest.mark.parametrize("name", eusilc.POLICIES)
def test_worked_examples(name, catalogs):
    asked = policy(name)
    assert {example.eligible for example in asked.examples} == {True, False}
    run_examples(check_policy(asked, catalogs))


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
