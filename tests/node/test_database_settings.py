"""Shows when a database may be read, by how many at a time, and which settings are refused."""

import threading
from datetime import datetime
from pathlib import Path

import pytest
from department_files import DAY, catalog

from veilmatch_node.config import Data
from veilmatch_node.databases import Database, Databases
from veilmatch_node.databases.mysql_url import connect_arguments
from veilmatch_node.errors import DataError
from veilmatch_node.source import load

NOWHERE = "postgresql://user:pass-word@127.0.0.1:1/x"


def at(hour, minute):
    """A clock of this machine's time zone."""
    return lambda: datetime(2025, 6, 1, hour, minute).astimezone()


def refusal(databases):
    with pytest.raises(DataError) as refused:
        load(
            catalog([], source="{database: main, table: people}"),
            Path("nowhere"),
            reference_date=DAY,
            databases=databases,
        )
    return str(refused.value)


@pytest.mark.parametrize(
    ("window", "clock", "may"),
    [
        ("20:00-06:00", at(19, 59), False),
        ("20:00-06:00", at(20, 0), True),
        ("20:00-06:00", at(5, 59), True),
        ("20:00-06:00", at(6, 0), False),
        ("01:30-02:00", at(1, 30), True),
        ("01:30-02:00", at(2, 0), False),
        ("01:30-02:00", at(23, 0), False),
        (None, at(12, 0), True),
    ],
)
def test_a_window_of_the_day(window, clock, may):
    said = refusal(Databases({"main": Database(url=NOWHERE, window=window)}, clock=clock))
    if may:
        assert "the database 'main' cannot be reached" in said
    else:
        begin, end = window.split("-")
        assert f"the database 'main' may be read from {begin} to {end} only; start this again then" in said


def test_a_database_has_so_many_connections_at_a_time():
    databases = Databases({"main": Database(url=NOWHERE, connections=1, statement_timeout=1)})
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with databases._connection("main", "tax.people"):
            inside.set()
            leave.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(30)
    assert "the node's connections to the database 'main' are all in use (1 connections)" in refusal(
        databases
    )
    leave.set()
    holder.join()
    assert "cannot be reached" in refusal(databases)


def test_a_database_is_a_url_or_a_table():
    data = Data.model_validate(
        {"folder": "x", "databases": {"a": NOWHERE, "b": {"url": "mariadb://h/d", "window": "20:00-06:00"}}}
    )
    assert data.databases["a"] == Database(url=NOWHERE)
    assert (data.databases["b"].kind, data.databases["b"].connections) == ("mysql", 2)
    assert "pass-word" not in repr(data)


@pytest.mark.parametrize(
    "wrong",
    [
        "sqlite:///pass-word",
        {"url": NOWHERE, "window": "20:00"},
        {"url": NOWHERE, "window": "20:00-20:00"},
        {"url": NOWHERE, "window": "24:00-06:00"},
        {"url": NOWHERE, "connections": 0},
        {"url": NOWHERE, "statement_timeout": 0},
        {"url": NOWHERE, "timeout": 5},
    ],
)
def test_settings_that_are_refused(wrong):
    with pytest.raises(ValueError, match="databases"):
        Data.model_validate({"folder": "x", "databases": {"main": wrong}})


def test_another_machine_must_show_a_certificate_of_its_name():
    there = connect_arguments("mysql://reader:p%40ss@db.tax.example/income")
    assert (there["user"], there["password"], there["host"], there["port"]) == (
        "reader",
        "p@ss",
        "db.tax.example",
        3306,
    )
    assert there["ssl"].check_hostname
    assert connect_arguments("mysql://reader@127.0.0.1/income")["ssl_disabled"]
    assert not connect_arguments("mysql://r@db/income?ssl-mode=VERIFY_CA")["ssl"].check_hostname
    assert connect_arguments("mysql://r@h/income?socket=/run/s")["unix_socket"] == "/run/s"
