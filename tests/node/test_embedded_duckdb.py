"""The process's DuckDB: readings do not see each other, give their memory back, and survive a broken instance."""

import os
import subprocess
import sys
import threading

import duckdb
import pyarrow as pa
import pytest
from department_files import ANNA, BODO, read, table

from veilmatch_node import embedded
from veilmatch_node.errors import DataError

WAGE = ["wage: {type: integer}"]


@pytest.fixture
def fresh(monkeypatch):
    """No instance yet, and none of the test's own left behind."""
    monkeypatch.setattr(embedded, "_instances", {})


def in_use():
    """Bytes that DuckDB holds for all connections of the process."""
    with embedded.connect() as connection:
        [(used,)] = connection.execute("SELECT sum(memory_usage_bytes) FROM duckdb_memory()").fetchall()
    return used


def test_readings_at_the_same_time_do_not_see_each_other(tmp_path):
    """Threads that read different data under the same names, each again and again."""
    found, together = {}, threading.Barrier(4)

    def reading(number):
        folder = tmp_path / str(number)
        folder.mkdir()
        together.wait()
        found[number] = [
            table(read(folder, WAGE, f"id,wage\n{ANNA},{number}\n{BODO},{again}\n{ANNA},{number}\n"))
            for again in range(4)
        ]

    threads = [threading.Thread(target=reading, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {
        number: [[(ANNA, False, number), (BODO, False, again)] for again in range(4)] for number in range(4)
    }


def test_what_a_connection_registers_is_its_own():
    with embedded.connect() as first, embedded.connect() as second:
        first.register("cells", pa.table({"a": [1]}))
        with pytest.raises(duckdb.CatalogException):
            second.execute("SELECT * FROM cells")
        second.register("cells", pa.table({"a": [2]}))
        assert first.execute("SELECT a FROM cells").fetchall() == [(1,)]
        first.unregister("cells")
        assert second.execute("SELECT a FROM cells").fetchall() == [(2,)]


def test_nothing_of_a_reading_outlives_it(tmp_path):
    before = in_use()
    with read(tmp_path, WAGE, f"id,wage\n{ANNA},1\n{BODO},2\n") as department, embedded.connect() as other:
        tables = "SELECT table_name, temporary FROM duckdb_tables()"
        assert department.connection.execute(tables).fetchall() == [("t_people", True)]
        # Nobody else's, and not the instance's: that would stay.
        assert other.execute(tables).fetchall() == []
        assert in_use() > before
    assert in_use() == before


def test_a_reading_that_is_refused_leaves_nothing(tmp_path):
    before = in_use()
    with pytest.raises(Exception, match="range"):
        read(tmp_path, ["wage: {type: integer, range: [0, 1]}"], f"id,wage\n{ANNA},5\n")
    assert in_use() == before


def test_memory_that_another_reading_has_is_told_as_that(fresh, monkeypatch, tmp_path):
    monkeypatch.setitem(embedded._SETTINGS, "memory_limit", "8MB")
    payments = "id,wage\n" + f"{ANNA},1\n" * 200_000
    with embedded.connect() as other:
        other.execute("CREATE TEMPORARY TABLE held AS SELECT random() AS x FROM range(700_000)")
        with pytest.raises(DataError, match="more memory than DuckDB has here; run fewer jobs at a time"):
            read(tmp_path, WAGE, payments, rows="many")
    assert read(tmp_path, WAGE, payments, rows="many").people == 1


def test_settings_hold_for_every_connection():
    with embedded.connect() as first, embedded.connect() as second:
        for connection in (first, second):
            for setting in ("threads = 2", "memory_limit = '64GB'", "disabled_optimizers = ''"):
                with pytest.raises(duckdb.InvalidInputException, match="locked"):
                    connection.execute(f"SET {setting}")
            [(optimizers,)] = connection.execute("SELECT current_setting('disabled_optimizers')").fetchall()
            assert optimizers == "common_subexpressions"


class Broken:
    """An instance after a fatal error, as DuckDB leaves it."""

    def cursor(self):
        return self

    def execute(self, _):
        raise duckdb.FatalException("database has been invalidated because of a previous fatal error")


def test_a_broken_instance_is_replaced_and_another_readings_goes_on(fresh, tmp_path):
    department = read(tmp_path, WAGE, f"id,wage\n{ANNA},1\n")
    old = embedded._instances[os.getpid()]
    embedded._instances[os.getpid()] = Broken()
    assert table(read(tmp_path, WAGE, f"id,wage\n{ANNA},2\n")) == [(ANNA, False, 2)]
    assert embedded._instances[os.getpid()] is not old
    assert table(department) == [(ANNA, False, 1)]


def test_a_closed_instance_is_replaced(fresh):
    embedded.connect().close()
    embedded._instances[os.getpid()].close()
    with embedded.connect() as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_without_a_descriptor_it_is_an_error_and_not_the_end_of_the_process():
    """In a process of its own: DuckDB would abort it.  A connection to an open instance takes none."""
    program = """
import resource
from veilmatch_node import embedded
from veilmatch_node.errors import DataError
def limit(files):
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
limit(3)
try:
    embedded.connect()
except OSError as error:
    print(error.strerror)
limit(soft)
embedded.connect().close()
limit(3)
with embedded.connect() as connection:
    connection.execute("CREATE TEMPORARY TABLE t AS SELECT range AS a FROM range(100_000)")
    print(connection.execute("SELECT count(*) FROM t").fetchall())
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, timeout=60, capture_output=True)
    assert done.stdout.decode().splitlines() == ["Too many open files", "[(100000,)]"]


def test_importing_a_node_opens_none_and_a_fork_opens_its_own():
    """The members of a local federation are forks of a process that has imported the whole node."""
    program = """
import os
import veilmatch_node.serve
from veilmatch_node import embedded
from veilmatch_node.errors import DataError
assert not embedded._instances
embedded.connect().close()
[instance] = embedded._instances.values()
if child := os.fork():
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
with embedded.connect() as connection:
    answer = connection.execute("SELECT 1").fetchall()
assert list(embedded._instances) == [os.getppid(), os.getpid()]
os._exit(0 if answer == [(1,)] else 1)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_memory_goes_back_to_the_system():
    """In a process of its own: 60 MB of temporary tables, closed, are not resident three seconds later."""
    program = """
import time
from pathlib import Path
from veilmatch_node import embedded
from veilmatch_node.errors import DataError
def resident():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) // 1024
embedded.connect().close()
before = resident()
with embedded.connect() as connection:
    connection.execute("CREATE TEMPORARY TABLE t AS SELECT range AS a, hash(range) AS b FROM range(4_000_000)")
    during = resident()
deadline = time.monotonic() + 30
while resident() > before + 20 and time.monotonic() < deadline:
    time.sleep(0.1)
print(before, during, resident())
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, timeout=60, capture_output=True)
    before, during, after = map(int, done.stdout.split())
    assert during > before + 50
    assert after <= before + 20


@pytest.mark.parametrize(("gigabytes", "limit"), [(4, "1.8 GiB"), (64, "16.0 GiB")])
def test_a_larger_machine_reads_more(gigabytes, limit):
    """In a process of its own: the limit is taken once, and there is one instance."""
    pages = gigabytes * 2**30 // os.sysconf("SC_PAGE_SIZE")
    program = f"""
import os
asked = os.sysconf
os.sysconf = lambda name: {pages} if name == "SC_PHYS_PAGES" else asked(name)
from veilmatch_node import embedded
from veilmatch_node.errors import DataError
with embedded.connect() as connection:
    print(connection.execute("SELECT current_setting('memory_limit')").fetchone()[0])
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == limit
