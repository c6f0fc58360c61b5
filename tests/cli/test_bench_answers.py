"""What `veilmatch bench` says of wrong answers and of what fails: one case, and the rest is measured."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from command_line import run_here

from veilmatch.bench import peers
from veilmatch.bench.errors import WrongAnswerError
from veilmatch.bench.experiments import Experiments
from veilmatch.bench.federation_data import Tables
from veilmatch.bench.kinds import ciphertexts, comparison, epoch
from veilmatch.bench.kinds import run as run_kind
from veilmatch.bench.kinds.base import Lab
from veilmatch.bench.peers import Peers
from veilmatch.bench.report import read_report
from veilmatch.errors import JobFailedError
from veilmatch_crypto import OprfKey
from veilmatch_policy.documents import Placed

ALL = "keys encrypt contribution combine decrypt value"
RUNS = {"kind": "run", "people": "300", "departments": "3", "key_bits": "2048", "linkage": "shared-key"}


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch):
    monkeypatch.setattr(peers, "_installed", lambda _: False)
    monkeypatch.setattr(peers, "_uv", lambda: ("false",))


def cases_of(folder, **experiment):
    """The cases of one experiment."""
    tree = {"experiments": {"it": experiment}}
    return list(Experiments.model_validate(Placed(tree, {})).experiments["it"].measured(Lab(folder, Peers())))


def failed(cases, name):
    return {case.parameters[name]: case.error for case in cases if case.error}


# Wrong answers, of each kind.


@pytest.mark.parametrize(
    ("broken", "does", "wrong"),
    [
        ("encrypt_chunk", lambda made, key, words, expected: made(key, words * np.uint64(0), expected), ALL),
        ("open_chunk", lambda made, key, chunk: made(key, chunk) ^ np.uint64(1), ALL),
        ("multiply_chunks", lambda _, key, chunks: chunks[0], "combine decrypt value"),
    ],
)
def test_ciphertexts_are_opened_and_held_against_the_sum(tmp_path, monkeypatch, broken, does, wrong):
    monkeypatch.setattr(ciphertexts, "CHUNK_CIPHERTEXTS", 2)
    made = getattr(ciphertexts, broken)
    monkeypatch.setattr(ciphertexts, broken, lambda *arguments: does(made, *arguments))
    cases = cases_of(tmp_path, kind="ciphertexts", people="1000", key_bits="2048", rounds="1")
    assert failed(cases, "operation") == {
        name: f"{name} differs from the plaintext answer; please report it" for name in wrong.split()
    }


def test_linkage_is_held_against_the_direct_power(tmp_path, monkeypatch):
    monkeypatch.setattr(OprfKey, "evaluate", lambda _, elements: elements)
    cases = cases_of(tmp_path, kind="linkage", people=["3", "5"], rounds="1")
    assert [case.error for case in cases] == [
        "linkage differs from the plaintext answer; please report it"
    ] * 2
    assert not cases[0].measures


@pytest.mark.parametrize("test", ["below", "zero"])
def test_comparisons_are_held_against_the_plain_sums(tmp_path, monkeypatch, test):
    other = {"below": comparison.zero, "zero": comparison.negative}[test]
    monkeypatch.setattr(comparison, "_TESTS", {**comparison._TESTS, test: other})
    cases = cases_of(tmp_path, kind="comparison", people="640", rounds="1")
    assert failed(cases, "test") == {test: f"{test} differs from the plaintext answer; please report it"}


def test_an_epoch_that_misses_somebody_is_wrong(tmp_path):
    tables = Tables(tmp_path, ("register", "social"), 10, {"register": 10, "social": 9})
    linked = SimpleNamespace(people={"register": 10, "social": 9}, seconds=2.0)
    federation = SimpleNamespace(link=lambda *_: linked)
    bars = SimpleNamespace(step=None)
    assert epoch._link(federation, tables, None, bars) == 2.0
    linked.people["social"] = 8
    with pytest.raises(WrongAnswerError, match="the number of people linked differs"):
        epoch._link(federation, tables, None, bars)


# Federations that are pretended: what is asked of them, and what becomes of what fails.


@pytest.fixture
def asked(monkeypatch):
    """The policies of the jobs, in their order; a job is what ``asked.does`` does with it."""

    @contextmanager
    def pretended(*_, **__):
        yield SimpleNamespace(link=lambda *_: SimpleNamespace(seconds=1.0))

    def run_job(_federation, job, _settings, _bars):
        names = "+".join(policy.name for policy in job.policies)
        asked.order.append(names)
        job.add(*run_kind._AFTER_LINKAGE[:2], asked.does(names))

    asked = SimpleNamespace(order=[], does=lambda names: 1.0 + names.count("+"))
    monkeypatch.setattr(run_kind, "local_federation", pretended)
    monkeypatch.setattr(run_kind, "_run_job", run_job)
    return asked


def test_each_job_is_first_in_its_turn(tmp_path, asked):
    cases_of(tmp_path, **RUNS, policies=["and", "total"], rounds="3")
    assert asked.order == ["everybody", "total", "total", "everybody", "everybody", "total"]


def test_two_policies_stand_beside_one_also_where_nobody_asks_for_it(tmp_path, asked):
    [case] = cases_of(tmp_path, **RUNS, policies="total-twice", rounds="2")
    assert asked.order == ["first+second", "total", "total", "first+second"]
    assert [ratio.samples for ratio in case.ratios if ratio.beside == run_kind.FIRST_ALONE] == [(2.0, 2.0)]


def test_a_job_that_fails_is_the_only_one(tmp_path, asked):
    def does(names):
        if names == "total" and len(asked.order) > 2:
            raise JobFailedError("tax: has gone; look at its log", 5)
        return 1.0

    asked.does = does
    well, ill = cases_of(tmp_path, **RUNS, policies=["and", "total"], rounds="3")
    assert (well.error, ill.error) == (None, "tax: has gone; look at its log")
    assert (len(well.ours.samples), len(ill.ours.samples)) == (3, 1)
    assert asked.order == ["everybody", "total", "total", "everybody", "everybody"]


def test_the_base_that_nobody_asked_for_fails_the_case_that_needs_it(tmp_path, asked):
    def does(names):
        if names == "total":
            raise JobFailedError("tax: has gone; look at its log", 5)
        return 1.0

    asked.does = does
    [case] = cases_of(tmp_path, **RUNS, policies="total-twice", rounds="1")
    assert case.error == "tax: has gone; look at its log"


def test_a_floor_that_answers_another_question_is_an_error(tmp_path, asked, monkeypatch):
    monkeypatch.setattr(run_kind.PlainJoin, "answer", lambda *_: pa.array(["1"]))
    [case] = cases_of(tmp_path, **RUNS, policies="and", rounds="1")
    assert case.error == "everybody: DuckDB's join differs from the plaintext answer; please report it"
    assert not asked.order


def test_a_list_of_other_people_than_the_plaintext_one_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "everybody").mkdir()
    (tmp_path / "everybody" / "eligible.csv").write_text("id\n1\n")
    result = {"seconds": dict.fromkeys(run_kind._STAGES, 1.0), "bytes": {}}
    federation = SimpleNamespace(members=SimpleNamespace(running={}), run=lambda *_: [result], out=tmp_path)
    monkeypatch.setattr(run_kind, "read_peaks", lambda _: {"tax": 1.0})
    job = run_kind._Job([], [SimpleNamespace(name="everybody")], [pa.array(["2"])])
    settings, bars = SimpleNamespace(key_bits=2048), SimpleNamespace(step=None)
    with pytest.raises(
        WrongAnswerError, match="everybody differs from the plaintext answer; please report it"
    ):
        run_kind._run_job(federation, job, settings, bars)
    job.answers = [pa.array(["1"])]
    run_kind._run_job(federation, job, settings, bars)


def test_a_full_disk_ends_one_experiment_and_the_summary_is_shown(tmp_path, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "people.csv")

    monkeypatch.setattr(run_kind, "write_tables", full)
    monkeypatch.setattr(epoch, "product", full)  # outside of any case
    (tmp_path / "x.yaml").write_text(
        "experiments:\n"
        "  runs: {kind: run, people: 300, departments: 2, policies: and}\n"
        "  next: {kind: epoch, people: 300, new_per_cent: 1}\n"
        "  last: {kind: linkage, people: 3, rounds: 1}\n"
    )
    ended = run_here(capsys, "bench", tmp_path / "x.yaml", "--out", tmp_path / "out")
    assert ended.code == 5
    why = "people.csv: No space left on device; check the path and the space there"
    report = read_report(tmp_path / "out" / "report.json")
    first, second = report.failures()
    assert first.startswith("runs (people 300, ")
    assert first.endswith(why)
    assert second == f"next (its remaining cases): {why}"
    assert ended.line(quiet=False) == f"{first}; {second}"
    assert "FAILED" in (tmp_path / "out" / "report.md").read_text()
    assert report.experiments[2].cases[0].ours is not None
    assert "libsodium" in ended.out
    assert "FAILED" in ended.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.json", "report.md", "report.html"}
