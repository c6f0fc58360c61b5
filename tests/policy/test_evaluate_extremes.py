"""Whatever binds can be computed, also where every cell is as large as its column allows.

A failure would tell whoever wrote the expression that somebody has such a cell.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import cycle, product

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from veilmatch_policy.catalog import parse_catalog
from veilmatch_policy.errors import PolicyRefusedError
from veilmatch_policy.evaluate import person_values, truth
from veilmatch_policy.expression import bind
from veilmatch_policy.sql_types import sql_type

CATALOG = parse_catalog(
    b"""
department: extremes
tables:
  single:
    source: single.csv
    id: id
    identifier: opaque
    columns:
      whole: {type: integer}
      coarse: {type: decimal(0)}
      fine: {type: decimal(12)}
      declared: {type: decimal(2), range: [-7, 12.50], missing: {no_row: -99999999999999999.99, no_value: 100}}
      born: {type: date}
  several:
    source: several.csv
    id: id
    identifier: opaque
    rows: many
    columns:
      amount: {type: integer, missing: {no_row: 5, no_value: fail}}
      share: {type: decimal(6)}
      ranged: {type: integer, range: [0, 40], missing: {no_row: fail, no_value: -41}}
      bought: {type: date}
""",
    "extremes/catalog.yaml",
)
WHERE = "p.yaml: conditions.c.where"
REFERENCES = st.sampled_from([date.min, date(2025, 12, 31), date.max])
NINES = "9" * 19


def extremes(column):
    if column.type.kind == "date":
        return [date.min, date.max, None]
    if column.range:
        return [*column.range, None]
    if column.type.kind == "integer":
        return [-(2**63), 2**63 - 1, None]
    largest = Decimal("9" * 18 + "." + "9" * column.type.scale)
    return [largest.copy_negate(), largest, None]  # minus would round to 28 digits


@pytest.fixture(scope="module")
def loaded():
    """A person for every combination of extremes, with none or several rows in the other table."""
    single, several = CATALOG.tables.values()
    people = [*product(*(extremes(column) for column in single.columns.values()))]
    rows = [*product(*(extremes(column) for column in several.columns.values()))]
    combinations = cycle(rows)
    owned = [
        (person, row)
        for person in range(len(people))
        # Rows that are alike, so that a sum reaches furthest.
        for row in [next(combinations)] * (person % 4)
    ]
    # Somebody of whom no table has a row comes last.
    with duckdb.connect() as connection:
        for table, cells in ((single, [*enumerate(people)]), (several, owned)):
            columns = "".join(f', "{name}" {stored(column)}' for name, column in table.columns.items())
            connection.execute(f"CREATE TABLE t_{table.name} (person INTEGER, unreadable BOOLEAN{columns})")
            for person, row in cells:
                marks = ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO t_{table.name} VALUES ({person}, false, {marks})", row)
        yield connection, len(people)


def stored(column):
    return "BIGINT" if column.type.kind == "integer" else sql_type(column.type).sql(dialect="duckdb")


CONSTANTS = st.one_of(
    st.sampled_from(["0", "1", "0.5", "10000000000", NINES, f"0.{NINES}", f"{NINES}.{NINES}"]),
    # Enough to come close to 38 digits, from whatever it is multiplied with.
    st.integers(0, 18).map(lambda zeros: "1" + "0" * zeros),
    st.integers(1, 19).map(lambda nines: "9" * nines),
)


def numbers(columns):
    def larger(parts):
        return st.one_of(
            st.tuples(parts, st.sampled_from("+-*"), parts).map("({0[0]} {0[1]} {0[2]})".format),
            st.tuples(parts, CONSTANTS).map("({0[0]} * {0[1]})".format),
            parts.map("(- {})".format),
            st.tuples(parts, st.integers(0, 12)).map("round({0[0]}, {0[1]})".format),
            st.tuples(parts, parts).map("coalesce({0[0]}, {0[1]})".format),
            st.tuples(parts, parts, parts).map(
                "CASE WHEN {0[0]} < {0[1]} THEN {0[2]} ELSE {0[1]} END".format
            ),
        )

    return st.recursive(columns, larger, max_leaves=4)


ROWS = numbers(st.sampled_from(["amount", "share", "ranged", "years(bought)", "days(bought)"]))
AGGREGATES = st.tuples(st.sampled_from(["sum", "min", "max", "count"]), ROWS).map("{0[0]}({0[1]})".format)
SINGLE = st.sampled_from(["whole", "coarse", "fine", "declared", "years(born)", "days(born)", "count(*)"])
NUMBERS = numbers(SINGLE | AGGREGATES | CONSTANTS)


def bound_or_refused(text, kind):
    """The bound expression; None for one that is refused before anybody's data is seen."""
    try:
        return bind(text, CATALOG, kind=kind, parameters={}, where=WHERE)
    except PolicyRefusedError:
        return None


@settings(max_examples=50, deadline=None)
@given(text=NUMBERS, reference=REFERENCES)
@example("whole * whole + whole * 1000000000000000000", date.max)
@example(f"whole * {NINES}", date.max)
@example(f"declared * {NINES}", date.max)
@example("fine * 100000000", date.max)
@example("round(fine * 0.9999999, 0) * 9999999999999999999", date.max)
@example("round(fine * 99999999, 11) * 5", date.max)
@example("sum(share) * 1000", date.max)
@example("declared * 9999999999999999999 * 50", date.max)
@example("CASE WHEN whole < 0 THEN 1 ELSE whole END * 9999999999999999999 * 9", date.max)
@example("days(born) * 9999999999999999999 * 9999999999999", date.max)
@example("days(born) * days(born) * days(born) * days(born) * days(born)", date.max)
@example("years(born) * years(born) * 9999999999999999999 * 99999999999", date.min)
def test_an_amount_that_binds_is_computed(loaded, text, reference):
    connection, people = loaded
    if expression := bound_or_refused(text, "amount"):
        query = person_values(expression, people=people, reference_date=reference).sql(dialect="duckdb")
        assert len(connection.execute(query).fetchall()) == people + 1, text


@settings(max_examples=50, deadline=None)
@given(
    left=NUMBERS,
    right=NUMBERS,
    form=st.sampled_from(["{} < {}", "{} BETWEEN 0 AND {}", "{} = 0 OR {} IN (1, 0.001)"]),
    reference=REFERENCES,
)
@example("whole", f"0.{NINES}", "{} < {}", date.max)
@example("whole * whole", "declared * 0.1", "{} < {}", date.max)
def test_a_condition_that_binds_is_computed(loaded, left, right, form, reference):
    connection, people = loaded
    if expression := bound_or_refused(form.format(left, right), "condition"):
        found = truth(connection, expression, people=people, reference_date=reference, unknown=False)
        assert found.shape == (people + 1,)
