"""CSV in any encoding and Parquet: what is wrong with a file, and with a row of it."""

import csv
import io
from decimal import Decimal

import pyarrow as pa
import pytest
from department_files import ANNA, BODO, CARL, DAY, DORA, catalog, listed, read, table
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from veilmatch_node import files
from veilmatch_node.errors import DataError
from veilmatch_node.source import load
from veilmatch_policy.catalog import FileSource

NAME = ["name: {type: text}"]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-16-le", "big5", "cp936"]
)
def test_encodings(tmp_path, encoding):
    department = read(
        tmp_path,
        ["name: {type: text, expression: '姓名'}"],
        f"id,姓名\n{ANNA},王\n".encode(encoding),
        source=f"{{file: people.csv, encoding: {encoding}}}",
    )
    assert table(department) == [(ANNA, False, "王")]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path, encoding):
    department = read(
        tmp_path,
        NAME,
        f"\ufeffid,name\n{ANNA},王\n".encode(encoding),
        source=f"{{file: people.csv, encoding: {encoding}}}",
    )
    assert table(department) == [(ANNA, False, "王")]


def test_bytes_that_are_not_in_the_encoding_are_listed_by_row(tmp_path):
    data = f"id,name\n{ANNA},Ann\xe4\n{BODO},Bodo\n".encode("latin-1") + b"11019919\xff,Carl\n"
    department = read(tmp_path, NAME, data)
    assert listed(department) == [(1, "column name is not utf-8"), (3, "identifier: not utf-8")]
    assert table(department) == [(ANNA, True, None), (BODO, False, "Bodo")]
    assert department.report.tables[0].identifiers_refused == {"not utf-8": 1}


def test_a_column_that_is_not_needed_may_hold_anything(tmp_path):
    data = f"id,name,note\n{ANNA},Anna,".encode() + b"\xff\n"
    assert listed(read(tmp_path, NAME, data)) == []


def test_an_expression_over_a_garbled_cell_is_unreadable(tmp_path):
    data = f"id,a,b\n{ANNA},x,".encode() + b"\xff\n"
    department = read(tmp_path, ['name: {type: text, expression: "coalesce(b, a)"}'], data)
    assert table(department)[0][1] is True


def test_ragged_rows_are_listed_and_left_out(tmp_path):
    data = f'id,name\n{ANNA},"A\nA"\n{BODO},B,more\n\n{CARL}\n{DORA},D\n'
    department = read(tmp_path, NAME, data)
    # A row is a record: the line break in a quoted cell and the blank line do not count.
    assert listed(department) == [(2, "wrong number of cells"), (3, "wrong number of cells")]
    assert table(department) == [(ANNA, False, "A\nA"), (DORA, False, "D")]
    assert department.report.tables[0].rows == 4


def test_row_numbers_hold_over_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_BLOCK_BYTES", 256)
    monkeypatch.setattr(files, "_READ_BYTES", 100)
    (tmp_path / "f.csv").write_text(
        "id,a\n" + "".join(f"{i},1\n" if i % 7 else f"{i}\n" for i in range(1, 500))
    )
    [cells] = files.batches(
        tmp_path, FileSource(file="f.csv"), ["id", "a"], identifier="id", where="tax.people"
    )
    assert cells.ragged == tuple(range(7, 500, 7))
    assert cells.table["id"].to_pylist() == [str(row) for row in cells.rows]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_batches_are_the_file_in_parts(tmp_path, monkeypatch, suffix):
    """What becomes of the rows, people of several batches among them, does not depend on where batches end."""
    people = [ANNA, BODO, CARL, DORA]
    rows = [(people[i % 4] if i % 5 else "?", str(i % 4) if i % 11 else "x") for i in range(200)]
    if suffix == "csv":
        lines = [f"{i},{wage}\n" if n % 7 else f"{i}\n" for n, (i, wage) in enumerate(rows)]
        lines[150] = f"{ANNA},\ufffd\n"
        data = "id,wage\n" + "".join(lines)
        (tmp_path / "people.csv").write_text(data)
    else:
        columns = {
            name: pa.array(cells) for name, cells in zip(("id", "wage"), zip(*rows, strict=True), strict=True)
        }
        parquet.write_table(pa.table(columns), tmp_path / "people.parquet")
    listing = catalog(["wage: {type: integer}"], source=f"people.{suffix}")

    def found():
        department = load(listing, tmp_path, reference_date=DAY)
        return table(department), department.report

    whole = found()
    monkeypatch.setattr(files, "BATCH_ROWS", 30)
    monkeypatch.setattr(files, "_BLOCK_BYTES", 128)
    assert found() == whole
    source = FileSource(file=f"people.{suffix}")
    batches = list(files.batches(tmp_path, source, ["id"], identifier="id", where="tax.people"))
    assert len(batches) > 3
    numbers = [row for cells in batches for row in (*cells.rows.tolist(), *cells.ragged)]
    assert sorted(numbers) == list(range(1, 201))


def test_of_two_faults_the_files_own_is_told(tmp_path, monkeypatch):
    """A cell that is not closed may have made the other one."""
    monkeypatch.setattr(files, "BATCH_ROWS", 2)
    data = f'id,wage,note\n{ANNA},9,\n{BODO},2,\n{CARL},3,"\n'
    with pytest.raises(DataError, match="quotation marks is odd"):
        read(tmp_path, ["wage: {type: integer, range: [0, 5]}"], data)


cell = st.text(st.characters(codec="gb18030", exclude_characters="\r\0\ufffd\ufeff"), max_size=6)


@given(
    rows=st.lists(st.tuples(cell, cell), min_size=1, max_size=5),
    encoding=st.sampled_from(["utf-8", "gb18030", "utf-16"]),
)
def test_what_python_writes_is_read(tmp_path_factory, rows, encoding):
    folder = tmp_path_factory.mktemp("csv")
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("id", "a"), *rows])
    (folder / "f.csv").write_bytes(text.getvalue().encode(encoding))
    [cells] = files.batches(
        folder,
        FileSource(file="f.csv", encoding=encoding, null=()),
        ["id", "a"],
        identifier="id",
        where="tax.people",
    )
    assert list(zip(*(column.to_pylist() for column in cells.table.columns), strict=True)) == rows


def test_null_spellings_and_delimiter(tmp_path):
    department = read(
        tmp_path,
        ["a: {type: integer}", "b: {type: text}"],
        f"id;a;b\n{ANNA}; NULL ;-\n{BODO};;\n",
        source='{file: people.csv, delimiter: ";", null: ["NULL", "-"]}',
    )
    # An empty cell is no spelling of "nothing" here: no integer, but a text.
    assert table(department) == [(ANNA, False, None, None), (BODO, True, None, "")]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ("", "the file is empty"),
        ("\n\n", "cannot be cut into rows and cells"),
        (f"{ANNA},Anna\n{BODO},Bodo\n", "there is no column 'id'"),
        (f"id,note\n{ANNA},x\n", "there is no column 'name'"),
        (f"id,name,NAME\n{ANNA},x,y\n", "two columns have the same name .columns 2 and 3"),
        (f'id,name\n{ANNA},"Anna\n{BODO},Bodo\n', "the number of quotation marks is odd"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_line(tmp_path, data, what):
    with pytest.raises(DataError, match=what) as refused:
        read(tmp_path, NAME, data)
    message = str(refused.value)
    assert "\n" not in message
    assert ";" in message  # and says what to do
    assert not any(secret in message for secret in (ANNA, BODO, "Anna", "Bodo"))


def test_a_missing_or_unreadable_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        load(catalog(NAME), tmp_path, reference_date=DAY)
    (tmp_path / "people.csv").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        load(catalog(NAME), tmp_path, reference_date=DAY)


def test_a_header_without_rows_is_a_table_without_people(tmp_path):
    for data in ("id,name\n", "id,name"):
        department = read(tmp_path, NAME, data)
        assert department.people == 0
        assert table(department) == []


def test_a_row_longer_than_a_block_is_refused_without_being_quoted(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_BLOCK_BYTES", 64)
    with pytest.raises(DataError, match="cannot be cut into rows") as refused:
        read(tmp_path, NAME, f"id,name\n{ANNA}," + "x" * 200 + "\n")
    assert "xxx" not in str(refused.value)


class Counted(io.BufferedReader):
    """A file that counts what was read of it."""

    so_far = 0

    def read(self, size=-1):
        data = super().read(size)
        Counted.so_far += len(data)
        return data


def test_reading_is_streamed(tmp_path, monkeypatch):
    """No more than a batch and a few blocks are read ahead, and in memory of the columns that are asked for."""
    path = tmp_path / "f.csv"
    path.write_text("id,filler\n" + "".join(f"{i},{'x' * 190}\n" for i in range(400_000)))
    monkeypatch.setattr(files, "_open", lambda path, where: Counted(io.FileIO(path)))
    monkeypatch.setattr(Counted, "so_far", 0)
    size, before = path.stat().st_size, pa.total_allocated_bytes()
    ahead, most, rows = 0, 0, 0
    for cells in files.batches(
        tmp_path, FileSource(file="f.csv"), ["id"], identifier="id", where="tax.people"
    ):
        rows += cells.table.num_rows
        most = max(most, pa.total_allocated_bytes() - before)
        ahead = max(ahead, Counted.so_far - size * rows // 400_000)
    assert rows == 400_000
    assert Counted.so_far == size
    # Arrow reads some blocks ahead of a thread that gets no time: 20 MB, however long the file is.
    assert ahead < size / 2
    assert most < 8_000_000


def test_parquet(tmp_path):
    parquet.write_table(
        pa.table(
            {
                "id": [ANNA, BODO],
                "wage": pa.array([12, None], pa.int32()),
                "rent": pa.array([Decimal("1.50"), Decimal("2.00")], pa.decimal128(9, 2)),
                "share": [0.1, 0.2],
            }
        ),
        tmp_path / "people.parquet",
    )

    def load_columns(*columns):
        return load(catalog(columns, source="people.parquet"), tmp_path, reference_date=DAY)

    department = load_columns("wage: {type: integer}", "rent: {type: decimal(2)}")
    assert table(department) == [(ANNA, False, 12, Decimal("1.50")), (BODO, False, None, Decimal("2.00"))]
    with pytest.raises(DataError, match="column share is floating point"):
        load_columns("share: {type: decimal(2)}")
    (tmp_path / "people.parquet").write_text("id,wage\n")
    with pytest.raises(DataError, match="not a Parquet file"):
        load_columns("wage: {type: integer}")
