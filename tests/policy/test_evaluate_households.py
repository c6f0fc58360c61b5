"""What expressions say of households: DuckDB agrees with plain Python, value by value."""

from __future__ import annotations

from datetime import date

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilmatch_policy.catalog import parse_catalog
from veilmatch_policy.evaluate import EvaluationError, amounts, truth
from veilmatch_policy.expression import bind

MOST = 5
CATALOG = parse_catalog(
    b"""
department: police
tables:
  residents:
    source: r.csv
    id: id
    identifier: opaque
    household: {column: household, at_most: 5}
    columns:
      age: {type: integer, range: [-1, 130]}
      household: {type: text}
      income: {type: integer, range: [-9, 9], missing: 2}
  permits:
    source: p.csv
    id: id
    identifier: opaque
    columns:
      fee: {type: decimal(1), range: [0, 90], missing: {no_row: 7.5, no_value: fail}}
  fines:
    source: f.csv
    id: id
    identifier: opaque
    rows: many
    columns:
      fine: {type: decimal(2), range: [0, 1000], missing: {no_row: fail, no_value: 0.25}}
""",
    "police/catalog.yaml",
)
REFERENCE = date(2025, 12, 31)
# Each with its value in units of the last digit, given the rows of all members, table by table.
EXPRESSIONS = {
    "sum(CASE WHEN age >= 14 THEN 5 ELSE 3 END)": lambda of: sum(
        5 if (age or 0) >= 14 else 3 for age in of.cells("residents", "age")
    ),
    "100 * (5 + sum(CASE WHEN age >= 14 THEN 5 ELSE 3 END))": lambda of: (
        100 * (5 + sum(5 if (age or 0) >= 14 else 3 for age in of.cells("residents", "age")))
    ),
    "max(age)": lambda of: max(of.known("residents", "age"), default=None),
    "min(age) + max(age)": lambda of: (
        min(known) + max(known) if (known := of.known("residents", "age")) else None
    ),
    "count(age)": lambda of: len(of.known("residents", "age")),
    "sum(income)": lambda of: sum(2 if cell is None else cell for cell in of.cells("residents", "income")),
    "min(income)": lambda of: min(
        (2 if cell is None else cell for cell in of.cells("residents", "income")), default=2
    ),
    "max(fee)": lambda of: (
        max(of.known("permits", "fee"), default=None) if of.cells("permits", "fee") else 75
    ),
    "sum(fee)": lambda of: (
        sum(known) if (known := of.known("permits", "fee")) or not of.cells("permits", "fee") else None
    ),
    "sum(fine) + count(fine)": lambda of: sum(
        (25 if cell is None else cell) + 100 for cell in of.cells("fines", "fine")
    ),
    "max(fine)": lambda of: max(
        (25 if cell is None else cell for cell in of.cells("fines", "fine")), default=None
    ),
    "sum(fine) + sum(age)": lambda of: fines_and_ages(
        of.cells("fines", "fine"), of.cells("residents", "age"), of.known("residents", "age")
    ),
}


def fines_and_ages(fines, ages, known):
    """Both tables are read, also where no age is known."""
    if ages and not known:
        return None
    return sum(25 if cell is None else cell for cell in fines) + 100 * sum(known)


class Rows:
    """The rows of some people; a row is (person, unreadable, units of each column)."""

    def __init__(self, rows):
        self.rows = rows
        self.read = set()

    def cells(self, table, name):
        self.read.add(table)
        return [row["cells"].get(name) for row in self.rows[table]]

    def known(self, table, name):
        return [cell for cell in self.cells(table, name) if cell is not None]

    def readable(self):
        return not any(row["unreadable"] for table in self.read for row in self.rows[table])


def bound(text, kind="amount"):
    return bind(text, CATALOG, kind=kind, parameters={}, where="p.yaml: bound", scope="household")


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as opened:
        yield opened


def load(connection, rows, households):
    """``households``: by person, None for somebody whose household the register does not know."""
    for name, table in CATALOG.tables.items():
        kinds = {"integer": "BIGINT", "text": "VARCHAR"}
        columns = "".join(
            f', "{column.name}" {kinds.get(column.type.kind, f"DECIMAL(18, {column.type.scale})")}'
            for column in table.columns.values()
        )
        connection.execute(f"CREATE OR REPLACE TABLE t_{name} (person INTEGER, unreadable BOOLEAN{columns})")
        for row in rows[name]:
            values = [
                f"{cell}e-{table.columns[column].type.scale}" if cell is not None else None
                for column in table.columns
                for cell in [row["cells"].get(column)]
            ]
            marks = ", ".join("?" * len(values))
            connection.execute(
                f"INSERT INTO t_{name} VALUES (?, ?, {marks})", [row["person"], row["unreadable"], *values]
            )
    connection.execute("CREATE OR REPLACE TABLE members (person INTEGER, household INTEGER)")
    for person, household in enumerate(households):
        if household is not None:
            connection.execute("INSERT INTO members VALUES (?, ?)", [person, household])


def rows_of(table, people):
    columns = {
        "age": st.integers(-1, 130),
        "income": st.integers(-9, 9),
        "fee": st.integers(0, 900),
        "fine": st.integers(0, 100000),
    }
    cells = {name: st.none() | columns[name] for name in table.columns if name in columns}
    row = st.fixed_dictionaries(
        {
            "person": st.integers(0, people - 1),
            "unreadable": st.sampled_from([False] * 9 + [True]),
            "cells": st.fixed_dictionaries(cells),
        }
    )
    unique = (lambda row: row["person"]) if table.rows == "one" else None
    return st.lists(row, max_size=3 * people, unique_by=unique)


@st.composite
def worlds(draw):
    """People with their rows, and who lives with whom: at most MOST together, the numbers without gaps."""
    people = draw(st.integers(1, 8))
    drawn = draw(st.lists(st.none() | st.integers(0, 3), min_size=people, max_size=people))
    living = [number if drawn[:place].count(number) < MOST else None for place, number in enumerate(drawn)]
    numbers = {number: place for place, number in enumerate(dict.fromkeys(living)) if number is not None}
    order = {number: place for place, number in enumerate(numbers)}
    rows = {name: draw(rows_of(table, people)) for name, table in CATALOG.tables.items()}
    return rows, [None if number is None else order[number] for number in living]


@settings(max_examples=40, deadline=None)
@given(world=worlds(), text=st.sampled_from([*EXPRESSIONS]))
def test_amounts_of_households(connection, world, text):
    rows, households = world
    load(connection, rows, households)
    count = max((number for number in households if number is not None), default=-1) + 1
    expression = bound(text)
    found = amounts(connection, expression, people=count, reference_date=REFERENCE)
    opinions = [
        Rows(
            {
                name: [row for row in table if households[row["person"]] == number]
                for name, table in rows.items()
            }
        )
        for number in range(count)
    ]
    opinions.append(Rows({name: [] for name in rows}))  # a household of whom nobody is known
    values = [EXPRESSIONS[text](of) for of in opinions]
    assert found.values.tolist() == [value or 0 for value in values]
    assert found.known.tolist() == [value is not None for value in values]
    assert found.readable.tolist() == [of.readable() for of in opinions]
    assert expression.optional or None not in values
    assert expression.largest is None or max(map(abs, found.values.tolist())) <= expression.largest
    held = bound(f"{text} >= 3", "condition")
    for unknown in (False, True):
        answers = truth(connection, held, people=count, reference_date=REFERENCE, unknown=unknown)
        assert answers.tolist() == [
            readable and (value >= 3 * 10**found.scale if known else unknown)
            for value, known, readable in zip(
                found.values.tolist(), found.known.tolist(), found.readable.tolist(), strict=True
            )
        ]


def row(person, *, unreadable=False, **cells):
    return {"person": person, "unreadable": unreadable, "cells": cells}


def test_a_household_case_by_case(connection):
    rows = {
        "residents": [row(0, age=40), row(1, age=3), row(2, age=70, unreadable=True), row(3, age=20)],
        "permits": [row(0, fee=100)],
        "fines": [row(1, fine=50), row(1, fine=150)],
    }
    load(connection, rows, [0, 0, 1, None])  # person 3 is in no household that the register knows

    def held(text):
        return truth(
            connection, bound(text, "condition"), people=3, reference_date=REFERENCE, unknown=False
        ).tolist()

    # Household 2 has no member at all, and so has the last.
    assert held("min(age) < 14") == [True, False, False, False]
    assert held("count(age) = 0") == [False, False, True, True]
    assert held("max(age) IS NULL") == [False, False, True, True]
    assert held("sum(age) = 43 OR sum(age) = 0") == [True, False, True, True]
    # Two members, and only one of them has a permit: the other adds nothing to it.
    assert held("sum(fee) = 10 AND count(fee) = 1") == [True, False, False, False]
    assert held("max(fee) = 7.5") == [False, True, True, True]
    assert held("sum(fine) = 2 AND count(age) = 2") == [True, False, False, False]
    assert held("1 = 1") == [True] * 4


def test_the_table_of_members_is_needed(connection):
    load(connection, {"residents": [row(0, age=1)], "permits": [], "fines": []}, [0])
    connection.execute("DROP TABLE members")
    with pytest.raises(EvaluationError, match=r"^p\.yaml: bound: CatalogException$"):
        amounts(connection, bound("sum(age)"), people=1, reference_date=REFERENCE)
