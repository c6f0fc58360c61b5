"""Any executor of concurrent.futures is a pool, of nodes and of the coordinator; what a cluster loses is done anew."""

from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from federation.resumed_world import ELIGIBLE, LINEAR, several_chunks

from veilmatch_crypto.pool import InlineExecutor
from veilmatch_transport import WorkersError


class Recorded(ThreadPoolExecutor):
    """The standard library's, and what it was given."""

    def __init__(self):
        super().__init__(2)
        self.calls = []

    def submit(self, call, /, *arguments):
        self.calls.append(call.__name__)
        return super().submit(call, *arguments)


def test_a_federation_works_in_threads_of_the_standard_library(tmp_path, monkeypatch):
    with Recorded() as nodes, Recorded() as office, several_chunks(tmp_path, monkeypatch) as federation:
        for node in federation.nodes.values():
            node.executor = nodes
            node.crash()
        monkeypatch.setattr(federation.jobs, "_executor", office)
        federation.link("oprf")
        assert set(nodes.calls) == {"_blind", "_multiply", "_unblind"}
        federation.run(LINEAR)
        assert federation.eligible("aid") == ELIGIBLE
    assert {"encrypt_chunk", "open_chunk"} < set(nodes.calls)
    assert set(office.calls) == {"combine"}


class Losing(InlineExecutor):
    """A cluster that cannot be reached at first, and loses every third call."""

    def __init__(self):
        self.calls = 0
        self.away = 1

    @property
    def at_once(self):
        if self.away:
            self.away -= 1
            raise WorkersError("workers: the cluster does not answer; start it")
        return 2

    def submit(self, call, /, *arguments):
        self.calls += 1
        if self.calls % 6 == 0:
            raise WorkersError("workers: the cluster does not answer; start it")
        if self.calls % 3 == 0:
            lost = Future()
            lost.set_exception(WorkersError("workers: the cluster lost work; look at its logs"))
            return lost
        return super().submit(call, *arguments)


def test_what_the_coordinators_workers_lose_is_combined_anew(tmp_path, monkeypatch):
    with several_chunks(tmp_path, monkeypatch) as federation:
        federation.jobs._executor = losing = Losing()
        federation.run(LINEAR)
        assert federation.eligible("aid") == ELIGIBLE
        assert losing.calls > 12
        assert not losing.away


def test_workers_that_stay_away_end_the_job_in_words(tmp_path, monkeypatch):
    with several_chunks(tmp_path, monkeypatch) as federation:
        federation.jobs._executor = Losing()
        federation.jobs._executor.away = 1000
        federation.jobs._reconnect_wait = 0.0
        with pytest.raises(WorkersError, match="does not answer"):
            federation.run(LINEAR)
