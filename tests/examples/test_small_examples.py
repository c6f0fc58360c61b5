"""The small shipped examples: their files are read as they stand, and what plain Python finds in them."""

import csv
from contextlib import ExitStack
from decimal import Decimal

import pytest
from fakes.desk import on_one_desk
from oracles import (
    disability_or_hardship,
    pension_supplement,
    pensions_of_the_dead,
    public_housing,
    temporary_relief,
)
from oracles.example_tables import EXAMPLES, REFERENCE_DATE
from oracles.identity_numbers import rows_by_person

from veilmatch_node.source import load
from veilmatch_policy.catalog import load_catalog
from veilmatch_policy.check import check_policy
from veilmatch_policy.examples import run_examples
from veilmatch_policy.policy import load_policy

SHIPPED = {
    module.EXAMPLE.folder: module.EXAMPLE
    for module in (
        pension_supplement,
        temporary_relief,
        public_housing,
        disability_or_hardship,
        pensions_of_the_dead,
    )
}

# Policy: people eligible, households that they live in, people asked about.
EXPECTED = {
    "unclaimed-supplement": (45, 37, 142),
    "what-if-line": (29, 22, 142),
    "temporary-relief": (62, 18, 189),
    "public-housing": (44, 44, 82),
    "disability-or-hardship": (79, 79, 207),
    "pensions-of-the-dead": (53, 53, 301),
    "how-many": (53, 53, 301),
}
# Households entitled, by the line a head.
WHAT_IF = {7200: 14, 9600: 22, 10800: 34, 12000: 41}
# Rows whose identifier is none.
REFUSED = {("pension-supplement", "social_insurance"): 1, ("pension-supplement", "tax"): 1}

POLICIES = [(example, name) for example in SHIPPED.values() for name in example.policies]
DEPARTMENTS = [(example, name) for example in SHIPPED.values() for name in example.tables]


def named(argument):
    return argument if isinstance(argument, str) else argument.folder


@pytest.fixture(params=POLICIES, ids=lambda each: each[1])
def shipped(request):
    """An example, and one of its policies as it is read."""
    example, name = request.param
    return example, load_policy(EXAMPLES / example.folder / "policies" / f"{name}.yaml")


@pytest.fixture(scope="module")
def desks():
    """Every example's departments, each example on a desk of its own."""
    with ExitStack() as stack:
        yield {folder: stack.enter_context(_desk(example)) for folder, example in SHIPPED.items()}


def _desk(example):
    folders = {name: EXAMPLES / example.folder / "departments" / name for name in example.tables}
    catalogs = {name: load_catalog(folder / "catalog.yaml") for name, folder in folders.items()}
    return on_one_desk(catalogs, folders, REFERENCE_DATE, example.register and example.register[0])


def test_every_example_has_an_oracle():
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == {*SHIPPED, "eusilc"}
    for example in SHIPPED.values():
        folder = EXAMPLES / example.folder
        assert {path.stem for path in (folder / "policies").iterdir()} == set(example.policies)
        assert {path.name for path in (folder / "departments").iterdir()} == set(example.tables)


def test_what_plain_python_finds():
    found = {
        name: (*_counts(example.eligible(name)), len(example.presented(name))) for example, name in POLICIES
    }
    assert found == EXPECTED


def _counts(found):
    numbers, households = found
    return len(numbers), households


def test_what_plain_python_finds_under_other_lines():
    assert pension_supplement.households_entitled() == WHAT_IF


def test_the_nodes_code_finds_the_same(shipped, desks):
    example, policy = shipped
    desk = desks[example.folder]
    assert desk.eligible(policy) == example.eligible(policy.name)[0]
    about = desk.asked_about(policy)
    assert about == example.presented(policy.name)
    for name, found in desk.truths(policy).items():
        assert {found[person] for person in about} == {True, False}, name


def test_the_nodes_code_finds_the_same_under_other_lines(desks):
    policy = load_policy(EXAMPLES / "pension-supplement" / "policies" / "what-if-line.yaml")
    desk, example = desks["pension-supplement"], pension_supplement.EXAMPLE
    assert policy.vary.bounds == pension_supplement.LINES
    for line, households in WHAT_IF.items():
        found = set(desk.eligible(policy, varied=Decimal(line)))
        homes = example.households(example.people()).values()
        assert sum(not found.isdisjoint(members) for members in homes) == households


def test_worked_cases_pass(shipped):
    example, policy = shipped
    folder = EXAMPLES / example.folder / "departments"
    catalogs = {name: load_catalog(folder / name / "catalog.yaml") for name in example.tables}
    checked = check_policy(policy, catalogs, REFERENCE_DATE)
    assert run_examples(checked, REFERENCE_DATE) == len(policy.examples)


def test_policies_say_whom_they_are_for(shipped):
    example, policy = shipped
    assert policy.recipient == example.policies[policy.name].recipient
    assert policy.reference_date == REFERENCE_DATE
    assert policy.purpose.law
    assert policy.among_at_most >= EXPECTED[policy.name][2]


def test_worked_cases_are_those_of_plain_python(shipped):
    example, policy = shipped
    assert len(policy.examples) >= 3
    assert {case.eligible for case in policy.examples} == {True, False}
    for number, case in enumerate(policy.examples, start=1):
        assert example.worked_case(policy.name, case.given, case.others) == case.eligible, number


@pytest.mark.parametrize(("example", "name"), DEPARTMENTS, ids=named)
def test_every_row_is_read(example, name):
    folder = EXAMPLES / example.folder / "departments" / name
    catalog = load_catalog(folder / "catalog.yaml")
    table = example.tables[name]
    people = rows_by_person(folder / table.file, table.identifier, table.delimiter)
    with (folder / table.file).open(encoding="utf-8", newline="") as file:
        rows = sum(1 for _ in csv.reader(file)) - 1
    refused = REFUSED.get((example.folder, name), 0)
    assert sum(map(len, people.values())) == rows - refused
    with load(catalog, folder, reference_date=REFERENCE_DATE) as department:
        [report] = department.report.tables
        assert (report.rows, report.refused, report.people) == (rows, refused, len(people))
        assert department.identifiers.to_pylist() == sorted(people)
        _same_values(department.connection, catalog, sorted(people), table.people(folder))
    assert catalog.department == name
    assert catalog.title
    assert all(number[2:4] == "99" for number in people), "a number that could have been issued"


def _same_values(connection, catalog, numbers, people):
    """Every column of the catalog that the oracle reads, as the node and as the oracle read it."""
    [table] = catalog.tables.values()
    read = [name for name in table.columns if table.columns[name].release != "never"]
    assert {name for rows in people.values() for row in rows for name in row} == set(read)
    cells = ", ".join(f'"{name}"' for name in read)
    found = connection.execute(f'SELECT person, unreadable, {cells} FROM "t_{table.name}"').fetchall()
    assert not any(unreadable for _, unreadable, *_ in found)
    ours = sorted((numbers[person], *map(_comparable, values)) for person, _, *values in found)
    theirs = sorted(
        (number, *(_comparable(row[name]) for name in read))
        for number, rows in people.items()
        for row in rows
    )
    assert ours == theirs


def _comparable(value):
    """A value as text, so that empty ones can be sorted; numbers that are equal are written alike."""
    return f"{Decimal(value).normalize():f}" if isinstance(value, int | Decimal) else str(value)


def test_the_tables_are_worth_turning():
    """Spellings of numbers, separators of columns, thousands, and dates: the departments differ in all."""
    texts = [
        path.read_text(encoding="utf-8")
        for path in EXAMPLES.glob("*/departments/*/*.csv")
        if "eusilc" not in str(path)
    ]
    for spelling in ("１", "9901 1", "x,", "1.190,40", "28,100.10", "年", "元", "|", "\t", ";"):
        assert any(spelling in text for text in texts), spelling
