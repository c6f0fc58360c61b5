"""`veilmatch bench` as reviewers meet it: its files of experiments, its report, and what a small one measures."""

import json
import re
import statistics
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pyarrow as pa
import pytest
from command_line import run_here

from veilmatch.bench import peers
from veilmatch.bench.changes import changes
from veilmatch.bench.experiments import SHIPPED, load_experiments
from veilmatch.bench.federation_data import write_tables
from veilmatch.bench.kinds import run as run_kind
from veilmatch.bench.plain_join import plain_join
from veilmatch.bench.questions import PolicyKind, write_questions
from veilmatch.bench.report import Case, ExperimentReport, Measure, Report, Role, read_report
from veilmatch.departments import load_departments, load_policies, today
from veilmatch.plaintext import eligible

TINY = """
title: As small as it gets
experiments:
  runs:
    kind: run
    people: 300
    departments: 2
    policies: [total, total-twice]
    key_bits: 2048
    linkage: shared-key
    rounds: 1
  identities: {kind: linkage, people: 5, rounds: 2}
  tests: {kind: comparison, people: 640, tests: zero, rounds: 3}
"""

SHARED_REGISTER = "slots: register, linkage: shared-key}}"


# The file.


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("experiments: {}", "x.yaml:1: experiments: "),
        ("experiments:\n  a: {kind: walk}", "x.yaml:2: experiments.a.kind: 'walk' is no kind"),
        ("experiments:\n  a: {rounds: 2}", "x.yaml:2: experiments.a: the key 'kind' is missing"),
        ("experiments:\n  a: run", "x.yaml:2: experiments.a: expected keys with values"),
        (
            "experiments:\n  a: {kind: linkage, peple: 5}",
            "experiments.a.peple: there is no key 'peple'; did you mean",
        ),
        (
            "experiments:\n  a: {kind: linkage, rounds: 0}",
            "experiments.a.rounds: expected 1 or more, found 0",
        ),
        (
            "experiments:\n  a: {kind: run, policies: and, departments: 2, people: 7}",
            "expected 100 or more, found 7",
        ),
        (
            "experiments:\n  a: {kind: run, policies: or, departments: 2, people: 700}",
            "experiments.a.policies.1: ",
        ),
        (
            "experiments:\n  a: {kind: run, policies: and, departments: 99, people: 700}",
            "experiments.a.departments.1: ",
        ),
        (
            "experiments:\n  a: {kind: run, policies: and, departments: 2, people: 700, slots: register}",
            "register slots need a policy that names a register",
        ),
        (
            "experiments: {a: {kind: run, people: 700, departments: 2, policies: and, " + SHARED_REGISTER,
            "register slots need the OPRF",
        ),
        ("experiments:\n  a: {kind: ciphertexts, key_bits: 1024}", "expected 2048 or more, found 1024"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path, capsys, monkeypatch, text, line):
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(text + "\n")
    ended = run_here(capsys, "bench", "x.yaml", "--out", "out")
    assert ended.code == 2
    [said] = ended.err.splitlines()
    assert said.startswith("x.yaml")
    assert line in said
    assert not Path("out").exists()


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped_is_read(name):
    experiments = load_experiments(name)
    assert experiments.title
    assert all(experiment.title for experiment in experiments.experiments.values())


def test_an_experiment_that_is_not_there_and_a_report_that_is_none_are_refused(tmp_path, capsys):
    ended = run_here(capsys, "bench", "--only", "run", "--out", tmp_path)
    assert (ended.code, ended.line()) == (2, ended.err.strip())
    assert "did you mean 'runs'" in ended.err
    (tmp_path / "r.json").write_text("{}")
    ended = run_here(capsys, "bench", "--against", tmp_path / "r.json", "--out", tmp_path)
    assert ended.code == 2
    assert "is no report" in ended.line()


def test_rounds_of_the_command_line_go_before_the_files():
    chosen = load_experiments("quick").only("runs", 7)
    assert [(name, experiment.rounds) for name, experiment in chosen.items()] == [("runs", 7)]


# A small one, end to end.


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The tiny experiments' folder, and the report in it; peers are absent, whatever this machine has."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "tiny.yaml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peers, "_installed", lambda _: False)
        patch.setattr(peers, "_uv", lambda: ("false",))
        # `run_here` wants a fixture that reads standard output; a module's has none.
        capsys = SimpleNamespace(readouterr=lambda: SimpleNamespace(out="", err=""))
        ended = run_here(capsys, "bench", folder / "tiny.yaml", "--out", folder / "out")
    assert ended.code == 0
    return folder / "out", json.loads((folder / "out" / "report.json").read_text())


def test_every_number_follows_from_the_samples(measured):
    _, report = measured
    assert [experiment["name"] for experiment in report["experiments"]] == ["runs", "identities", "tests"]
    for experiment in report["experiments"]:
        for case in experiment["cases"]:
            assert case["error"] is None
            [ours] = [measure for measure in case["measures"] if measure["role"] == "ours"]
            assert len(ours["samples"]) == experiment["rounds"]
            by_name = {measure["name"]: measure for measure in case["measures"]}
            for measure in case["measures"]:
                samples = measure["samples"]
                expected = {"min": min(samples), "median": statistics.median(samples), "max": max(samples)}
                assert measure["spread"] == expected
                assert measure["per_item"] == pytest.approx(
                    {k: v / measure["items"] for k, v in expected.items()}
                )
            for ratio in case["ratios"]:
                other = by_name[ratio["beside"]]
                each = [
                    one / ours["items"] / (its / other["items"])
                    for one, its in zip(ours["samples"], other["samples"], strict=True)
                ]
                assert ratio["samples"] == pytest.approx(each)
                assert ratio["spread"] == pytest.approx(
                    {"min": min(each), "median": statistics.median(each), "max": max(each)}
                )


def test_a_run_has_stages_bytes_memory_and_its_floors(measured):
    _, report = measured
    alone, twice = report["experiments"][0]["cases"]
    assert [case["parameters"]["policy"] for case in (alone, twice)] == ["total", "total-twice"]
    names = {measure["name"] for measure in alone["measures"]}
    assert {"after linkage", "contribute", "combine", "open", "circuit", "linkage"} <= names
    members = {
        "register",
        "social",
        "dealer",
        "coordinator",
    }  # two departments have a part each: a third deals
    assert {f"memory of {name}" for name in members} <= names
    assert {f"bytes of {name}" for name in ("register", "social")} <= names
    beside = [ratio["beside"] for ratio in twice["ratios"]]
    assert beside == ["DuckDB, files read", "DuckDB, tables loaded", "the first policy alone"]
    [peak] = [m["samples"][0] for m in alone["measures"] if m["name"] == "memory of the largest process"]
    assert peak == max(m["samples"][0] for m in alone["measures"] if m["name"].startswith("memory of "))
    assert peak > 50  # MiB: an interpreter that has imported DuckDB


def test_absent_peers_are_skipped_and_said_to_be(measured):
    out, report = measured
    [case] = report["experiments"][1]["cases"]
    [skipped] = case["skipped"]
    assert skipped["peer"] == "OpenMined PSI"
    assert re.search(r"is not installed; `uv sync --script \S+openmined_psi.py` fetches it", skipped["why"])
    for name in ("report.md", "report.html"):
        assert "OpenMined PSI" in (out / name).read_text()


def test_the_page_is_whole_and_asks_for_nothing_else(measured):
    out, _ = measured
    text = (out / "report.html").read_text()
    page = ET.fromstring(text[text.index("<html") :])
    svg = "{http://www.w3.org/2000/svg}svg"
    titles = [drawing[0].text for drawing in page.iter(svg)]
    assert "Stages, each as a share of their sum (they overlap)" in titles
    assert "Ours divided by floors and peers: min, median, max" in titles
    assert not list(page.iter("script"))
    assert not re.search(r'(src|href)="', text)
    assert {path.name for path in out.iterdir()} == {
        "report.json",
        "report.md",
        "report.html",
    }  # nothing is left


def test_machine_and_versions_are_named(measured):
    _, report = measured
    assert report["machine"].keys() == {"processor", "cores", "memory_bytes", "system", "python", "load"}
    assert {"gmpy2", "GMP", "rbcl", "duckdb", "pycryptodome", "veilmatch"} <= report["versions"].keys()


# Reports.


def report_of(*seconds: float) -> Report:
    measures = (
        Measure(name="veilmatch", role=Role.OURS, items=10, samples=seconds),
        Measure(name="bare", role=Role.FLOOR, items=5, samples=tuple(1.0 for _ in seconds)),
    )
    case = Case(parameters={"people": 10}, item="person", measures=measures)
    experiment = ExperimentReport(name="a", kind="linkage", title="", rounds=len(seconds), cases=(case,))
    machine = {"processor": "", "cores": 1, "memory_bytes": 1, "system": "", "python": "", "load": 0}
    return Report(began="", ended="", machine=machine, versions={}, experiments=(experiment,))


def test_a_report_is_read_as_it_was_written(tmp_path):
    (tmp_path / "report.json").write_text(report_of(1.0, 2.0).to_json())
    assert read_report(tmp_path / "report.json") == report_of(1.0, 2.0)


def test_changes_are_medians_and_apart_where_samples_do_not_meet():
    time, ratio = changes(report_of(2.0, 4.0, 3.0), report_of(1.0, 1.5, 1.9))
    assert (time.figure, time.unit, time.ratio, time.apart) == ("time a person", "s", 2.0, True)
    assert (ratio.figure, ratio.ratio) == ("ours / bare", 2.0)
    assert ratio.now.median == 3.0 / 10 / (1.0 / 5)  # an item each
    time, _ = changes(report_of(2.0, 1.8), report_of(1.0, 1.9))
    assert not time.apart
    assert changes(report_of(1.0), None) == []


# The data and its questions.


@pytest.mark.parametrize("kind", PolicyKind)
def test_the_join_answers_the_policys_question(tmp_path, kind):
    tables = write_tables(tmp_path / "departments", 600, 4)
    loaded = load_departments(tables.folder)
    with plain_join(tables) as plain:
        for question in write_questions(tmp_path, kind, tables.departments):
            [policy] = load_policies([question.path])
            found = plain.answer(question).to_pylist()
            assert found == eligible(policy, loaded, today()).identifiers
            assert 0.02 < len(found) / tables.people < 0.9
            assert plain.from_files(question) > 0


def test_new_people_change_nothing_for_the_earlier_ones(tmp_path):
    before = write_tables(tmp_path / "a", 500, 3, of=600)
    after = write_tables(tmp_path / "b", 600, 3, of=600)
    for name in before.departments:
        earlier, later = (tables.file(name).read_text().splitlines() for tables in (before, after))
        assert set(earlier) < set(later)
        assert len(set(earlier)) == len(earlier)


# Wrong answers.


def test_a_run_with_another_answer_than_the_plaintext_one_is_an_error(tmp_path, capsys, monkeypatch):
    (tmp_path / "tiny.yaml").write_text(TINY)
    found = pa.array(["1"])

    def answered(_folder, _loaded, jobs, _settings, _bars):
        for job in jobs.values():
            job.add(*run_kind._AFTER_LINKAGE[:2], 1.0)
            run_kind._compare(job, job.policies[0], job.answers[0], found)

    monkeypatch.setattr(run_kind, "_round", answered)
    ended = run_here(capsys, "bench", tmp_path / "tiny.yaml", "--only", "runs", "--out", tmp_path / "out")
    assert ended.code == 5
    assert "total differs from the plaintext answer" in ended.line(quiet=False)
    report = read_report(tmp_path / "out" / "report.json")
    assert len(report.failures()) == 2
    assert "FAILED" in (tmp_path / "out" / "report.md").read_text()
