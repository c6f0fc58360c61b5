"""A department as a whole: people over all tables, duplicates, limits, and what stays locked."""

import csv
import subprocess
import sys
import time

import duckdb
import pytest
from department_files import ANNA, BODO, CARL, DAY, DORA, catalog, listed, read, table

from veilmatch_node.errors import DataError, NodeError
from veilmatch_node.report import write_refused
from veilmatch_node.source import TooManyRefusedError, load
from veilmatch_policy.catalog import parse_catalog

WAGE = ["wage: {type: integer}"]


def test_people_are_numbered_by_their_linkage_input(tmp_path):
    department = read(tmp_path, WAGE, f"id,wage\n{DORA},4\n{ANNA},1\n{BODO},2\n")
    assert department.people == 3
    assert department.identifiers.to_pylist() == [ANNA, BODO, DORA]
    assert department.inputs.to_pylist() == [
        b"cn-resident-id\0" + form.encode() for form in (ANNA, BODO, DORA)
    ]
    assert department.connection.execute(
        'SELECT person, wage FROM "t_people" ORDER BY person'
    ).fetchall() == [
        (0, 1),
        (1, 2),
        (2, 4),
    ]


def test_types_of_the_table(tmp_path):
    department = read(
        tmp_path,
        [
            "i: {type: integer}",
            "d: {type: decimal(2)}",
            "t: {type: text}",
            "b: {type: boolean}",
            "day: {type: date}",
        ],
        f"id,i,d,t,b,day\n{ANNA},1,2,x,1,2020-01-01\n",
    )
    described = department.connection.execute('DESCRIBE "t_people"').fetchall()
    assert [row[:2] for row in described] == [
        ("person", "INTEGER"),
        ("unreadable", "BOOLEAN"),
        ("i", "BIGINT"),
        ("d", "DECIMAL(20,2)"),
        ("t", "VARCHAR"),
        ("b", "BOOLEAN"),
        ("day", "DATE"),
    ]


def test_only_needed_columns_are_read_and_people_are_the_same(tmp_path):
    data = f"id,wage,rent\n{ANNA},1,x\n{BODO},2,3\n"
    columns = [*WAGE, "rent: {type: integer, range: [0, 2]}"]
    with pytest.raises(DataError):
        read(tmp_path, columns, data)
    some = read(tmp_path, columns, data, needed={"wage"})
    none = read(tmp_path, columns, data, needed=set())
    assert table(some) == [(ANNA, False, 1), (BODO, False, 2)]
    assert table(none) == [(ANNA, False), (BODO, False)]
    assert some.inputs.equals(none.inputs)


def test_refused_identifiers_are_dropped_counted_and_listed(tmp_path):
    wrong = ANNA[:-1] + ("0" if ANNA[-1] != "0" else "1")
    department = read(tmp_path, WAGE, f"id,wage\n{wrong},x\n,2\n{BODO},3\n123,4\n")
    assert table(department) == [(BODO, False, 3)]
    # The wage of a row that is left out is nobody's business.
    assert listed(department) == [
        (1, "identifier: check digit"),
        (2, "identifier: empty"),
        (4, "identifier: length"),
    ]
    [report] = department.report.tables
    assert (report.rows, report.people, report.refused) == (4, 1, 3)
    assert report.identifiers_refused == {"check digit": 1, "empty": 1, "length": 1}


def test_identical_rows_merge_and_different_ones_conflict(tmp_path):
    columns = [*WAGE, "name: {type: text}"]
    data = (
        f"id,wage,name,note\n{ANNA},1,A,x\n{BODO},2,,y\n{ANNA.lower()},+1,A,z\n{CARL},3,C,\n"
        f"{BODO},2,B,\n{DORA},,,\n{DORA},,,\n{BODO},2,,\n"
    )
    department = read(tmp_path, columns, data)
    assert table(department) == [
        (ANNA, False, 1, "A"),
        (BODO, True, 2, None),
        (CARL, False, 3, "C"),
        (DORA, False, None, None),
    ]
    assert listed(department) == [(row, "conflicting duplicate") for row in (2, 5, 8)]
    [report] = department.report.tables
    assert (report.rows, report.people, report.duplicates) == (8, 4, 2)
    # Where only the wage is asked for, Bodo's rows say the same.
    assert listed(read(tmp_path, columns, data, needed={"wage"})) == []


def test_an_unreadable_row_does_not_merge_with_a_readable_one(tmp_path):
    department = read(tmp_path, WAGE, f"id,wage\n{ANNA},\n{ANNA},x\n{BODO},y\n{BODO},z\n")
    assert table(department) == [(ANNA, True, None), (BODO, True, None)]
    assert (1, "conflicting duplicate") in listed(department)
    assert department.report.tables[0].duplicates == 1


def test_many_rows_a_person_stay(tmp_path):
    department = read(tmp_path, WAGE, f"id,wage\n{ANNA},1\n{ANNA},1\n{ANNA},2\n", rows="many")
    assert table(department) == [(ANNA, False, 1), (ANNA, False, 1), (ANNA, False, 2)]
    assert department.report.tables[0].duplicates == 0


def test_people_of_several_tables_and_schemes(tmp_path):
    (tmp_path / "a.csv").write_text(f"id,wage\n{BODO},1\n{ANNA},2\n")
    (tmp_path / "b.csv").write_text(f"nr,rent\n {ANNA} ,3\n{CARL},4\n")
    (tmp_path / "c.csv").write_text(f"nr,dog\n{ANNA},rex\n")
    department = load(
        parse_catalog(
            b"""
department: tax
tables:
  a: {source: a.csv, id: id, identifier: cn-resident-id, columns: {wage: {type: integer}}}
  b: {source: b.csv, id: nr, identifier: cn-resident-id, columns: {rent: {type: integer}}}
  c: {source: c.csv, id: nr, identifier: opaque, columns: {dog: {type: text}}}
""",
            "tax/catalog.yaml",
        ),
        tmp_path,
        reference_date=DAY,
    )
    # The same characters under another scheme are another input.
    assert department.people == department.report.people == 4
    assert table(department, "a") == [(ANNA, False, 2), (BODO, False, 1)]
    assert table(department, "b") == [(ANNA, False, 3), (CARL, False, 4)]
    assert [report.people for report in department.report.tables] == [2, 2, 1]


@pytest.mark.parametrize(
    ("limit", "stops"), [("1", True), ("2", False), ("49%", True), ("50%", False), ("0", True)]
)
def test_past_the_catalogs_limit_the_run_stops_with_the_list(tmp_path, limit, stops):
    data = f"id,wage\n{ANNA},x\n{BODO},1\n123,2\n{CARL},3\n"
    more = f"    refused_at_most: {limit}\n"
    if not stops:
        assert read(tmp_path, WAGE, data, more=more).report.tables[0].refused == 2
        return
    with pytest.raises(TooManyRefusedError, match="2 of 4 rows are refused") as refused:
        read(tmp_path, WAGE, data, more=more)
    assert [row for row, _ in refused.value.report.tables[0].listed] == [1, 3]


def test_refused_csv_holds_rows_and_reasons_and_is_the_owners(tmp_path):
    department = read(tmp_path, WAGE, f"id,wage\n{ANNA},secret\n123,1\n")
    path = tmp_path / "refused.csv"
    write_refused(department.report, path)
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["table", "row", "reason"],
            ["people", "1", "column wage is not an integer"],
            ["people", "2", "identifier: length"],
        ]


def test_the_connection_is_locked(tmp_path):
    department = read(tmp_path, WAGE, f"id,wage\n{ANNA},1\n")
    for statement in (
        f"SELECT * FROM read_csv('{tmp_path}/people.csv')",
        f"COPY t_people TO '{tmp_path}/stolen.csv'",
        f"ATTACH '{tmp_path}/x.db'",
        "SET enable_external_access = true",
        "SET memory_limit = '64GB'",
        "INSTALL httpfs",
        "SELECT * FROM department",  # a variable of this process
    ):
        with pytest.raises(duckdb.Error):
            department.connection.execute(statement)
    assert not (tmp_path / "stolen.csv").exists()


def test_nothing_personal_prints(tmp_path):
    department = read(tmp_path, WAGE, f"id,wage\n{ANNA},4711\n")
    assert ANNA not in repr(department)
    assert "4711" not in repr(department)


def test_errors_have_one_root():
    assert issubclass(TooManyRefusedError, DataError)
    assert issubclass(DataError, NodeError)


LARGE = """
import sys, time
from datetime import date
from pathlib import Path
from veilmatch_node.source import load
from veilmatch_policy.catalog import load_catalog
folder = Path(sys.argv[1])
catalog = load_catalog(folder / "catalog.yaml")
started = time.perf_counter()
department = load(catalog, folder, reference_date=date(2025, 12, 31))
seconds = time.perf_counter() - started
# Not ru_maxrss: that begins with what the process was before it became this program.
peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
print(department.people, seconds, peak)
"""


def test_two_hundred_thousand_rows(tmp_path):
    """In a process of its own, for its peak of memory; the limits leave room for a busy machine."""
    (tmp_path / "catalog.yaml").write_text("""
department: tax
tables:
  people:
    source: people.csv
    id: id
    identifier: opaque
    columns:
      wage: {type: integer, range: [0, 5000]}
      rent: {type: decimal(2), expression: "cast(replace(rent, ',', '') as decimal(12,2)) * 12"}
      sex: {type: text}
      born: {type: date, expression: "strptime(born, '%Y%m%d')"}
      alive: {type: boolean}
    codes: {sex: {M: male, F: female}}
""")
    with (tmp_path / "people.csv").open("w") as file:
        file.write("id,wage,rent,sex,born,alive\n")
        file.writelines(
            f'{i:018d},{i % 5000},"{i % 5000:,}.50",{"MF"[i % 2]},1946{i % 12 + 1:02d}01,{i % 2}\n'
            for i in range(200_000)
        )
    before = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", LARGE, tmp_path], capture_output=True, text=True, check=True)
    people, seconds, peak = done.stdout.split()
    assert people == "200000"
    assert float(seconds) < 10 > time.perf_counter() - before - 10
    assert int(peak) < 500 * 1024  # KiB


def test_a_catalog_without_columns_still_counts_people(tmp_path):
    (tmp_path / "people.csv").write_text(f"id\n{ANNA}\n{ANNA}\n")
    department = load(catalog([]), tmp_path, reference_date=DAY)
    assert (department.people, department.report.tables[0].duplicates) == (1, 1)
