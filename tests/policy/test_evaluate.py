"""What expressions say of people, case by case (test_evaluate_random.py: at random)."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

import duckdb
import numpy as np
import pytest
from housing_tables import CATALOG, load
from second_opinion import completed_years

from veilmatch_policy.errors import PolicyError
from veilmatch_policy.evaluate import Amounts, EvaluationError, amounts, person_values, truth
from veilmatch_policy.expression import bind
from veilmatch_policy.sql_types import sql_type

WHERE = "p.yaml: conditions.c.where"
REFERENCE = date(2025, 12, 31)
PARAMETERS = {"line": Decimal("2.50"), "limit": 3, "big": 2**53 + 1}


def bound(text, kind="condition"):
    return bind(text, CATALOG, kind=kind, parameters=PARAMETERS, where=WHERE)


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as opened:
        yield opened


def answers(connection, text, *, people, unknown=False, reference_date=REFERENCE):
    found = truth(connection, bound(text), people=people, reference_date=reference_date, unknown=unknown)
    assert found.dtype == np.bool_
    assert found.shape == (people + 1,)
    return found.tolist()


def value(connection, text, reference_date=REFERENCE):
    """Person 0's value, with its DuckDB type."""
    query = person_values(bound(text, "amount"), people=1, reference_date=reference_date).sql(
        dialect="duckdb"
    )
    return connection.execute(f"SELECT value, typeof(value) FROM ({query}) WHERE person = 0").fetchone()


# Exact cases


def test_missing_values_and_rows(connection):
    rows = {"people": [{"person": 0, "age": 70, "rent": Decimal("1.50"), "sex": "f"}, {"person": 1}]}
    load(connection, rows)
    # person 0 has values, person 1 a row of empty cells, person 2 and the last have no row
    assert answers(connection, "age >= 65", people=3) == [True, False, False, False]
    assert answers(connection, "age >= 65", people=3, unknown=True) == [True, True, True, True]
    assert answers(connection, "NOT age >= 65", people=3) == [False, False, False, False]
    assert answers(connection, "age IS NULL", people=3) == [False, True, True, True]
    assert answers(connection, "rent = 0", people=3) == [False, True, True, True]
    assert answers(connection, "rate = 1.5", people=3) == [False, False, True, True]
    assert answers(connection, "sex = 'it''s'", people=3) == [False, True, False, False]
    assert answers(connection, "age >= 65 OR rent = 0", people=3) == [True, True, True, True]
    assert answers(connection, "age >= 65 AND rent = 0", people=3, unknown=True) == [False, True, True, True]
    assert answers(connection, "age IN (70, 71)", people=3, unknown=True) == [True, True, True, True]
    assert answers(connection, "age NOT IN (70, 71)", people=3) == [False, False, False, False]


def test_many_rows(connection):
    rows = {
        "homes": [
            {"person": 0, "area": Decimal("50.5"), "floor": 1, "kind": "flat", "bought": date(2001, 5, 1)},
            {"person": 0, "area": None, "floor": None, "kind": None},
            {"person": 1, "area": None},
        ]
    }
    load(connection, rows)
    assert answers(connection, "count(*) = 2", people=3) == [True, False, False, False]
    assert answers(connection, "count(*) = 0", people=3) == [False, False, True, True]
    assert answers(connection, "count(area) = 1", people=3) == [True, False, False, False]
    assert answers(connection, "count(kind) = 2", people=3) == [
        True,
        False,
        False,
        False,
    ]  # its default counts
    assert answers(connection, "sum(area) = 50.5", people=3) == [True, False, False, False]
    assert answers(connection, "sum(area) = 0", people=3) == [False, False, True, True]
    assert answers(connection, "sum(area) IS NULL", people=3) == [False, True, False, False]
    assert answers(connection, "sum(floor) = 4", people=3) == [True, False, False, False]
    assert answers(connection, "max(floor) = 3", people=3) == [True, True, False, False]
    assert answers(connection, "min(floor) = 7", people=3) == [False, False, True, True]  # no_row
    assert answers(connection, "max(area * floor) IS NULL", people=3) == [False, True, True, True]
    assert answers(connection, "max(area) IS NULL", people=3) == [False, True, True, True]
    assert answers(connection, "max(kind) = 'none'", people=3) == [True, True, True, True]
    assert answers(connection, "years(min(bought)) = 24", people=3) == [True, False, False, False]
    assert answers(connection, "sum(CASE WHEN floor > 2 THEN 5 ELSE 3 END) = 8", people=3) == [
        True,
        False,
        False,
        False,
    ]


def test_tables_meet(connection):
    rows = {
        "people": [{"person": 0, "age": 3}, {"person": 1, "age": 4}],
        "cars": [{"person": 1, "car_value": 4}, {"person": 2, "车": "red"}],
        "homes": [{"person": 2, "floor": 2}, {"person": 2, "floor": 1}],
    }
    load(connection, rows)
    assert answers(connection, "age = car_value", people=3) == [False, True, False, False]
    assert answers(connection, "sum(floor) > car_value OR age = 3", people=3) == [True, False, False, False]
    assert answers(connection, "sum(floor) = 3 AND 车 LIKE 'r%'", people=3) == [False, False, True, False]


@pytest.mark.parametrize("unknown", [True, False])
def test_an_unreadable_row_fails_what_reads_its_table(connection, unknown):
    rows = {
        "people": [{"person": 0, "age": 70, "unreadable": True}, {"person": 1, "age": 70}],
        "homes": [{"person": 1, "floor": 1}, {"person": 1, "floor": 2, "unreadable": True}],
        "cars": [{"person": 0, "car_value": 1}],
    }
    load(connection, rows)
    assert answers(connection, "age = 70 OR 1 = 1", people=2, unknown=unknown) == [False, True, True]
    assert answers(connection, "age IS NULL OR age > 0", people=2, unknown=unknown) == [False, True, True]
    assert answers(connection, "count(*) >= 0", people=2, unknown=unknown) == [True, False, True]
    assert answers(connection, "car_value >= 0", people=2, unknown=unknown) == [True, True, True]
    assert answers(connection, "1 = 1", people=2, unknown=unknown) == [True, True, True]


def test_nobody_at_all(connection):
    load(connection, {})
    assert answers(connection, "rent = 0 AND count(*) = 0", people=0) == [True]
    assert answers(connection, "age = 0", people=0, unknown=True) == [True]


@pytest.mark.parametrize(
    ("text", "expected", "column_type"),
    [
        ("rent * 12", "1.20", "DECIMAL(38,2)"),
        ("rent * 0.1", "0.010", "DECIMAL(38,3)"),
        ("rent + 0.2", "0.30", "DECIMAL(38,2)"),
        ("rent + age", "70.10", "DECIMAL(38,2)"),
        ("-rent - 0.005", "-0.105", "DECIMAL(38,3)"),
        ("age * age", "4900", "DECIMAL(38,0)"),
        ("round(2.345, 2)", "2.35", "DECIMAL(38,2)"),
        ("round(-2.345, 2)", "-2.35", "DECIMAL(38,2)"),
        ("round(2.5, 0)", "3", "DECIMAL(38,0)"),
        ("round(-2.5, 0)", "-3", "DECIMAL(38,0)"),
        ("round(2.4999999999999999999, 0)", "2", "DECIMAL(38,0)"),
        ("round(age, 2)", "70", "DECIMAL(38,0)"),
        ("round(rent * 0.45, 2)", "0.05", "DECIMAL(38,2)"),
        ("coalesce(age, 0.25)", "70.00", "DECIMAL(38,2)"),
        ("case when age > 1 then 1 else 0.125 end", "1.000", "DECIMAL(38,3)"),
        ("count(*)", "0", "DECIMAL(38,0)"),
        ("sum(area * 0.5)", "0.00", "DECIMAL(38,2)"),
        ("max(floor)", "7", "DECIMAL(38,0)"),
        ("years(born)", "25", "DECIMAL(38,0)"),
        ("days(born)", "9437", "DECIMAL(38,0)"),
        ("9007199254740993 + 0", "9007199254740993", "DECIMAL(38,0)"),  # not a double
        (
            "1234567890123456789.1234567890123456789 + 0",
            "1234567890123456789.1234567890123456789",
            "DECIMAL(38,19)",
        ),
        (":big", "9007199254740993", "DECIMAL(38,0)"),
        (":line * :limit", "7.50", "DECIMAL(38,2)"),
    ],
)
def test_numbers_are_exact(connection, text, expected, column_type):
    load(
        connection, {"people": [{"person": 0, "age": 70, "rent": Decimal("0.10"), "born": date(2000, 2, 29)}]}
    )
    assert value(connection, text) == (Decimal(expected), column_type)
    assert sql_type(bound(text, "amount").type).sql(dialect="duckdb").replace(" ", "") == column_type


@pytest.mark.parametrize(
    ("born", "reference", "years"),
    [
        (date(2000, 6, 15), date(2025, 6, 14), 24),
        (date(2000, 6, 15), date(2025, 6, 15), 25),
        (date(2000, 2, 29), date(2025, 2, 27), 24),
        (date(2000, 2, 29), date(2025, 2, 28), 25),  # completed on the last day of February
        (date(2000, 2, 29), date(2024, 2, 28), 23),
        (date(2000, 2, 29), date(2024, 2, 29), 24),
        (date(2000, 6, 15), date(2000, 6, 15), 0),
        (date(2001, 6, 15), date(2000, 6, 16), 0),
        (date(2001, 6, 15), date(2000, 6, 15), -1),
        (date(1900, 1, 1), date(2025, 12, 31), 125),
    ],
)
def test_completed_years(connection, born, reference, years):
    load(connection, {"people": [{"person": 0, "born": born}]})
    assert value(connection, "years(born)", reference)[0] == years == completed_years(born, reference)


def test_amounts_are_whole_numbers_of_the_last_digit(connection):
    rows = {
        "people": [
            {"person": 0, "rent": Decimal("-0.10"), "age": 3},
            {"person": 1, "unreadable": True},
            {"person": 2, "rent": Decimal("999.99"), "age": -1},
        ]
    }
    load(connection, rows)
    found = amounts(connection, bound("rent + age", "amount"), people=4, reference_date=REFERENCE)
    assert found.values.tolist() == [290, 0, 99899, 0, 0]  # 0 where it is unknown
    assert found.known.tolist() == [True, False, True, False, False]
    assert found.readable.tolist() == [True, False, True, True, True]
    assert found.scale == 2
    some = found.at(np.array([2, 0, 0, -1]))
    assert (some.values.tolist(), some.known.tolist()) == (
        [99899, 290, 290, 0],
        [True, True, True, False],
    )
    assert repr(found) == "Amounts(scale=2)"
    assert isinstance(some, Amounts)


@pytest.mark.parametrize("units", [2**63 - 1, -(2**63)])
def test_amounts_fit_into_64_bits_or_are_unknown(connection, units):
    load(connection, {"cars": [{"person": 0, "car_value": units}]})
    found = amounts(connection, bound("car_value", "amount"), people=1, reference_date=REFERENCE)
    assert (found.values.tolist(), found.known.tolist()) == ([units, 0], [True, True])
    further = bound(f"car_value {'+' if units > 0 else '-'} 1", "amount")
    found = amounts(connection, further, people=1, reference_date=REFERENCE)
    assert found.values[0] == 0
    assert found.known.tolist() == [False, True]  # and nobody is told: a refusal would tell how large it is


def test_rows_in_another_order_than_people(connection):
    load(connection, {"people": [{"person": person, "age": person} for person in reversed(range(50))]})
    found = amounts(connection, bound("age", "amount"), people=50, reference_date=REFERENCE)
    assert found.values.tolist() == [*range(50), 0]
    assert answers(connection, "age >= 7", people=50) == [False] * 7 + [True] * 43 + [False]


def test_a_defect_says_nothing_of_the_data(connection):
    load(connection, {"people": [{"person": 0, "age": 1}, {"person": 0, "age": 2}]})
    with pytest.raises(EvaluationError, match=f"^{re.escape(WHERE)}: the tables are not one row a person$"):
        answers(connection, "age = 1", people=1)
    # Cells that no reader lets pass.
    connection.execute("ALTER TABLE t_people ALTER age TYPE HUGEINT")
    connection.execute(f"UPDATE t_people SET age = {10**38}")
    with pytest.raises(EvaluationError, match=f"^{re.escape(WHERE)}: ConversionException$") as failed:
        answers(connection, "age = 1", people=1)
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__
    assert not isinstance(failed.value, PolicyError)  # so a node tells nobody more than "internal error"


def test_integers_of_64_bits_do_not_overflow(connection):
    least, most = -(2**63), 2**63 - 1
    rows = {"cars": [{"person": 0, "car_value": least}], "homes": [{"person": 0, "floor": most}] * 3}
    load(connection, rows)
    assert answers(connection, f"-car_value = {most} + 1", people=1) == [True, False]
    assert answers(connection, f"sum(floor) = {most} * 3", people=1) == [True, False]
    assert answers(connection, f"sum(floor) - {most} > 0.000000001", people=1) == [True, False]


def test_text_is_compared_exactly(connection):
    load(
        connection,
        {"people": [{"person": 0, "sex": "Éa%"}, {"person": 1, "sex": "éa"}, {"person": 2, "sex": "Z"}]},
    )
    assert answers(connection, "sex = 'éa'", people=3) == [False, True, False, False]
    assert answers(connection, "sex LIKE 'É%'", people=3) == [True, False, False, False]
    assert answers(connection, "sex LIKE 'Éa_'", people=3) == [True, False, False, False]
    assert answers(connection, "sex LIKE ''", people=3) == [False, False, False, False]
    assert answers(connection, "sex > 'a'", people=3) == [True, True, False, False]  # by code point
    assert answers(connection, "sex = '\\n\"''; DROP TABLE t_people; --'", people=3) == [False] * 4


def test_the_deepest_expression_is_computed(connection):
    load(connection, {"people": [{"person": 0, "age": 1, "disabled": True}]})
    assert answers(connection, "disabled" + " AND disabled" * 48, people=1) == [True, False]
    assert answers(connection, "age" + " + age" * 47 + " = 48", people=1) == [True, False]
    nested = "coalesce(" * 20 + "age" + ", 1)" * 20 + " = 1"
    assert answers(connection, nested, people=1) == [True, True]
