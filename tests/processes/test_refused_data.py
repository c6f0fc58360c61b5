"""A department's wrong data in a real federation: one line that names the department and no cell, and life goes on."""

import csv
import json
from contextlib import contextmanager

import pytest
from processes.small_world import PEOPLE, plain_answers, resident_id, tables

SECRET = "47110815"  # a wage that no line, log or report may show; longer than a moment's digits in a log


@contextmanager
def changed(federation, department, data):
    """The department's file with other data, or without any."""
    path = federation.data(department)
    path.unlink() if data is None else path.write_bytes(data)
    try:
        yield path
    finally:
        path.write_text(tables()[department], encoding="utf-8")


def refused_rows(count, *, garbled=b""):
    """The tax bureau's file with rows of well-formed numbers whose wage is no number, or garbled."""
    wrong = garbled or SECRET.encode() + b"!"
    rows = b"".join(resident_id(1000 + row).encode() + b"," + wrong + b"\n" for row in range(count))
    return tables()["tax"].encode() + rows


NO_ID = tables()["tax"].replace("id_number", "number").encode()
SHORT = "id_number,wage\n" + "".join(f"{SECRET}{row},1\n" for row in range(6))  # the limit is five rows
RAGGED = tables()["tax"] + f"1,{SECRET},3\n" * 6
NOT_UTF8 = tables()["tax"].encode() + b"".join(b"\xb0\xa1%d,1\n" % row for row in range(6))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (NO_ID, "there is no column 'id_number'"),
        (None, "there is no such file"),
        (b"", "the file is empty"),
        (SHORT.encode(), "tax.income: more rows are refused than the catalog's refused_at_most"),
        (RAGGED.encode(), "tax.income: more rows are refused"),
        (NOT_UTF8, "tax.income: more rows are refused"),
        (tables()["tax"].encode() + b'"1,2\n', "quotation marks is odd"),
    ],
    ids=["identifier column", "missing", "empty", "identifiers", "ragged", "not UTF-8", "quotation mark"],
)
def test_a_linkage_is_refused(linked, data, said):
    with changed(linked, "tax", data):
        error = linked.refused(linked.link)
    assert error.exit_code == 4
    assert str(error).startswith("tax: this department's data is refused: ")
    assert said in str(error)
    assert "; " in str(error)
    assert SECRET not in str(error) + linked.log("tax")
    assert PEOPLE[0].id not in linked.log("tax")


def test_the_owner_gets_the_list_of_the_rows_that_stopped_the_run(linked):
    with changed(linked, "tax", SHORT.encode()):
        linked.refused(linked.link)
    with (linked.out / "reports" / "tax" / "refused.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["table"], row["row"], row["reason"]) for row in rows] == [
        ("income", str(row), "identifier: length") for row in range(1, 7)
    ]
    report = json.loads((linked.out / "reports" / "tax" / "linkage.json").read_text())
    assert report["refused_identifiers"] == {"length": 6}


def test_a_department_that_dials_out_says_the_same(linked):
    with changed(linked, "police", None):
        error = linked.refused(linked.link)
    assert error.exit_code == 4
    assert str(error).startswith("police: this department's data is refused: ")
    assert "there is no such file" in str(error)


def test_a_job_is_refused_where_a_cell_is_wrong_that_no_linkage_reads(linked):
    linked.link()
    anna = next(person for person in PEOPLE if person.wage is not None)
    outside = tables()["tax"].replace(f"{anna.id},{anna.wage}\n", f"{anna.id},{SECRET}000000\n").encode()
    for data, said in (
        (outside, "a value is outside the range that the catalog declares"),
        (refused_rows(6), "more rows are refused than the catalog's refused_at_most"),
    ):
        with changed(linked, "tax", data):
            error = linked.refused(lambda: linked.run("supplement"))
        assert (error.exit_code, said in str(error)) == (4, True), str(error)
        assert str(error).startswith("tax: ")
        assert SECRET not in str(error) + linked.log("tax")
    assert linked.run("supplement") == plain_answers()["supplement"]


def test_more_people_among_than_the_policy_allows(linked):
    linked.link()
    linked.policies["crowd"] = linked.policies["supplement"].replace(
        "among_at_most: 1000", "among_at_most: 3"
    )
    error = linked.refused(lambda: linked.run("crowd"))
    assert error.exit_code == 5
    assert str(error) == (
        "social: the job is refused: among: selects more people than among_at_most allows (3); "
        "narrow it, or have a higher ceiling approved"
    )


def test_a_policy_that_a_node_refuses_although_the_office_sends_it(linked):
    linked.policies["note"] = linked.policies["old-age"].replace("age >= 80", "note = 'x'")
    error = linked.refused(lambda: linked.run("note"))
    assert error.exit_code == 3
    assert str(error).startswith("police: the policy is refused: ")
    assert "note of police is not shared (release: never)" in str(error)


def test_afterwards_everything_still_works(linked):
    linked.link()
    assert linked.run("supplement") == plain_answers()["supplement"]
