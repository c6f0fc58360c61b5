"""However a job ends, its result stands, its evidence verifies, and no number of a failed job is given to anybody."""

import errno
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from fakes.federation import MemoryNodes, tap_on
from federation.resumed_world import CIRCUIT, ELIGIBLE, LINEAR, cut_at, finished, several_chunks
from structlog.testing import capture_logs

from veilmatch_coordinator.errors import NodeFailedError
from veilmatch_coordinator.office import Office
from veilmatch_coordinator.queue import Limits
from veilmatch_evidence.package import PackageWriter
from veilmatch_evidence.replay import replay
from veilmatch_transport.errors import StoreFailedError

COUNT = CIRCUIT.replace("policy: sums", "policy: many\nreveal: count\nmin_count: 1")


@pytest.fixture
def federation(tmp_path, monkeypatch):
    with several_chunks(tmp_path, monkeypatch) as made:
        yield made


def full(*_args, **_named):
    raise OSError(errno.ENOSPC, "No space left on device")


def close_again(federation):
    federation.jobs.closing.close_others()
    federation.network.wait()


def test_evidence_that_is_signed_is_not_made_again_where_it_cannot_take_its_place(federation, monkeypatch):
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(Path, "rename", full)
        federation.run(LINEAR)
    [line] = [each for each in logs if each["event"] == "job not closed"]
    assert line["reason"].startswith("No space left on device at ")
    [signed] = federation.evidence.with_name("evidence.unfinished").glob("*/index.json.sig")
    index = signed.with_name("index.json").read_bytes()
    assert federation.store.unfinished()
    close_again(federation)
    assert not federation.store.unfinished()
    [place] = federation.evidence.glob("aid/*/index.json")
    assert place.read_bytes() == index
    finished(federation)


@pytest.mark.parametrize("call", ["start_closing", "close_job"])
def test_a_result_stands_where_the_job_cannot_be_closed_yet(federation, monkeypatch, call):
    def away(*_):
        raise StoreFailedError("store: its database does not answer; start it")

    with monkeypatch.context() as patch:
        patch.setattr(federation.store, call, away)
        federation.run(LINEAR)
    assert federation.eligible("aid") == ELIGIBLE
    assert federation.store.unfinished()
    close_again(federation)
    assert not federation.store.unfinished()
    finished(federation)


def test_a_complete_job_without_a_partys_records_has_ended_for_auditors(federation, monkeypatch):
    with federation.tapped(tap_on("conclude", lambda _passing: federation.network.away.add("police"))):
        federation.run(LINEAR)
    resumed = []
    resume = PackageWriter.resume.__func__
    monkeypatch.setattr(
        PackageWriter, "resume", classmethod(lambda *given: resumed.append(1) or resume(*given))
    )
    close_again(federation)
    assert not resumed  # nobody answered: its files are not read again for that
    now = federation.jobs.closing._clock()
    federation.jobs.closing._clock = lambda: now + timedelta(days=60)  # the manifest has expired
    close_again(federation)
    assert not federation.store.unfinished()
    [job] = replay(federation.evidence)
    assert job.status == "ended"
    assert list(federation.evidence.glob("aid/*/report.json"))
    assert not list(federation.evidence.glob("aid/*/logs/police.jsonl"))


def test_who_is_stopped_while_it_closes_jobs_leaves_their_evidence_to_its_next_life(federation):
    with federation.tapped(
        tap_on("conclude", lambda _: federation.network.away.update({"housing", "police"}))
    ):
        federation.run(LINEAR)
    before = MemoryNodes(federation.nodes)
    before.tap = tap_on("close", lambda _: [], node="police")  # frozen: it takes the call and says nothing
    office = Office(
        identity=federation.identity,
        directory=federation.directory,
        store=federation.store,
        nodes=before,
        executor=None,
        evidence=federation.evidence,
        log=federation.log,
        limits=Limits(1, 5, timedelta(seconds=1), timedelta(days=1), timedelta(days=1)),
    )
    stopping = threading.Event()
    office.start(stopping)
    deadline = time.monotonic() + 5
    while not (before.sent("done", node="housing") and before.sent("close", node="police")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    stopping.set()
    stopped = time.monotonic()
    office.stop()
    assert time.monotonic() - stopped < 3
    before.wait()
    [unfinished] = federation.evidence.with_name("evidence.unfinished").iterdir()
    assert {each.name for each in unfinished.glob("logs/*")} == {"tax.jsonl"}
    federation.network.away.clear()
    close_again(federation)
    finished(federation)


def test_nobody_goes_on_at_the_evidence_of_an_office_that_has_stopped(federation, monkeypatch):
    with federation.tapped(tap_on("conclude", lambda _: federation.network.away.add("police"))):
        federation.run(LINEAR)
    federation.network.away.clear()
    closing, resumed = federation.jobs.closing, []
    resume = PackageWriter.resume.__func__
    monkeypatch.setattr(
        PackageWriter, "resume", classmethod(lambda *given: resumed.append(1) or resume(*given))
    )
    # The wait for it is over, too, when the node answers at last.
    with federation.tapped(tap_on("close", lambda _: closing.stop(0))):
        close_again(federation)
    assert federation.network.sent("done", node="police")
    assert not resumed
    assert federation.store.unfinished()


@pytest.mark.parametrize("name", ["B/0-3.bin", "product/0-3.bin"])
def test_a_chunk_that_the_disk_did_not_take_whole_is_no_evidence(federation, monkeypatch, name):
    put = PackageWriter.put

    def one_is_not_taken(writer, given, *rest):
        return full() if given == name else put(writer, given, *rest)

    monkeypatch.setattr(PackageWriter, "put", one_is_not_taken)
    with pytest.raises(OSError, match="No space left on device"):
        federation.run(LINEAR)
    [job] = replay(federation.evidence)
    assert (job.status, job.chunks) == ("ended", 3)


# Counts.


def test_a_count_is_kept_and_stands_in_the_report(federation):
    first = federation.run(COUNT)
    assert first.results[0]["eligible"] == len(ELIGIBLE)
    sent = len(federation.network.passed)
    assert federation.run(COUNT).results == first.results
    assert len(federation.network.passed) == sent  # without a job
    [job] = replay(federation.evidence)
    assert (job.status, job.job) == ("complete", first.job)


@pytest.mark.parametrize("fails", ["recipient", "report"])
def test_a_count_of_a_job_that_failed_is_given_to_nobody(federation, monkeypatch, fails):
    with monkeypatch.context() as patch:
        if fails == "report":
            put = PackageWriter.put
            patch.setattr(
                PackageWriter,
                "put",
                lambda writer, name, *rest: full() if name == "report.json" else put(writer, name, *rest),
            )
            with pytest.raises(OSError, match="No space left on device"):
                federation.run(COUNT)
        else:
            with federation.tapped(cut_at(federation, "conclude", "tax")), pytest.raises(NodeFailedError):
                federation.run(COUNT)
    # 5.5: nor is it counted a second time.
    with pytest.raises(NodeFailedError, match="counts what was counted in this epoch before"):
        federation.run(COUNT)
    assert {job.status for job in replay(federation.evidence)} == {"ended"}


def test_a_nodes_tasks_give_memory_back_when_they_end(federation, monkeypatch):
    given_back = []
    monkeypatch.setattr("veilmatch_node.service.give_back", lambda: given_back.append("once"))
    federation.run(LINEAR)
    federation.network.wait()
    assert len(given_back) > 2 * len(federation.nodes)  # each prepares, works and closes
