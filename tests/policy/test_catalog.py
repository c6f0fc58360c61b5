"""Catalogs: the whole format, and one refusal for each way of being wrong."""

# ruff: noqa: E501  a message is read, and searched for, on one line

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from policy_world import POLICE, TAX, changed

from veilmatch_policy.catalog import (
    AsOfQuery,
    Catalog,
    DatabaseSource,
    FileSource,
    load_catalog,
    parse_catalog,
)
from veilmatch_policy.column_types import ColumnType, Missing
from veilmatch_policy.errors import CatalogError


def parse(text: str) -> Catalog:
    return parse_catalog(text.encode(), "tax/catalog.yaml")


def test_the_whole_format() -> None:
    catalog = parse(TAX)
    assert (catalog.department, catalog.title) == ("tax", "Tax bureau")
    income, payments = catalog.tables["income"], catalog.tables["payments"]
    assert income.source == FileSource(
        file="income.csv", encoding="gb18030", delimiter=";", null=("", "NULL", "-")
    )
    assert (income.id, income.identifier.scheme, income.rows) == ("id_number", "cn-resident-id", "one")
    assert (income.as_of, income.stale_after, income.refused_at_most) == (
        date(2025, 12, 31),
        45,
        Decimal("0.02"),
    )
    assert income.codes == {"sex": {"1": "male", "2": "female"}}
    assert payments.source == DatabaseSource(database="main", table="v_payments")
    assert payments.as_of == AsOfQuery(query="select max(updated) from v_payments")
    assert payments.identifier.normalise == ("nfkc", "trim", "upper")
    assert (payments.rows, payments.refused_at_most) == ("many", 20)
    rent = catalog.column("rent_year")
    assert rent is not None
    assert (rent.name, rent.table, rent.type) == ("rent_year", "income", ColumnType("decimal", 2))
    assert rent.missing == Missing(no_row=Decimal("0.00"), no_value=None)
    assert (rent.purposes, rent.recipients, rent.alone) == (("relief",), None, "approval")
    wage = catalog.column("wage_year")
    assert wage is not None
    assert (wage.range, wage.missing, wage.alone) == ((Decimal(0), Decimal(5000000)), Missing(0, 0), "never")
    assert [column.name for column in catalog.columns()][-1] == "paid"
    assert catalog.column("wages") is None


def test_what_is_not_written() -> None:
    residents = parse(POLICE).tables["residents"]
    assert residents.source == FileSource(file="residents.csv")
    assert (residents.rows, residents.as_of, residents.stale_after, residents.refused_at_most) == ("one",) + (
        None,
    ) * 3
    assert residents.household is not None
    assert (residents.household.at_most, residents.household.larger) == (20, "single")
    assert residents.columns["age"].missing == residents.columns["county"].missing == Missing(None, None)
    assert residents.columns["alive"].missing == Missing(no_row=None, no_value=True)


def test_digest_is_of_the_bytes() -> None:
    assert parse(TAX).digest != parse(TAX + "# a comment\n").digest
    assert len(parse(TAX).digest) == 32


def test_a_catalog_cannot_be_changed() -> None:
    catalog = parse(TAX)
    with pytest.raises(TypeError):
        catalog.tables["x"] = catalog.tables["income"]  # type: ignore[index]  # the point
    with pytest.raises(ValueError):
        catalog.tables["income"].columns["wage_year"].release = "open"


def test_text_stays_text_and_numbers_are_exact() -> None:
    text = changed(
        TAX, "employer_name: {type: text, release: never}", "district: {type: text, missing: 010100}"
    )
    column = parse(text).column("district")
    assert column is not None
    assert column.missing.no_row == "010100"
    tenth = parse(changed(TAX, "{type: decimal(2), expr", "{type: decimal(2), missing: 0.1, expr")).column(
        "paid"
    )
    assert tenth is not None
    assert tenth.missing.no_value == Decimal("0.1")
    no = parse(changed(TAX, "{type: text, release: never}", "{type: text, missing: no}")).column(
        "employer_name"
    )
    assert no is not None
    assert no.missing == Missing("no", "no")


PLACE = "tax/catalog.yaml"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title:", "titel:", ":2: titel: there is no key 'titel'; did you mean 'title'?"),
        ("department: tax\n", "", ": the key 'department' is missing"),
        ("department: tax", "department: tax bureau", ":1: department: 'tax bureau' is not a name; use letters, digits, - and _, at least one letter"),
        ("department: tax", "department: And", ":1: department: 'And' is a word of the formula; choose another name"),
        ("department: tax", "department: [tax]", ":1: department: expected one value, found a list"),
        ("department: tax", f"department: {'x' * 65}", f":1: department: the name '{'x' * 60}...' is longer than 64 characters"),
        ("title: Tax bureau", 'title: "Tax\\nbureau"', ":2: title: expected text on one line"),
        ("  income:\n", "  in come:\n", ":4: tables.in come: 'in come' is not a name; use letters, digits, - and _, at least one letter"),
        ("{file: income.csv", "{file: ../income.csv", ":5: tables.income.source.file: '../income.csv' is not inside the department's folder; name a file in it"),
        ("{file: income.csv", "{file: /etc/passwd", ":5: tables.income.source.file: '/etc/passwd' is not inside the department's folder; name a file in it"),
        ("{file: income.csv", "{fil: income.csv", ":5: tables.income.source.fil: there is no key 'fil'; did you mean 'file'?"),
        ("encoding: gb18030", "encoding: gb18029", ":5: tables.income.source.encoding: 'gb18029' is not an encoding; write utf-8 or gb18030, say"),
        ('delimiter: ";"', 'delimiter: ";;"', ":5: tables.income.source.delimiter: the delimiter ';;' is not one character"),
        ("{database: main, table: v_payments}", "{database: main}", ":20: tables.payments.source: the key 'table' is missing"),
        ("{database: main, table: v_payments}", "[a]", ":20: tables.payments.source: expected a file or a table of a database, found a list"),
        ("identifier: cn-resident-id", "identifier: cn-resident", ":7: tables.income.identifier.scheme: 'cn-resident' is not possible here; did you mean 'cn-resident-id'?"),
        ("{scheme: text, normalise", "{scheme: opaque, normalise", ":22: tables.payments.identifier: the scheme opaque has its own normal form; leave normalise out"),
        ("[nfkc, trim, upper]", "[nfkc, trim, lower]", ":22: tables.payments.identifier.normalise.3: 'lower' is not possible here; there is nfkc, trim, upper"),
        ("[nfkc, trim, upper]", "nfkc", ":22: tables.payments.identifier.normalise: expected a list, found a single value"),
        ("rows: one", "rows: [one]", ":8: tables.income.rows: expected one of one, many, found a list"),
        ("as_of: 2025-12-31", "as_of: 31.12.2025", ":9: tables.income.as_of: '31.12.2025' is not a date; write it as 2025-12-31"),
        ("    as_of: 2025-12-31\n", "", ":4: tables.income: stale_after without as_of; say which day the table describes"),
        ("stale_after: 45d", "stale_after: 45", ":10: tables.income.stale_after: '45' is not a number of days; write 45d, say"),
        ("refused_at_most: 2%", "refused_at_most: 101%", ":11: tables.income.refused_at_most: '101%' is not a number of rows or a share of them; write 20 or 2%, say"),
        ("type: integer", "type: intger", ":13: tables.income.columns.wage_year.type: 'intger' is not a column type; did you mean 'integer'?"),
        ("{type: integer, ", "{", ":13: tables.income.columns.wage_year: the key 'type' is missing"),
        ("release: approval", "release: aproval", ":13: tables.income.columns.wage_year.release: 'aproval' is not possible here; did you mean 'approval'?"),
        ("unit:", "name: x, unit:", ":13: tables.income.columns.wage_year.name: there is no key 'name'; there is alone, expression, law, means, missing, purposes, range, recipients, release, title, type, unit"),
        ("missing: 0,", "missing: 0.1,", ":13: tables.income.columns.wage_year.missing: '0.1' is not a whole number"),
        ("no_row: 0", "no_rows: 0", ":14: tables.income.columns.rent_year.missing.no_rows: there is no key 'no_rows'; did you mean 'no_row'?"),
        ("no_row: 0", "no_row: 0.123", ":14: tables.income.columns.rent_year.missing: '0.123' has more than the 2 digits behind the point of decimal(2)"),
        ("range: [0, 5000000]", "range: [5, 0]", ":13: tables.income.columns.wage_year.range: the range begins at 5, above its end 0; exchange them"),
        ("range: [0, 5000000]", "range: [0, 1, 2]", ":13: tables.income.columns.wage_year.range: a range is the lowest and the highest value; write [0, 5000000], say"),
        ("range: [0, 5000000]", "range: 5", ":13: tables.income.columns.wage_year.range: expected a list, found a single value"),
        ("range: [0, 5000000]", "range: [0, 1.5]", ":13: tables.income.columns.wage_year.range: '1.5' is not a whole number"),
        ("{type: text, release", "{type: text, range: [0, 1], release", ":15: tables.income.columns.employer_name.range: a column of type text has no range; leave it out"),
        ("employer_name:", "employer-name:", ":15: tables.income.columns.employer-name: 'employer-name' cannot be written in SQL; use letters, digits and _, with a letter in front"),
        ("employer_name:", "person:", ":15: tables.income.columns.person: 'person' is a word of its own in conditions; choose another name"),
        ("      paid:", "      Wage_Year:", ":27: tables.payments.columns.Wage_Year: the column 'Wage_Year' is also in the table income; names are unique in a department; rename one and give it an expression"),
        ('      sex: {"1"', '      sx: {"1"', ":18: tables.income.codes.sx: 'sx' is not a column of this table; did you mean 'sex'?"),
        ('      sex: {"1"', '      wage_year: {"1"', ":18: tables.income.codes.wage_year.1: 'male' is not a number; write plain digits, such as 7200.50"),
    ],
)  # fmt: skip
def test_refused_in_one_line(old: str, new: str, message: str) -> None:
    with pytest.raises(CatalogError) as refused:
        parse(changed(TAX, old, new))
    assert str(refused.value) == PLACE + message


def test_an_author_cannot_steer_the_terminal() -> None:
    with pytest.raises(CatalogError) as refused:
        parse(changed(TAX, "department: tax", 'department: "a\\e[2J\\nb"'))
    assert str(refused.value).isprintable()


def test_a_household_register() -> None:
    with pytest.raises(CatalogError) as refused:
        parse(changed(POLICE, "at_most: 20", "at_most: 0"))
    assert str(refused.value) == PLACE + ":8: tables.residents.household.at_most: expected 1 or more, found 0"
    with pytest.raises(CatalogError) as refused:
        parse(changed(POLICE, "larger: single", "larger: drop"))
    assert "household.larger: 'drop' is not possible here; there is single" in str(refused.value)
    with pytest.raises(CatalogError) as refused:
        parse(changed(POLICE, "household: {", "rows: many\n    household: {"))
    assert str(refused.value) == (
        PLACE + ":9: tables.residents.household: a household register has one row a person; write rows: one"
    )


def test_the_household_register_of_a_department() -> None:
    assert parse(TAX).household is None
    catalog = parse(changed(POLICE, "{column: household_id, at_most: 20, larger: single}", "{column: age}"))
    assert catalog.household is not None
    table, household = catalog.household
    assert table is catalog.tables["residents"]
    assert (household.column, household.at_most, household.larger) == ("age", 32, "single")
    second = "  aliens: {source: a.csv, id: n, identifier: opaque, household: {column: h}, columns: {x: {type: date}}}\n"
    with pytest.raises(CatalogError) as refused:
        parse(POLICE + second)
    assert str(refused.value) == (
        PLACE
        + ":14: tables.aliens.household: the table residents is a household register too; a department keeps one"
    )


def test_load(tmp_path: Path) -> None:
    folder = tmp_path / "tax"
    folder.mkdir()
    with pytest.raises(
        CatalogError,
        match=r"^tax/catalog\.yaml: cannot be read \(No such file or directory\); check the path$",
    ):
        load_catalog(folder / "catalog.yaml")
    (folder / "catalog.yaml").write_text(TAX)
    assert load_catalog(folder / "catalog.yaml") == parse(TAX)
    (folder / "catalog.yaml").write_text("")
    with pytest.raises(CatalogError, match=r"^tax/catalog\.yaml: the file is empty; "):
        load_catalog(folder / "catalog.yaml")
