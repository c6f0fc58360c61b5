"""`veilmatch bench` as reviewers meet it: its files of experiments, and what a small one measures."""

import json
import re
import statistics
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest
from command_line import run_here

from veilmatch.bench import peers
from veilmatch.bench.experiments import SHIPPED, load_experiments
from veilmatch.bench.federation_data import write_tables
from veilmatch.bench.kinds import ciphertexts
from veilmatch.bench.plain_join import plain_join
from veilmatch.bench.questions import PolicyKind, write_questions
from veilmatch.departments import load_departments, load_policies, today
from veilmatch.plaintext import eligible

TINY = """
title: As small as <it> gets
experiments:
  runs:
    kind: run
    people: 300
    departments: 2
    policies: [and, total-twice]
    key_bits: 2048
    linkage: shared-key
    rounds: 1
  identities: {kind: linkage, people: 5, rounds: 2}
  tests: {kind: comparison, people: 640, rounds: 3}
  next: {kind: epoch, people: 100, departments: 2, new_per_cent: 5, gone_per_cent: 3, rounds: 1}
  one-core: {kind: ciphertexts, people: 1000, key_bits: 2048, rounds: 2}
"""
CHUNK = 8  # ciphertexts, instead of 512

SHARED_REGISTER = "slots: register, linkage: shared-key}}"


# The file.


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("experiments: {}", "x.yaml:1: experiments: no experiment; write at least one"),
        (
            "experiments:\n  a: {kind: [run]}",
            "x.yaml:2: experiments.a.kind: expected one value, found a list; there is",
        ),
        (
            "experiments:\n  a: {kind: linkage, people: []}",
            "experiments.a.people: an empty list; write at least one value",
        ),
        (
            "experiments:\n  a: {kind: epoch, people: 100, new_per_cent: 101}",
            "experiments.a.new_per_cent: expected 0 to 100, found 101; write a number in between",
        ),
        ("experiments:\n  a: {kind: walk}", "x.yaml:2: experiments.a.kind: 'walk' is no kind"),
        ("experiments:\n  a: {rounds: 2}", "x.yaml:2: experiments.a: the key 'kind' is missing"),
        ("experiments:\n  a: run", "x.yaml:2: experiments.a: expected keys with values"),
        (
            "experiments:\n  a: {kind: linkage, peple: 5}",
            "experiments.a.peple: there is no key 'peple'; did you mean",
        ),
        (
            "experiments:\n  a: {kind: linkage, rounds: 0}",
            "experiments.a.rounds: expected 1 to 1,000, found 0; write",
        ),
        (
            "experiments:\n  a: {kind: run, policies: and, departments: 2, people: 7}",
            "expected 100 to 10,000,000, found 7; write",
        ),
        (
            "experiments:\n  a: {kind: run, policies: or, departments: 2, people: 700}",
            "experiments.a.policies.1: 'or' is not measured; ",
        ),
        (
            "experiments:\n  a: {kind: run, policies: and, departments: 99, people: 700}",
            "experiments.a.departments.1: expected 2 to 12, found 99; write",
        ),
        (
            "experiments:\n  a: {kind: run, policies: and, departments: 2, people: 700, slots: register}",
            "register slots need a policy that names a register",
        ),
        (
            "experiments: {a: {kind: run, people: 700, departments: 2, policies: and, " + SHARED_REGISTER,
            "register slots need the OPRF",
        ),
        (
            "experiments:\n  a: {kind: ciphertexts, key_bits: 2560}",
            "keys have 2048 or 3072 bits, found 2560; write 2048 or 3072",
        ),
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


def test_a_name_that_is_no_file_and_not_shipped_is_refused_with_what_is(tmp_path, capsys):
    ended = run_here(capsys, "bench", "quik", "--out", tmp_path / "out")
    assert (ended.code, ended.line()) == (
        2,
        "quik: there is no such file; name one, or quick or full, which are shipped",
    )
    assert not (tmp_path / "out").exists()


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
        patch.setattr(ciphertexts, "CHUNK_CIPHERTEXTS", CHUNK)
        # `run_here` wants a fixture that reads standard output; a module's has none.
        capsys = SimpleNamespace(readouterr=lambda: SimpleNamespace(out="", err=""))
        ended = run_here(capsys, "bench", folder / "tiny.yaml", "--out", folder / "out")
    assert ended.code == 0
    return folder / "out", json.loads((folder / "out" / "report.json").read_text())


def test_every_number_follows_from_the_samples(measured):
    _, report = measured
    assert report["title"] == "As small as <it> gets"
    names = [experiment["name"] for experiment in report["experiments"]]
    assert names == ["runs", "identities", "tests", "next", "one-core"]
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
    alone, twice = report["experiments"][0]["cases"]  # total, the base of the second, is nobody's case
    assert [case["parameters"]["policy"] for case in (alone, twice)] == ["and", "total-twice"]
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
    assert re.search(r"\(exit code 1\); `false sync --script \S+openmined_psi.py` fetches it", skipped["why"])
    for name in ("report.md", "report.html"):
        assert "OpenMined PSI" in (out / name).read_text()


def test_the_page_is_whole_and_asks_for_nothing_else(measured):
    out, _ = measured
    text = (out / "report.html").read_text()
    page = ET.fromstring(text[text.index("<html") :])
    svg = "{http://www.w3.org/2000/svg}svg"
    titles = [drawing[0].text for drawing in page.iter(svg)]
    assert "Stages, each as a share of their sum (they overlap)" in titles
    assert "Ours divided by floors and peers: min, median, max; below 1 ours takes less" in titles
    assert "Ours divided by its base, which is ours too: min, median, max; below 1 ours takes less" in titles
    assert not list(page.iter("script"))
    assert not re.search(r'(src|href)="', text)
    assert {path.name for path in out.iterdir()} == {
        "report.json",
        "report.md",
        "report.html",
    }  # nothing is left


def test_an_epoch_is_divided_by_the_people_of_each(measured):
    _, report = measured
    [case] = report["experiments"][3]["cases"]
    assert [(m["name"], m["role"], m["items"]) for m in case["measures"]] == [
        ("linkage of the next epoch", "ours", 102),
        ("linkage of everybody", "base", 100),
    ]


def test_ciphertexts_have_a_case_an_operation(measured):
    _, report = measured
    cases = {case["parameters"]["operation"]: case for case in report["experiments"][4]["cases"]}
    assert list(cases) == ["keys", "encrypt", "contribution", "combine", "decrypt", "value"]
    assert cases["contribution"]["measures"][0]["items"] == CHUNK * 40  # people a ciphertext of 2048 bits
    floors = {name: [ratio["beside"] for ratio in case["ratios"]] for name, case in cases.items()}
    products = ["gmpy2, bare products"]
    assert floors["encrypt"] == floors["contribution"] == floors["combine"] == products
    assert floors["decrypt"] == ["gmpy2, bare powmod"]
    assert {len(case["skipped"]) for name, case in cases.items() if name != "contribution"} == {3}


def test_machine_and_versions_are_named(measured):
    _, report = measured
    assert report["machine"].keys() == {"processor", "cores", "memory_bytes", "system", "python", "load"}
    assert {"gmpy2", "GMP", "rbcl", "duckdb", "pycryptodome", "veilmatch"} <= report["versions"].keys()


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


def test_new_people_and_gone_ones_change_nothing_for_those_who_stay(tmp_path):
    before = write_tables(tmp_path / "a", 500, 3, of=600)
    after = write_tables(tmp_path / "b", 560, 3, gone=40, of=600)
    for name in before.departments:
        earlier, later = (tables.file(name).read_text().splitlines()[1:] for tables in (before, after))
        assert (len(earlier), len(later)) == (before.known[name], after.known[name])
        assert len(set(earlier)) == len(earlier)
        assert set(earlier) - set(later)
        assert set(later) - set(earlier)
    assert len(set(earlier) & set(later)) > 400  # of the last, who knows nine in ten
    assert (before.known["register"], after.known["register"]) == (500, 560)
