"""Shows what a node writes for its owner: whole, the owner's alone, and no people beside a job that is refused."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from veilmatch_node import whole_file
from veilmatch_node.errors import JobRefusedError
from veilmatch_node.report import Report, TableReport, write_report
from veilmatch_node.results import Found, JobFigures, encode_files, result_files, write_files
from veilmatch_node.whole_file import write_whole
from veilmatch_policy.result import STAGES

SECONDS = dict.fromkeys(STAGES, 1.0)
BYTES = {"social": 1, "tax": 2}
POLICY = SimpleNamespace(name="aid", version=1, digest=b"p")
MANIFEST = SimpleNamespace(
    draft=SimpleNamespace(job="j", linkage="oprf", key_bits=2048, participants=("social", "tax"), padded=9),
)


def write_result(folder, *parts):
    write_files(folder, encode_files([result_files(*parts)]))


@pytest.mark.parametrize(
    "figures",
    [
        JobFigures({**SECONDS, "open": math.nan}, BYTES, BYTES),
        JobFigures({**SECONDS, "open": math.inf}, BYTES, BYTES),
        JobFigures({**SECONDS, "open": -1.0}, BYTES, BYTES),
        JobFigures({"total": 1.0}, BYTES, BYTES),
        JobFigures(SECONDS, {"tax": 2}, BYTES),
        JobFigures(SECONDS, BYTES, {}),
    ],
)
def test_no_people_are_written_beside_figures_that_are_none(tmp_path, figures):
    with pytest.raises(JobRefusedError, match="without a time for every stage"):
        write_result(tmp_path, MANIFEST, POLICY, Found(pa.array(["1"])), figures, None)
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_runs_people_are_gone_before_the_new_result_is_there(tmp_path, monkeypatch):
    figures = JobFigures(SECONDS, BYTES, BYTES)
    write_result(tmp_path, MANIFEST, POLICY, Found(pa.array(["2", "1"])), figures, None)
    people = tmp_path / "aid" / "eligible.csv"
    assert people.read_text() == "id\n1\n2\n"

    def disk_is_full(path, _data):
        raise OSError(path)

    monkeypatch.setattr("veilmatch_node.results.write_whole", disk_is_full)
    with pytest.raises(OSError, match=r"result\.json"):
        write_result(tmp_path, MANIFEST, POLICY, Found(pa.array(["3"])), figures, None)
    assert not people.exists()


def test_a_household_policy_lists_each_person_with_the_label_and_counts_households(tmp_path):
    found = Found(pa.array(["2", "1", "3"]), np.array([70, 9, 70], np.uint32))
    write_result(tmp_path, MANIFEST, POLICY, found, JobFigures(SECONDS, BYTES, BYTES), 6)
    assert (tmp_path / "aid" / "eligible.csv").read_text() == "id,household\n1,9\n2,70\n3,70\n"
    result = json.loads((tmp_path / "aid" / "result.json").read_text())
    assert (result["eligible"], result["households"]) == (2, 6)
    assert repr(found) == "Found(2)"


def test_reports_are_the_owners_also_over_files_that_others_could_read(tmp_path):
    report = Report("tax", 1, (TableReport("income", 1, 1, 0, {}, ()),))
    for name in ("linkage.json", "refused.csv"):
        (tmp_path / name).touch(mode=0o644)
        (tmp_path / name).chmod(0o644)
    write_report(report, tmp_path)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "linkage.json": 0o600,
        "refused.csv": 0o600,
    }


def test_a_file_is_the_old_one_or_the_new_one(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_whole(path, b"old")

    def fails(_descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(whole_file.os, "fsync", fails)
    with pytest.raises(OSError, match="no space left"):
        write_whole(path, b"new")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("f", b"old")]
