"""A coordinator that is to begin anew begins no more jobs, lets those that run end, and is idle then."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from veilmatch_coordinator.dispatch import Dispatcher
from veilmatch_coordinator.jobs import JobReport
from veilmatch_coordinator.queue import Limits, State, Submission
from veilmatch_coordinator.store import CoordinatorStore
from veilmatch_coordinator.turns import Turns
from veilmatch_transport.metrics import Metrics

LIMITS = Limits(2, 5, timedelta(seconds=1), timedelta(days=1), timedelta(days=1))


class Held:
    """In the place of ``Jobs``: a job runs until it is let go."""

    def __init__(self):
        self.began, self.go_on = threading.Event(), threading.Event()

    def run(self, _sources, _key_bits, _progress, *, job, operator, control):
        control.begun()
        self.began.set()
        assert self.go_on.wait(10)
        return JobReport(job, {"total": 1.0}, {}, {}, [])


@pytest.fixture
def world(tmp_path):
    jobs, turns, metrics = Held(), Turns(), Metrics()
    store = CoordinatorStore(tmp_path / "office.sqlite")
    dispatcher = Dispatcher(jobs, store, turns, LIMITS, metrics=metrics)
    dispatcher.start()
    yield jobs, turns, dispatcher, store, metrics
    jobs.go_on.set()
    dispatcher.stop(5)
    store.close()


def submit(dispatcher, name):
    submitted = Submission(name * 32, "ann", (name,), name, 3072, datetime.now(UTC))
    dispatcher.submit(submitted, [b"policy"])


def eventually(holds):
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_runs_ends_and_what_is_queued_waits_for_the_next_beginning(world):
    jobs, turns, dispatcher, store, metrics = world
    submit(dispatcher, "a")
    assert jobs.began.wait(5)
    dispatcher.rest()
    submit(dispatcher, "b")  # of another recipient: it could run beside the first
    assert turns.taken()
    jobs.go_on.set()
    eventually(lambda: not turns.taken())
    assert store.submission("a" * 32).state is State.COMPLETE
    assert store.submission("b" * 32).state is State.QUEUED
    assert metrics.registry.get_sample_value("veilmatch_jobs_ended_total", {"state": "complete"}) == 1
