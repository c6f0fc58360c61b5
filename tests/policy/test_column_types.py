"""Types and exact values."""

from datetime import date
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilmatch_policy.column_types import ColumnType, exact_number, iso_date, whole_number


@pytest.mark.parametrize("text", ["integer", "decimal(0)", "decimal(12)", "text", "boolean", "date"])
def test_a_type_prints_as_it_is_written(text: str) -> None:
    assert str(ColumnType.from_text(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("intger", "'intger' is not a column type; did you mean 'integer'?"),
        ("float", "'float' is not a column type; there is boolean, date, decimal, integer, text"),
        ("decimal", "'decimal' is not a column type; only decimal has a scale, as in decimal(2)"),
        ("integer(2)", "'integer(2)' is not a column type; only decimal has a scale, as in decimal(2)"),
        ("decimal(13)", "the scale 13 is too fine; decimal(0) to decimal(12) are possible"),
        ("decimal(-1)", "'decimal(-1)' is not a column type; did you mean 'decimal'?"),
        ("", "'' is not a column type; there is boolean, date, decimal, integer, text"),
    ],
)
def test_no_type(text: str, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        ColumnType.from_text(text)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("column_type", "text", "value"),
    [
        ("decimal(2)", "0.1", Decimal("0.10")),
        ("decimal(2)", "-7200.5", Decimal("-7200.50")),
        ("decimal(2)", "7200.500", Decimal("7200.50")),
        ("decimal(0)", "7", Decimal(7)),
        (
            "decimal(12)",
            "999999999999999999.999999999999",
            Decimal("999999999999999999.999999999999"),
        ),
        ("integer", "-5", -5),
        ("integer", "9223372036854775807", 2**63 - 1),
        ("text", "010100", "010100"),
        ("text", "no", "no"),
        ("boolean", "True", True),
        ("boolean", "false", False),
        ("date", "2024-02-29", date(2024, 2, 29)),
    ],
)
def test_values_are_exact(column_type: str, text: str, value: object) -> None:
    read = ColumnType.from_text(column_type).value(text)
    assert (read, type(read), str(read)) == (value, type(value), str(value))


@pytest.mark.parametrize(
    ("column_type", "text"),
    [
        ("decimal(2)", "0.123"),
        ("decimal(2)", "1e3"),
        ("decimal(2)", "1,000"),
        ("decimal(2)", "NaN"),
        ("decimal(2)", ".5"),
        ("decimal(2)", "+5"),
        ("decimal(2)", " 5"),
        ("decimal(2)", "٣"),
        ("decimal(2)", "1" + "0" * 18),
        ("decimal(0)", "-1" + "0" * 18),
        ("decimal(12)", "9" * 39),
        ("integer", "1_000"),
        ("integer", "1.5"),
        ("integer", "9223372036854775808"),
        ("boolean", "no"),
        ("boolean", "1"),
        ("date", "20251231"),
        ("date", "2025-W01-1"),
        ("date", "2025-02-29"),
    ],
)
def test_no_value(column_type: str, text: str) -> None:
    with pytest.raises(ValueError):
        ColumnType.from_text(column_type).value(text)


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=1 - 10**18, max_value=10**18 - 1)
)
def test_no_digit_is_lost(number: Decimal) -> None:
    with localcontext(prec=4):
        assert f"{ColumnType('decimal', 12).value(f'{number:f}'):f}" == f"{number:f}"


@given(st.text(max_size=12))
def test_readers_refuse_with_a_value_error_alone(text: str) -> None:
    for reader in (exact_number, whole_number, iso_date, ColumnType.from_text):
        try:
            reader(text)
        except ValueError:
            continue
