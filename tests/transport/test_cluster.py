"""The dask engine's own bookkeeping, over a line that is none: the end, and workers that are not fit."""

import threading
from concurrent.futures import Future
from pathlib import Path

import pytest

from veilmatch_transport import WorkersError
from veilmatch_transport import cluster as engine
from veilmatch_transport.cluster import ClusterExecutor
from veilmatch_transport.workers import Cluster

PLENTY = 10.0
CLUSTER = Cluster("tls://machine1:8786", *3 * (Path("unused.pem"),))
SPILLS = "a worker may write keys to its disk; start every worker with --memory-limit 0"


class Task(Future):
    """What dask gives for a call."""

    def release(self):
        self.released = True


class Line:
    """In the place of machines.Line: workers "0", "1", ..., of which the first ones are not fit."""

    workers = 2
    unfit = 0
    holds = True

    def __init__(self, _cluster):
        self.faults = {}
        self.closed = False

    @property
    def threads(self):
        return self.workers - len(self.faults)

    def look(self):
        pass

    def fit(self):
        pass

    def leave_out(self, worker, fault):
        self.faults[worker] = fault

    def submit(self, call, _name):
        fit = [str(number) for number in range(self.workers) if str(number) not in self.faults]
        if not fit:
            raise WorkersError(f"workers: the cluster: {SPILLS}")
        task = Task()
        if int(fit[0]) < self.unfit:
            task.set_result(engine._Outcome(worker=fit[0], fault=SPILLS))
        else:
            task.set_result(engine._Outcome(call.call()))
        return task, fit

    def close(self):
        self.closed = True


@pytest.fixture
def line(monkeypatch):
    """A kind of line, to be set."""

    class Here(Line):
        pass

    monkeypatch.setattr(engine, "Line", Here)
    return Here


def test_a_call_that_meets_an_unfit_worker_is_done_by_another(line):
    line.unfit = 1
    with ClusterExecutor(CLUSTER) as executor:
        assert [executor.submit(abs, -number).result(PLENTY) for number in range(5)] == list(range(5))
        assert executor.at_once == 1
        assert executor._line.faults == {"0": SPILLS}
        assert not executor._under_way


def test_where_none_is_fit_it_fails_and_says_why(line):
    line.unfit = 2
    with ClusterExecutor(CLUSTER) as executor:
        with pytest.raises(WorkersError, match="--memory-limit 0"):
            executor.submit(abs, -1).result(PLENTY)
        assert not executor._under_way


def test_nothing_is_taken_after_the_end(line):
    executor = ClusterExecutor(CLUSTER)
    assert executor.submit(abs, -1).result(PLENTY) == 1
    connected = executor._line
    executor.shutdown()
    assert connected.closed
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, -1)
    assert executor._line is connected


def test_an_end_while_a_call_connects_waits_for_nobody_and_takes_nothing(line, monkeypatch):
    began, go_on, made = threading.Event(), threading.Event(), []

    def connect(cluster):
        began.set()
        assert go_on.wait(PLENTY)
        made.append(line(cluster))
        return made[0]

    monkeypatch.setattr(engine, "Line", connect)
    executor, refused = ClusterExecutor(CLUSTER), []

    def submit():
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(abs, -1)
        refused.append(True)

    caller = threading.Thread(target=submit)
    caller.start()
    assert began.wait(PLENTY)
    executor.shutdown()
    go_on.set()
    caller.join(PLENTY)
    assert refused
    assert made[0].closed


def test_what_is_under_way_at_the_end_is_cancelled(line, monkeypatch):
    monkeypatch.setattr(line, "submit", lambda *_: (Task(), []))
    executor = ClusterExecutor(CLUSTER)
    waiting = executor.submit(abs, -1)
    [sent] = executor._under_way.values()
    executor.shutdown()
    assert waiting.cancelled()
    assert sent.task.released


def test_what_may_go_only_to_workers_that_are_gone_is_sent_again(line, monkeypatch):
    monkeypatch.setattr(engine, "_LOOK", 0.01)
    answers = iter([(Task(), ["0"])])
    submit = line.submit
    line.submit = lambda self, *call: next(answers, None) or submit(self, *call)
    line.among = lambda _, workers: workers != ["0"]
    with ClusterExecutor(CLUSTER) as executor:
        assert executor.submit(abs, -1).result(PLENTY) == 1
