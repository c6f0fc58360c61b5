"""Shows that generated policies are accepted, say in SQL what they say in Python, and leave out no kind of question."""

import tempfile
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from fakes.desk import on_one_desk
from formula_departments import (
    AMOUNTS_OF_A_ROW,
    AMOUNTS_OF_ROWS,
    BOUNDS_OF_HOUSEHOLDS,
    CONDITIONS_OF_A_ROW,
    CONDITIONS_OF_ROWS,
    DEFAULTS,
    LINE,
    RATE,
    Department,
)
from formulas import COMPARISONS, worlds
from hypothesis import Phase, given, settings

from veilmatch_node.source import load
from veilmatch_policy.catalog import load_catalog, parse_catalog
from veilmatch_policy.check import check_policy
from veilmatch_policy.evaluate import amounts, truth
from veilmatch_policy.expression import bind
from veilmatch_policy.policy import parse_policy

DAY = date(2025, 12, 31)
PARAMETERS = {"rate": RATE, "line": LINE}
SETTINGS = settings(phases=[Phase.explicit, Phase.generate])  # rows come from a seed: nothing to shrink


def test_every_kind_of_question_occurs():
    seen, counted, of = Counter(), 0, 0

    @settings(SETTINGS, max_examples=80)
    @given(worlds())
    def run(world):
        nonlocal counted, of
        departments, _, asked = world
        for each in asked:
            found = each.found(departments)
            seen.update(kinds(each, departments, found))
            counted += len(found.people)
            of += len(departments[each.policy["recipient"]].rows)

    run()
    assert seen.keys() >= KINDS, KINDS - seen.keys()
    assert of / 10 < counted < of * 2 / 3  # neither nobody nor everybody: comparisons with it say something


@settings(SETTINGS, max_examples=6)
@given(worlds(policies=5))
def test_policies_are_accepted_and_the_nodes_code_finds_the_same(world):
    departments, files, asked = world
    catalogs = {name: parse_catalog(each.catalog().encode(), name) for name, each in departments.items()}
    register = next((name for name, each in departments.items() if each.at_most), None)
    with tempfile.TemporaryDirectory() as home:
        folders = {name: Path(home) / name for name in departments}
        for name, folder in folders.items():
            folder.mkdir()
            (folder / "people.csv").write_text(files[name], encoding="utf-8")
        with on_one_desk(catalogs, folders, DAY, register) as desk:
            for each in asked:
                policy = parse_policy(each.text.encode(), each.name)
                check_policy(policy, catalogs, DAY)
                assert desk.truths(policy) == each.truths(departments)
                assert desk.eligible(policy) == each.found(departments).people


KINDS = (
    {f"{each} {bound}" for each in COMPARISONS for bound in ("number", "expression", "a member")}
    | {"unit person", "unit household", "mixed grain", "members every", "members any", "register"}
    | {"members", "count", "vary", "not", "or", "at_least", "unknown pass", "own part", "own condition"}
    | {"nobody", "everybody", "negative bound", "nobody asked", "table without rows", "household of 12"}
    | {"many departments"}
)


def kinds(asked, departments, found):
    """What a policy and its world have."""
    policy = asked.policy
    conditions = policy["conditions"].values()
    recipient = policy["recipient"]
    yield from (f"unit {policy['unit']}", asked.reveal)
    yield from (word for word in ("not", "or", "at_least") if f"'{word}'" in str(policy["eligible"]))
    if asked.vary is not None:
        yield "vary"
    for each in conditions:
        yield from _kinds_of(each, recipient)
        if each["unknown"]:
            yield "unknown pass"
    if len({"household" if each.get("members") else each["of"] for each in conditions}) == 2:
        yield "mixed grain"
    own = departments[recipient].rows
    if own:
        yield "everybody" if len(found.people) == len(own) else "nobody" if not found.people else "some"
    else:
        yield "nobody asked"
    if any(not each.rows for each in departments.values()) and own:
        yield "table without rows"
    homes = Counter(
        rows[0].get("home") for each in departments.values() if each.at_most for rows in each.rows.values()
    )
    if 12 in homes.values():
        yield "household of 12"


def _kinds_of(condition, recipient):
    if "total" not in condition:
        if condition["members"]:
            yield f"members {condition['members']}"
        elif condition["of"] == "household":
            yield "register"
        elif condition["department"] == recipient:
            yield "own condition"
        return
    bound = condition["bound"]
    if isinstance(bound, tuple):
        yield f"{condition['is']} expression"
    else:
        yield f"{condition['is']} {'a member' if condition['per_member'] else 'number'}"
        if bound < 0:
            yield "negative bound"
    if recipient in condition["total"]:
        yield "own part"
    if len(condition["total"]) > 3:
        yield "many departments"


@pytest.fixture(params=[(many, seed) for many in (False, True) for seed in range(2)], ids=str)
def department(request, tmp_path):
    """A department with all kinds of rows, the same as the node reads it, and everybody's household."""
    many, seed = request.param
    random = Random(seed)
    missing = {
        name: (random.choice((None, default)), random.choice((None, default)))
        for name, default in DEFAULTS.items()
    }
    made = Department("d0", many, missing, random.random() < 0.5, None if many else 12)
    people = [f"p{number:02}" for number in range(40)]
    made.fill(people, {person: f"h{number // 3}" for number, person in enumerate(people)}, 1.0, random)
    (tmp_path / "catalog.yaml").write_text(made.catalog(), encoding="utf-8")
    (tmp_path / "people.csv").write_text(made.file(random), encoding="utf-8")
    catalog = load_catalog(tmp_path / "catalog.yaml")
    with load(catalog, tmp_path, reference_date=DAY) as data:
        yield made, catalog, data


def said(catalog, connection, expression, kind, people, scope="person"):
    """What the node says of each person or household, None for what is unknown."""
    bound = bind(expression.text, catalog, kind=kind, parameters=PARAMETERS, where="test", scope=scope)
    if kind == "amount":
        assert bound.type.scale == expression.scale
        found = amounts(connection, bound, people=people, reference_date=DAY)
        return [
            Decimal(int(value)).scaleb(-found.scale) if known else None
            for value, known in zip(found.values, found.known, strict=True)
        ]
    if_not, if_so = (
        truth(connection, bound, people=people, reference_date=DAY, unknown=unknown)
        for unknown in (False, True)
    )
    return [None if low != high else bool(low) for low, high in zip(if_not, if_so, strict=True)]


def test_a_function_says_what_its_sql_says(department):
    made, catalog, data = department
    people = [made.rows[person] for person in data.identifiers.to_pylist()]
    for kind, expressions in (
        ("amount", AMOUNTS_OF_ROWS if made.many else AMOUNTS_OF_A_ROW),
        ("condition", CONDITIONS_OF_ROWS if made.many else CONDITIONS_OF_A_ROW),
    ):
        for expression in expressions:
            means = made.means(expression)
            assert said(catalog, data.connection, expression, kind, len(people)) == [
                *map(means, people),
                means([]),
            ], expression.text


def test_a_function_says_of_a_household_what_its_sql_says(department):
    made, catalog, data = department
    if made.many:
        return  # no register
    people = [made.rows[person] for person in data.identifiers.to_pylist()]
    numbers = [int(rows[0]["home"][1:]) for rows in people]
    homes = [
        [row for rows, home in zip(people, numbers, strict=True) if home == each for row in rows]
        for each in range(14)
    ]
    data.connection.execute("CREATE OR REPLACE TABLE members (person INTEGER, household INTEGER)")
    data.connection.executemany("INSERT INTO members VALUES (?, ?)", list(enumerate(numbers)))
    for kind, expressions in (("amount", BOUNDS_OF_HOUSEHOLDS), ("condition", CONDITIONS_OF_ROWS)):
        for expression in expressions:
            means = made.means(expression)
            expected = [*map(means, homes), means([])]
            assert said(catalog, data.connection, expression, kind, len(homes), "household") == expected, (
                expression.text
            )
