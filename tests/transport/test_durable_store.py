"""A store is one service's alone, commits to disk, says what it lacks in a line, and is of one release."""

import os
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import postgres_server
import pytest
from pydantic import BaseModel
from sqlalchemy import Column, Integer, MetaData, Table, insert, make_url, select, text, update

from veilmatch_transport import (
    Schema,
    SettingsError,
    StoreAddress,
    StoreFailedError,
    durable_engine,
    insert_once,
    shared_engine,
    upsert,
)

METADATA = MetaData()
NUMBERS = Table("numbers", METADATA, Column("name", Integer, primary_key=True), Column("value", Integer))
SCHEMA = Schema(METADATA, "0001", Path("nowhere"))


class Settings(BaseModel):
    store: StoreAddress


@pytest.fixture
def engine(store_address):
    engine = durable_engine(store_address, SCHEMA)
    yield engine
    engine.dispose()


def count_up(engine):
    with engine.begin() as connection:
        value = connection.scalar(select(NUMBERS.c.value))
        connection.execute(update(NUMBERS).values(value=value + 1))


def value(engine):
    with engine.begin() as connection:
        return connection.scalar(select(NUMBERS.c.value))


def test_a_store_that_is_open_is_refused_until_it_is_closed(store_address):
    first = durable_engine(store_address, SCHEMA)
    with pytest.raises(SettingsError, match="another process has this store open; stop it") as refused:
        durable_engine(store_address, SCHEMA)
    where = "store" if store_address == first.url else store_address
    assert refused.value.exit_code == 2
    assert str(refused.value).startswith((f"{where}: ", "store: "))
    first.dispose()
    first.dispose()
    again = durable_engine(store_address, SCHEMA)
    with pytest.raises(SettingsError):
        durable_engine(store_address, SCHEMA)
    again.dispose()


def test_a_store_that_was_closed_does_nothing_more(store_address):
    first = durable_engine(store_address, SCHEMA)
    with first.connect() as held:  # by a thread that its service did not wait for
        first.dispose()
        second = durable_engine(store_address, SCHEMA)
        for late in (lambda: value(first), lambda: held.execute(select(NUMBERS)), first.raw_connection):
            with pytest.raises(StoreFailedError, match="store: is closed; start the service again"):
                late()
        held.invalidate()  # its pool is gone, and closes it no more
    second.dispose()
    durable_engine(store_address, SCHEMA).dispose()  # nothing took it back


def test_a_file_is_its_owners_and_its_commits_are_on_disk(tmp_path):
    engine = durable_engine(tmp_path / "state.sqlite", SCHEMA)
    with engine.begin() as connection:
        assert connection.scalar(text("PRAGMA synchronous")) == 2
    engine.dispose()
    assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == {0o600}


def test_a_store_in_a_folder_that_is_not_there(tmp_path):
    path = tmp_path / "nowhere" / "state.sqlite"
    with pytest.raises(SettingsError) as refused:
        durable_engine(path, SCHEMA)
    assert str(refused.value) == (
        f"{path}: the store cannot be made (No such file or directory); check its folder"
    )


def test_transactions_that_read_and_then_write_do_not_interleave(engine):
    with engine.begin() as connection:
        connection.execute(insert(NUMBERS).values(name=1, value=0))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: count_up(engine), range(40)))
    assert value(engine) == 40


def test_the_officers_command_line_does_not_interleave_either(engine, store_address):
    with engine.begin() as connection:
        connection.execute(insert(NUMBERS).values(name=1, value=0))
    beside = shared_engine(store_address, SCHEMA)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count_up, [engine, beside] * 10))
    beside.dispose()
    assert value(engine) == 20


def test_rows_are_put_again_or_once(engine):
    with engine.begin() as connection:
        upsert(connection, NUMBERS, {"name": 1, "value": 1})
        upsert(connection, NUMBERS, {"name": 1, "value": 2})
        insert_once(connection, NUMBERS, {"name": 1, "value": 3})
        insert_once(connection, NUMBERS, {"name": 2, "value": 4})
        rows = connection.execute(select(NUMBERS).order_by(NUMBERS.c.name)).all()
    assert rows == [(1, 2), (2, 4)]


def test_what_is_not_there_or_of_another_release_is_not_opened(store_address):
    with pytest.raises(SettingsError, match="there is no store yet; start the service once"):
        shared_engine(store_address, SCHEMA)
    durable_engine(store_address, SCHEMA).dispose()
    newer = Schema(METADATA, "0002", Path("nowhere"))
    with pytest.raises(SettingsError, match="the store is of another release; start the service"):
        shared_engine(store_address, newer)


def test_a_url_is_told_from_a_path_and_never_printed():
    assert Settings(store="state.sqlite").store == Path("state.sqlite")
    url = Settings(store="postgresql://tax:pass-word@db/tax").store
    assert url == make_url("postgresql://tax:pass-word@db/tax")
    assert "pass-word" not in f"{url} {url!r}"
    for wrong in ("mysql://tax:pass-word@db/tax", "postgresql://tax:pass-word@db:pass-word/x"):
        with pytest.raises(ValueError, match="neither a path nor a postgresql") as refused:
            Settings(store=wrong)
        assert "pass-word" not in refused.value.errors()[0]["msg"]


# SQLite.


def test_a_file_that_is_no_store_is_named(tmp_path):
    path = tmp_path / "state.sqlite"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StoreFailedError) as refused:
        durable_engine(path, SCHEMA)
    assert (
        str(refused.value)
        == f"{path}: the store is no SQLite file; restore it from a backup, or name another store"
    )
    path.unlink()
    durable_engine(path, SCHEMA).dispose()  # nothing holds it


# PostgreSQL.


@pytest.fixture
def url():
    return postgres_server.new_schema()


def end_lock(name):
    """End the session that holds a store's lock, of a service that calls itself ``name``."""
    postgres_server.execute(
        "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity JOIN pg_locks USING (pid)"
        f" WHERE application_name = '{name}' AND locktype = 'advisory' AND state = 'idle'"
    )


def test_a_server_that_is_away_is_named_and_the_service_goes_on_when_it_is_back(url):
    with tempfile.TemporaryDirectory(prefix="pg") as short:
        sockets = Path(short) / "at"
        sockets.symlink_to(url.query["host"])
        through = url.update_query_dict({"host": str(sockets), "application_name": Path(short).name})
        engine = durable_engine(through, SCHEMA)
        with engine.begin() as connection:
            connection.execute(insert(NUMBERS).values(name=1, value=7))
        sockets.unlink()
        ended = f"FROM pg_stat_activity WHERE application_name = '{Path(short).name}'"
        with engine.connect() as connection:
            connection.execute(insert(NUMBERS).values(name=2, value=7))
            postgres_server.execute(f"SELECT pg_terminate_backend(pid, 1000) {ended}")
            with pytest.raises(StoreFailedError, match="does not answer"):
                connection.commit()
        with pytest.raises(StoreFailedError) as refused:
            value(engine)
        assert str(refused.value) == (
            "store: its PostgreSQL does not answer, or refuses the account; start it, or correct the URL"
        )
        sockets.symlink_to(url.query["host"])
        assert value(engine) == 7
        # It has its lock again, too.
        with pytest.raises(SettingsError, match="another process has this store open"):
            durable_engine(through, SCHEMA)
        engine.dispose()


def test_a_server_that_ended_all_sessions_meanwhile_is_not_noticed(url):
    engine = durable_engine(url.update_query_dict({"application_name": "restarted"}), SCHEMA)
    with engine.begin() as connection:
        connection.execute(insert(NUMBERS).values(name=1, value=7))
    postgres_server.execute(
        "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = 'restarted'"
    )
    assert value(engine) == 7
    with pytest.raises(SettingsError, match="another process has this store open"):
        durable_engine(url, SCHEMA)
    engine.dispose()


def test_who_lost_its_session_to_another_does_nothing_more(url):
    mine = durable_engine(url.update_query_dict({"application_name": "first"}), SCHEMA)
    with mine.begin() as connection:
        connection.execute(insert(NUMBERS).values(name=1, value=0))
    end_lock("first")
    other = durable_engine(url, SCHEMA)
    with pytest.raises(StoreFailedError, match="another process has taken it over"):
        count_up(mine)
    count_up(other)
    assert value(other) == 1
    mine.dispose()
    assert value(other) == 1
    other.dispose()


def test_a_database_that_lost_its_newest_commits_takes_nobody_for_the_owner_before(url):
    mine = durable_engine(url.update_query_dict({"application_name": "lost"}), SCHEMA)
    with mine.begin() as connection:
        connection.execute(insert(NUMBERS).values(name=1, value=0))
    end_lock("lost")
    schema = url.query["options"].partition("=")[2]
    postgres_server.execute(
        f"UPDATE {schema}.store_owner SET token = token - 1"
    )  # a standby without the last
    other = durable_engine(url, SCHEMA)
    with pytest.raises(StoreFailedError, match="another process has taken it over"):
        count_up(mine)
    mine.dispose()
    other.dispose()


def test_a_transaction_that_began_before_the_other_took_over_is_seen_by_it(url):
    mine = durable_engine(url.update_query_dict({"application_name": "slow"}), SCHEMA)
    with mine.begin() as connection:
        connection.execute(insert(NUMBERS).values(name=1, value=0))
    seen = []

    def take_over():
        other = durable_engine(url, SCHEMA)
        seen.append(value(other))
        other.dispose()

    thread = threading.Thread(target=take_over)
    with mine.begin() as connection:
        end_lock("slow")
        thread.start()
        thread.join(0.3)
        assert not seen
        connection.execute(update(NUMBERS).values(value=5))
    thread.join(10)
    mine.dispose()
    assert seen == [5]


def test_a_server_that_forgets_commits_is_refused(url):
    forgetful = url.update_query_dict({"options": url.query["options"] + " -csynchronous_commit=off"})
    with pytest.raises(SettingsError, match="loses commits in a power cut; set fsync"):
        durable_engine(forgetful, SCHEMA)


def test_an_account_without_a_right_is_told(url):
    role = f"r{os.urandom(4).hex()}"
    postgres_server.execute(f"CREATE ROLE {role} LOGIN")
    theirs, schema = url.set(username=role), url.query["options"].partition("=")[2]
    with pytest.raises(SettingsError, match="store: its PostgreSQL has no schema that the account may use"):
        durable_engine(theirs, SCHEMA)
    postgres_server.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
    with pytest.raises(StoreFailedError, match="store: its PostgreSQL denies the account a right"):
        durable_engine(theirs, SCHEMA)
    postgres_server.execute(f"GRANT CREATE ON SCHEMA {schema} TO {role}")
    durable_engine(theirs, SCHEMA).dispose()


@pytest.mark.parametrize("where", ["postgresql://user:pass-word@127.0.0.1:1/x"])
def test_an_address_that_is_wrong_is_not_repeated(where):
    with pytest.raises(StoreFailedError, match="does not answer") as refused:
        durable_engine(make_url(where), SCHEMA)
    assert "pass-word" not in str(refused.value)
    assert "user" not in str(refused.value)
    assert refused.value.exit_code == 2
