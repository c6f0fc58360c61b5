"""Random expressions over random tables: DuckDB must agree with plain Python, value by value."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from fractions import Fraction

import duckdb
import numpy as np
import pytest
from housing_tables import CATALOG, load
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from second_opinion import PARAMETERS, columns_of, second_opinion, write

from veilmatch_policy.errors import PolicyRefusedError
from veilmatch_policy.evaluate import amounts, person_values, truth
from veilmatch_policy.expression import bind

WHERE = "p.yaml: conditions.c.where"
DEPTH = 4

COLUMNS = {
    ("number", "outer"): ["age", "rent", "rate", "car_value"],
    ("number", "homes"): ["area", "floor"],
    ("text", "outer"): ["sex", "车"],
    ("text", "homes"): ["kind"],
    ("truth", "outer"): ["alive", "disabled"],
    ("truth", "homes"): ["let"],
    ("date", "outer"): ["born"],
    ("date", "homes"): ["bought"],
}
TEXTS = ["", "f", "fa", "m", "it's", "é", "none", "%", "f_"]
DATES = [date(2000, 2, 29), date(1999, 2, 28), date(1960, 12, 31), date(2024, 2, 28), date(2026, 3, 1)]
CONSTANTS = {
    "number": ["0", "1", "2", "3", "7", "0.5", "2.50", "10.125"],
    "text": TEXTS,
    "date": DATES,
    "truth": [True, False],
}
PATTERNS = ["f%", "f_", "f", "it's%", "é%", "", "n%e", "f\\_%"]
COMPARED = ["=", "<>", "<", "<=", ">", ">="]

OPERATORS = {
    "number": ["+", "-", "*", "negative", "round", "years", "days", "sum", "min", "max", "count", "count(*)"],
    "text": ["min", "max"],
    "date": ["min", "max"],
    "truth": [
        "and",
        "and",
        "or",
        "or",
        "not",
        "compare",
        "compare",
        "compare",
        "in",
        "between",
        "is null",
        "like",
    ],
}
AGGREGATES = {"sum", "min", "max", "count", "count(*)"}


class Author:
    """Writes a random expression of a kind, at most so deep, over the rows in scope."""

    def __init__(self, draw):
        self.draw = draw

    def one_of(self, choices):
        return self.draw(st.sampled_from(choices))

    def expression(self, kind, depth=DEPTH, scope="outer"):
        operators = ["leaf", "coalesce", "case", *OPERATORS[kind]]
        if scope == "homes":
            operators = [operator for operator in operators if operator not in AGGREGATES]
        operator = self.one_of(operators) if depth else "leaf"

        def part(kind, scope=scope):
            return self.expression(kind, depth - 1, scope)

        match operator:
            case "leaf":
                return self.leaf(kind, scope)
            case "coalesce":
                return (operator, part(kind), part(kind))
            case "case":
                whens = [(part("truth"), part(kind)) for _ in range(self.one_of([1, 2]))]
                return (operator, whens, part(kind) if self.draw(st.booleans()) else None)
            case "+" | "-" | "*" | "and" | "or":
                return (operator, part(kind), part(kind))
            case "negative" | "not":
                return (operator, part(kind))
            case "round":
                return (operator, part(kind), self.one_of([0, 1, 2, 3]))
            case "years" | "days":
                return (operator, part("date"))
            case "sum" | "min" | "max":
                return (operator, self.of_the_rows(kind, depth - 1))
            case "count":
                return (operator, self.of_the_rows(self.one_of(list(OPERATORS)), depth - 1))
            case "count(*)":
                return (operator,)
            case "compare":
                compared = self.one_of(["number", "number", "text", "date", "truth"])
                return (
                    self.one_of(COMPARED[:2] if compared == "truth" else COMPARED),
                    part(compared),
                    part(compared),
                )
            case "in":
                listed = self.one_of(list(CONSTANTS))
                items = [(listed, self.one_of(CONSTANTS[listed])) for _ in range(self.one_of([1, 3]))]
                signed = [
                    ("negative", item) if listed == "number" and self.draw(st.booleans()) else item
                    for item in items
                ]
                return (operator, part(listed), signed)
            case "between":
                ordered = self.one_of(["number", "text", "date"])
                return (operator, part(ordered), part(ordered), part(ordered))
            case "is null":
                return (operator, part(self.one_of(list(OPERATORS))))
            case "like":
                return (operator, part("text"), self.one_of(PATTERNS))

    def of_the_rows(self, kind, depth):
        """An aggregate's argument: some column says whose rows."""
        argument = self.expression(kind, depth, "homes")
        return argument if columns_of(argument) else ("column", self.one_of(COLUMNS[kind, "homes"]))

    def leaf(self, kind, scope):
        columns = [("column", name) for name in COLUMNS[kind, scope]]
        leaves = columns * 2 + [(kind, constant) for constant in CONSTANTS[kind]]
        if kind == "number":
            leaves += [("parameter", name) for name in PARAMETERS]
        return self.one_of(leaves)


@st.composite
def expressions(draw, kind):
    return Author(draw).expression(kind)


def scaled(scale):
    return st.integers(-500, 500).map(lambda number: Decimal(number).scaleb(-scale))


def cells(column):
    kinds = {
        "integer": st.integers(-20, 20),
        "decimal": scaled(column.type.scale),
        "text": st.sampled_from(TEXTS),
        "boolean": st.booleans(),
        "date": st.sampled_from(DATES),
    }
    return st.none() | kinds[column.type.kind]


def rows_of(table):
    row = {"unreadable": st.sampled_from([False] * 9 + [True])}
    row |= {name: cells(column) for name, column in table.columns.items()}
    return st.lists(st.fixed_dictionaries(row), max_size=3 if table.rows == "many" else 1)


PERSON = st.fixed_dictionaries({name: rows_of(table) for name, table in CATALOG.tables.items()})
PEOPLE = st.lists(PERSON, min_size=1, max_size=5)
NOBODY = {table: [] for table in CATALOG.tables}
REFERENCES = st.sampled_from([date(2025, 12, 31), date(2025, 2, 28), date(2024, 2, 29)])


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as opened:
        yield opened


def load_people(connection, people):
    rows = {
        table: [{"person": number, **row} for number, person in enumerate(people) for row in person[table]]
        for table in CATALOG.tables
    }
    load(connection, rows)


def bound_or_rejected(node, kind):
    try:
        return bind(write(node), CATALOG, kind=kind, parameters=PARAMETERS, where=WHERE)
    except PolicyRefusedError as refused:
        # Nothing else may be wrong.
        assert re.search("digits behind the point|digits that are exact", str(refused)), refused  # noqa: PT017
        reject()


@settings(max_examples=75, deadline=None)
@given(node=expressions("truth"), people=PEOPLE, reference=REFERENCES, unknown=st.booleans())
def test_conditions_agree(connection, node, people, reference, unknown):
    expression = bound_or_rejected(node, "condition")
    load_people(connection, people)
    found = truth(connection, expression, people=len(people), reference_date=reference, unknown=unknown)
    opinions = [second_opinion(node, person, reference) for person in [*people, NOBODY]]
    assert found.tolist() == [
        readable and (unknown if answer is None else answer) for answer, readable in opinions
    ], expression.text
    assert expression.optional or None not in [answer for answer, _ in opinions], expression.text


@settings(max_examples=40, deadline=None)
@given(node=expressions("number"), people=PEOPLE, reference=REFERENCES)
def test_amounts_agree(connection, node, people, reference):
    expression = bound_or_rejected(node, "amount")
    load_people(connection, people)
    query = person_values(expression, people=len(people), reference_date=reference).sql(dialect="duckdb")
    found = connection.execute(
        f"SELECT value, readable, typeof(value) FROM ({query}) ORDER BY person"
    ).fetchall()
    assert {kind for _, _, kind in found} == {f"DECIMAL(38,{expression.type.scale})"}, expression.text
    opinions = [second_opinion(node, person, reference) for person in [*people, NOBODY]]
    assert [(number, readable) for number, readable, _ in found] == opinions, expression.text
    check_units(connection, expression, opinions, reference)


def check_units(connection, expression, opinions, reference):
    """The same in whole numbers of the last digit, and as far from 0 as was said without looking."""
    units = [
        None if value is None else int(Fraction(value) * 10**expression.type.scale) for value, _ in opinions
    ]
    reach = max((abs(unit) for unit in units if unit is not None), default=0)
    # What does not fit into 64 bits is unknown.
    units = [unit if unit is not None and -(2**63) <= unit < 2**63 else None for unit in units]
    found = amounts(connection, expression, people=len(opinions) - 1, reference_date=reference)
    assert (found.values.dtype, found.scale) == (np.int64, expression.type.scale)
    assert found.values.tolist() == [unit or 0 for unit in units], expression.text
    assert found.known.tolist() == [unit is not None for unit in units], expression.text
    assert found.readable.tolist() == [readable for _, readable in opinions], expression.text
    assert expression.largest is None or reach <= expression.largest, expression.text
    assert expression.optional or found.known.all() or reach >= 2**63, expression.text
