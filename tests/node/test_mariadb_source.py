"""A table of a real MariaDB server (Debian's package), read as text over TLS with the documented account."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from database_servers import documented_sql, mariadb_server
from department_files import ANNA, BODO, CARL, DAY, catalog, listed, table
from structlog.testing import capture_logs

from veilmatch_node.databases import Database, Databases, can_write
from veilmatch_node.errors import DataError
from veilmatch_node.source import load
from veilmatch_policy.errors import CatalogError


@pytest.fixture(scope="module")
def server():
    with mariadb_server() as running:
        running.execute(
            "USE register",
            "SET SESSION sql_mode = ''",
            "CREATE TABLE people (id char(20), wage bigint, rent decimal(20,4), share double, born date,"
            " alive boolean, note varchar(80), code varchar(4), raw varbinary(9), born_at datetime, `a``b` int)",
            f"INSERT INTO people VALUES ('{ANNA}', 5000, 10.5, 0.5, '1946-03-20', true, '张𠮷 \"x\"', 'A', x'ff',"
            " '1946-03-20 10:00:00', 1)",
            f"INSERT INTO people VALUES (' {BODO.lower()}', NULL, 123456789012345.6789, 0.5, '0000-00-00', false,"
            " '', 'B', NULL, NULL, 1)",
            f"INSERT INTO people VALUES ('{CARL}', 7, 600, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, 1)",
            "INSERT INTO people VALUES ('123', 1, 1, 0.5, '2025-02-00', NULL, 'secret-note', 'Z', NULL, NULL, 1)",
            "CREATE TABLE nobody (id text, wage bigint)",
            "CREATE TABLE income (id char(20), wage bigint)",
            f"INSERT INTO income VALUES ('{ANNA}', 5000)",
            *documented_sql("An account for MariaDB"),
            "GRANT SELECT ON register.people TO veilmatch_reader@'%'",
            "GRANT SELECT ON register.nobody TO veilmatch_reader@'%'",
        )
        yield running


def read(url, *columns, source="people", needed=None, more="", **settings):
    return load(
        catalog(columns, source=f'{{database: main, table: "{source}"}}', more=more),
        Path("nowhere"),
        needed=needed,
        reference_date=DAY,
        databases=Databases({"main": Database(url=url, **settings)}),
    )


def test_cells_are_what_the_server_writes(server):
    department = read(
        server.reader(),
        "wage: {type: integer}",
        "rent: {type: decimal(4)}",
        "born: {type: date}",
        "alive: {type: boolean}",
        "note: {type: text}",
        'age: {type: integer, expression: "timestampdiff(year, nullif(born, 0), :reference_date)"}',
        'whole: {type: integer, expression: "rent * 0 + 12.00"}',
        'it: {type: integer, expression: "`a``b`"}',
        'word: {type: text, expression: "concat(code, \\"-\\", wage)"}',
    )
    assert table(department) == [
        (ANNA, False, 5000, Decimal("10.5"), date(1946, 3, 20), True, '张𠮷 "x"', 79, 12, 1, "A-5000"),
        # 0000-00-00 is a date to these servers only.
        (BODO, True, None, Decimal("123456789012345.6789"), None, False, "", None, 12, 1, None),
        (CARL, False, 7, Decimal(600), None, None, None, None, 12, 1, None),
    ]
    assert sorted(reason for _, reason in listed(department)) == [
        "column born is not a date",
        "identifier: length",
    ]


def test_local_codes_and_only_what_is_needed(server):
    codes = "    codes:\n      code: {A: '1', B: '2', Z: '3'}\n"
    columns = ("code: {type: integer}", 'bad: {type: integer, expression: "nope"}')
    assert table(read(server.reader(), *columns, needed={"code"}, more=codes)) == [
        (ANNA, False, 1),
        (BODO, False, 2),
        (CARL, False, None),
    ]


def test_an_empty_table_has_types(server):
    assert read(server.reader(), "wage: {type: integer}", source="register.nobody").people == 0


@pytest.mark.parametrize(
    ("expression", "error", "what"),
    [
        ("share", CatalogError, "people.it: the column is double, which is not exact"),
        ("raw", CatalogError, "people.it: the column is binary in the database"),
        ("born_at", CatalogError, "people.it: the column is datetime in the database"),
        ("nope", CatalogError, "people.it: the database 'main' refuses the query .Unknown column 'nope'"),
        ("wage +", CatalogError, "not SQL"),
        ("(SELECT 1)", CatalogError, "not one expression"),
        ("wage IN (SELECT wage FROM nobody)", CatalogError, "a subquery"),
        ("sum(wage)", CatalogError, "an aggregate"),
        ("wage /*! + (SELECT 1) */", CatalogError, "a comment"),
        ("year(now())", CatalogError, "the clock"),
        ("length(load_file(note))", CatalogError, "a file"),
        ("@a", CatalogError, "a parameter"),
        ("@@port", CatalogError, "a parameter"),
        ("1 / (wage - 7)", DataError, "fails on a row in the database 'main' .warning 1365"),
        ("cast(note as signed)", DataError, "fails on a row in the database 'main' .warning 1292"),
        ("wage * 9223372036854775807", DataError, "fails on a row in the database 'main' .error 1690"),
    ],
)
def test_refused_in_one_line_without_a_cell(server, expression, error, what):
    with pytest.raises(error, match=what) as refused:
        read(server.reader(), f'it: {{type: integer, expression: "{expression}"}}')
    assert "secret-note" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.__cause__ is None or "secret-note" not in str(refused.value.__cause__)


def test_a_statement_that_takes_too_long(server):
    with pytest.raises(DataError, match=r"the database 'main' did not answer in time .1 seconds"):
        read(server.reader(), 'it: {type: integer, expression: "sleep(2)"}', statement_timeout=1)


def test_the_documented_account_can_only_read(server):
    reader, owner = Database(url=server.reader()), Database(url=server.url)
    assert not can_write(reader, "main")
    assert can_write(owner, "main")
    databases = Databases({"main": owner})
    for _ in range(2):
        with capture_logs() as logs:
            load(
                catalog([], source="{database: main, table: v_income}"),
                Path("nowhere"),
                reference_date=DAY,
                databases=databases,
            )
        assert [entry["log_level"] for entry in logs] == (["warning"] if _ == 0 else [])
    assert table(read(server.reader(), "wage: {type: integer}", source="v_income")) == [(ANNA, False, 5000)]
    with pytest.raises(
        CatalogError, match=r"people: the database 'main' refuses the query .SELECT command denied"
    ):
        read(server.reader(), "wage: {type: integer}", source="income")


def test_nothing_is_written_even_by_an_owner(server):
    server.execute("CREATE SEQUENCE register.numbers")
    with pytest.raises((CatalogError, DataError), match=r"refuses the query|cannot answer"):
        read(server.url, 'it: {type: integer, expression: "nextval(`numbers`)"}')


@pytest.mark.parametrize(
    "change",
    [
        "{reader}&ssl-mode=DISABLED",  # the account asks for TLS
        "mysql://veilmatch_reader:pass-word@127.0.0.1:{port}/register?ssl-ca={root}&ssl-mode=VERIFY_CA",
        "mysql://veilmatch_reader:choose-a-long-one@127.0.0.1:{port}/register?ssl-mode=VERIFY_CA",
        "mysql://user:pass-word@127.0.0.1:1/x",
        "mysql://user:pass-word@127.0.0.1:pass-word/x",
        "mysql://user:pass-word@127.0.0.1/x?pass-word=1",
        "mysql://user:pass-word@127.0.0.1/x?ssl-mode=pass-word",
        "mysql://user:pass-word@127.0.0.1/x?ssl-mode=REQUIRED&ssl-ca=pass-word",
    ],
)
def test_an_address_that_is_wrong_is_not_repeated(server, change):
    url = change.format(reader=server.reader(), port=server.port, root=server.root)
    with pytest.raises(DataError, match=r"cannot be reached|cannot be used") as refused:
        read(url, "wage: {type: integer}")
    for secret in ("pass-word", "choose", "user@", "veilmatch_reader"):
        assert secret not in str(refused.value)


def test_a_schema_that_changes_names_the_catalogs_column(server):
    server.execute("CREATE TABLE register.changing SELECT id, wage FROM register.people")
    wage = "wage: {type: integer}"
    read(server.url, wage, source="changing")
    server.execute("ALTER TABLE register.changing DROP wage, ADD wage date")
    with pytest.raises(CatalogError, match=r"tax\.people\.wage: the column is date in the database"):
        read(server.url, wage, source="changing")
    server.execute("ALTER TABLE register.changing DROP wage")
    with pytest.raises(CatalogError, match=r"tax\.people\.wage: the database 'main' refuses the query"):
        read(server.url, wage, source="changing")
    server.execute("DROP TABLE register.changing")
    with pytest.raises(CatalogError, match=r"tax\.people: the database 'main' refuses the query"):
        read(server.url, wage, source="changing")


def test_the_day_of_a_table(server):
    databases = Databases({"main": Database(url=server.reader())})
    assert databases.read_day("main", "select max(born_at) from people", where="x") == date(1946, 3, 20)
    for query in ("select min(born) from people", "select id from people", "select 1"):
        with pytest.raises(DataError, match="no single day"):
            databases.read_day("main", query, where="x")
