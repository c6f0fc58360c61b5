"""Cells to values: exactly, or not at all."""

import re
from datetime import date
from decimal import Decimal

import pytest
from department_files import ANNA, BODO, listed, read, table
from hypothesis import example, given, settings
from hypothesis import strategies as st

from veilmatch_node.errors import DataError
from veilmatch_policy.errors import CatalogError


def cells_as(folder, declared, *cells, more=""):
    """Each cell in a row of its own, of a table with many rows a person: (value, unreadable)."""
    quoted = ["" if cell is None else '"' + cell.replace('"', '""') + '"' for cell in cells]
    data = "id,x\n" + "".join(f"{ANNA},{cell}\n" for cell in quoted)
    department = read(folder, [f"x: {{{declared}}}"], data, rows="many", more=more)
    return [(value, unreadable) for _, unreadable, value in table(department)]


def one(folder, declared, cell, more=""):
    [(value, unreadable)] = cells_as(folder, declared, cell, more=more)
    assert value is None or not unreadable
    return "unreadable" if unreadable else value


@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        ("integer", "12", 12),
        ("integer", " +007\u3000", 7),
        ("integer", "-9223372036854775808", -(2**63)),
        ("integer", "", None),
        ("integer", "  ", None),
        ("decimal(2)", "12.7", Decimal("12.70")),
        ("decimal(2)", "-.5", Decimal("-0.50")),
        ("decimal(2)", "5.", Decimal("5.00")),
        ("decimal(2)", "1.230000", Decimal("1.23")),
        ("decimal(0)", "5.000", Decimal(5)),
        ("boolean", "True", True),
        ("boolean", "NO", False),
        ("boolean", "1", True),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("date", "0001-01-01", date(1, 1, 1)),
        ("text", " as it is ", " as it is "),
        ("text", "１２", "１２"),
    ],
)
def test_read(tmp_path, kind, cell, value):
    assert one(tmp_path, f"type: {kind}", cell) == value


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        *[
            ("integer", cell)
            for cell in (
                "12.0",
                "12.7",
                "1e3",
                "0x1F",
                "1_000",
                "1,000",
                "１２",
                "--1",
                "1 2",
                "9223372036854775808",
                "x",
                "'",
            )
        ],
        *[
            ("decimal(2)", cell)
            for cell in ("1.234", "1e3", "1,50", ".", "+", "nan", "Infinity", "1" * 37, "1_0.0")
        ],
        *[("decimal(0)", cell) for cell in (".", "1.5")],
        *[("boolean", cell) for cell in ("t", "2", "ja", "on")],
        *[
            ("date", cell)
            for cell in (
                "2023-02-29",
                "2024-2-9",
                "20240229",
                "0000-01-01",
                "2024-02-29 00:00:00",
                "infinity",
                "today",
                "-2024-01-01",
            )
        ],
    ],
)
def test_unreadable(tmp_path, kind, cell):
    assert one(tmp_path, f"type: {kind}", cell) == "unreadable"


def as_decimal(cell, scale):
    """What a cell is: (value, unreadable), by Python's own Decimal."""
    trimmed = cell.strip()
    if not trimmed:
        return None, False
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)", trimmed):
        number = Decimal(trimmed)
        if number == round(number, scale):
            return number, False
    return None, True


number_like = st.from_regex(r"[ \u3000]?[+-]?[0-9]{0,3}(\.[0-9]{0,4})?0{0,4}", fullmatch=True)


@settings(max_examples=12)
@given(
    cells=st.lists(
        st.one_of(number_like, st.text("0123456789+-.e_x ,\u0663", max_size=8)), min_size=20, max_size=60
    ),
    scale=st.integers(0, 4),
)
@example(cells=["5.", "5.0", "0.5"], scale=0)
@example(cells=["0.10000", "."], scale=1)
def test_decimals_agree_with_pythons(tmp_path_factory, cells, scale):
    folder = tmp_path_factory.mktemp("cells")
    assert cells_as(folder, f"type: decimal({scale})", *cells) == [as_decimal(cell, scale) for cell in cells]


PLAIN = st.lists(
    st.one_of(st.none(), st.text("0123456789.", max_size=25), st.text("01", max_size=22)), max_size=4
)


@settings(max_examples=15)
@given(cells=PLAIN, kind=st.sampled_from(["integer", "decimal(0)", "decimal(2)", "text"]))
@example(cells=["9223372036854775807", "9223372036854775808", "0" * 40 + "1"], kind="integer")
@example(cells=["123456789012345678.12"], kind="decimal(2)")
@example(cells=["1.20000", "1.", ".5", None, "007"], kind="decimal(2)")
@example(cells=["1.5"], kind="decimal(0)")
def test_what_is_written_plainly_is_read_as_all_else_is(tmp_path_factory, cells, kind):
    """A cell with a sign in it takes the whole column the longer way."""
    folder, declared = tmp_path_factory.mktemp("cells"), f"type: {kind}"
    assert cells_as(folder, declared, *cells) == cells_as(folder, declared, *cells, "+1")[:-1]


def test_unreadable_rows_are_listed_with_the_column_and_without_the_cell(tmp_path):
    data = f"id,a,b\n{ANNA},1,2\n{BODO},zw\xf6lf,1.005\n"
    department = read(tmp_path, ["a: {type: integer}", "b: {type: decimal(2)}"], data)
    assert listed(department) == [(2, "column a is not an integer"), (2, "column b is not a decimal(2)")]
    assert department.report.tables[0].refused == 1
    assert table(department) == [(ANNA, False, 1, Decimal("2.00")), (BODO, True, None, None)]


def test_codes(tmp_path):
    codes = '    codes: {x: {"M": male, "F": female, "it\'s": other}}\n'
    assert [
        one(tmp_path, "type: text", cell, codes) for cell in ("M", " F ", "it's", "m", "male", "", None)
    ] == [
        "male",
        "female",
        "other",
        "unreadable",
        "unreadable",
        None,
        None,
    ]
    assert one(tmp_path, "type: boolean", "是", '    codes: {x: {"是": "true", "否": "false"}}\n') is True


def test_codes_after_an_expression(tmp_path):
    codes = '    codes: {x: {"M": male}}\n'
    assert one(tmp_path, 'type: text, expression: "upper(x)"', "m", codes) == "male"
    with pytest.raises(CatalogError, match="codes, which are text"):
        one(tmp_path, 'type: text, expression: "length(x)"', "m", codes)


@pytest.mark.parametrize(
    ("declared", "cell", "value"),
    [
        (
            "type: decimal(2), expression: \"cast(replace(x, ',', '') as decimal(12,2))\"",
            "1,234.50",
            Decimal("1234.50"),
        ),
        (
            'type: decimal(2), expression: "round(cast(x as decimal(12,4)) * 12, 2)"',
            "600.0567",
            Decimal("7200.68"),
        ),
        ('type: decimal(2), expression: "cast(x as bigint) * 0.01"', "62551", Decimal("625.51")),
        ('type: decimal(1), expression: "cast(x as decimal(9,4))"', "1.5000", Decimal("1.5")),
        ('type: decimal(1), expression: "cast(x as decimal(9,4))"', "1.5001", "unreadable"),
        ('type: integer, expression: "cast(x as decimal(9,2))"', "12.00", 12),
        ('type: integer, expression: "cast(x as decimal(9,2))"', "12.50", "unreadable"),
        ('type: integer, expression: "cast(x as decimal(38,0))"', "99999999999999999999", "unreadable"),
        # Conditions rest on 18 digits before the point (sql_binder.py) ...
        ("type: decimal(2)", "-" + "9" * 18 + ".99", Decimal("-" + "9" * 18 + ".99")),
        ("type: decimal(2)", "1" + "0" * 18, "unreadable"),
        ("type: decimal(0)", "-1" + "0" * 18, "unreadable"),
        ('type: decimal(2), expression: "cast(x as decimal(38,2))"', "9" * 18, Decimal("9" * 18)),
        ('type: decimal(2), expression: "cast(x as decimal(38,2))"', "1" + "0" * 18, "unreadable"),
        ('type: decimal(2), expression: "cast(x as hugeint)"', "1" + "0" * 18, "unreadable"),
        # ... and on the years 1 to 9999.
        ('type: date, expression: "cast(x as date)"', "9999-12-31", date.max),
        ('type: date, expression: "cast(x as date)"', "10000-01-01", "unreadable"),
        ('type: date, expression: "cast(x as date)"', "294300-01-01", "unreadable"),
        ('type: date, expression: "cast(x as date)"', "0001-12-31 (BC)", "unreadable"),
        ('type: date, expression: "cast(x as date)"', "infinity", "unreadable"),
        ('type: date, expression: "cast(x as timestamp)"', "-infinity", "unreadable"),
        ("type: date, expression: \"strptime(x, '%Y%m%d')\"", "19460320", date(1946, 3, 20)),
        ("type: date, expression: \"strptime(x, '%Y%m%d %H')\"", "19460320 07", "unreadable"),
        ("type: date, expression: \"strptime(x, '%Y%m%d')\"", "19461320", "unreadable"),
        ("type: integer, expression: \"nullif(x, 'none')\"", "none", None),
        ('type: integer, expression: "cast(x as integer)"', "", None),
        ('type: integer, expression: "cast(x as integer)"', "abc", "unreadable"),
        ('type: integer, expression: "5 // cast(x as integer) -- a comment"', "2", 2),
        (
            "type: integer, expression: \"date_diff('year', cast(x as date), :reference_date)\"",
            "1960-05-05",
            65,
        ),
        ("type: text, expression: \"':reference_date' || x\"", "!", ":reference_date!"),
        ("type: boolean, expression: \"x = 'a'\"", "a", True),
    ],
)
def test_expressions(tmp_path, declared, cell, value):
    assert one(tmp_path, declared, cell) == value


def test_a_failing_row_fails_alone_and_expressions_may_share_parts(tmp_path):
    # DuckDB would evaluate the shared cast once, outside both TRYs, and fail the whole query.
    data = f"id,x\n{ANNA},abc\n{BODO},7\n"
    columns = [
        'a: {type: integer, expression: "cast(x as integer)"}',
        'b: {type: integer, expression: "cast(x as integer) + cast(x as integer)"}',
    ]
    assert table(read(tmp_path, columns, data)) == [(ANNA, True, None, None), (BODO, False, 7, 14)]


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("cast(x as double)", "floating point"),
        ("cast(x as integer) / 2", "floating point"),
        ("1e3", "floating point"),
        ("x = 'a'", "gives boolean, not an integer"),
        ("cast(x as date)", "gives date, not an integer"),
        ("nope(x)", "DuckDB refuses the expression"),
        ("cast(x as", "is not SQL"),
        ("1) FROM read_csv('people.csv') --", "is not SQL"),
        ("(SELECT 1)", "not one expression"),
        ("SELECT 1", "not one expression"),
        ("1; DROP TABLE cells", "not one expression"),
        ("COPY cells TO 'x.csv'", "not one expression"),
        ("x AS y", "not one expression"),
        ("x IN (SELECT x FROM cells)", "a subquery"),
        ("EXISTS (SELECT 1)", "a subquery"),
        ("sum(cast(x as integer))", "an aggregate"),
        ("row_number() OVER ()", "a window function"),
        ("count(*)", "an aggregate"),
        ("unnest([1, 2])", "a table function"),
        ("read_csv('people.csv')", "a table function"),
        ("current_date", "the clock"),
        (":other_date", "a parameter other than"),
        ("$1", "a parameter other than"),
        ("cells.x", "names a table"),
        ("cast(10 * random() as integer)", "DuckDB cannot evaluate"),
    ],
)
def test_expressions_that_are_refused(tmp_path, expression, what):
    with pytest.raises(CatalogError, match=re.escape(what)) as refused:
        one(tmp_path, f'type: integer, expression: "{expression}"', "secret")
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_expression_over_a_column_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="there is no column 'rent' to read the catalog's column x from"):
        one(tmp_path, 'type: integer, expression: "rent"', "1")


@pytest.mark.parametrize("cell", ["-1", "101"])
def test_a_value_outside_its_range_stops_the_run_without_being_named(tmp_path, cell):
    with pytest.raises(DataError, match=r"tax\.people\.x: a value is outside the range") as refused:
        one(tmp_path, "type: integer, range: [0, 100]", cell)
    assert cell not in str(refused.value).replace("[0, 100]", "")
    assert one(tmp_path, "type: integer, range: [0, 100]", "100") == 100
    assert one(tmp_path, "type: integer, range: [0, 100]", "") is None
