"""Jobs that are run from the queue: side by side, cancelled, waiting, watched, over a restart, beside a linkage."""

import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from veilmatch_coordinator.control import Step
from veilmatch_coordinator.dispatch import Dispatcher
from veilmatch_coordinator.errors import NodeFailedError, RequestError, WaitingForApprovalError
from veilmatch_coordinator.jobs import JobReport
from veilmatch_coordinator.queue import STOPPED, Limits, State, Submission
from veilmatch_coordinator.store import CoordinatorStore
from veilmatch_coordinator.turns import Turns
from veilmatch_policy.errors import PolicyRefusedError
from veilmatch_transport import TransportError
from veilmatch_transport.errors import StoreFailedError

SECONDS = 5.0
LIMITS = Limits(
    jobs_at_once=2,
    queued_jobs=5,
    approval_retry=timedelta(seconds=0.05),
    approval_wait=timedelta(days=30),
    keep_jobs=timedelta(days=90),
)


@dataclass
class HeldJobs:
    """In the place of ``Jobs``: each job runs until the test lets it end, or it is broken off."""

    began: list[str] = field(default_factory=list)
    progress: dict[str, object] = field(default_factory=dict)
    ended: dict[str, threading.Event] = field(default_factory=dict)
    outcomes: dict[str, Exception] = field(default_factory=dict)
    waits_for: dict[str, list[str]] = field(default_factory=dict)
    asking: threading.Event = field(default_factory=threading.Event)  # set: officers' nodes answer at once

    def __post_init__(self):
        self.asking.set()

    def run(self, sources, key_bits, progress, *, job, operator, control):
        if self.waits_for.get(job):
            self.asking.wait(SECONDS)
            raise WaitingForApprovalError(self.waits_for[job])
        control.begun()
        over = self.ended.setdefault(job, threading.Event())
        self.progress[job] = progress

        def broken_off():
            self.outcomes[job] = TransportError("the stream to tax was broken off on this side")
            over.set()

        with control.over(SimpleNamespace(abort=broken_off)):
            self.began.append(job)
            assert over.wait(10 * SECONDS)
        if job in self.outcomes:
            raise self.outcomes[job]
        results = [{"source": source.decode(), "operator": operator} for source in sources]
        return JobReport(job, {"total": 1.5}, {"tax": 7}, {}, results)

    def end(self, job, outcome=None):
        until(lambda: job in self.began)
        if outcome is not None:
            self.outcomes[job] = outcome
        self.ended[job].set()


class World:
    """A dispatcher over a store on disk, and who watches it."""

    def __init__(self, path, limits):
        self.path, self.limits = path, limits
        self.turns = Turns()
        self.begin()

    def begin(self):
        self.jobs = HeldJobs()
        self.store = CoordinatorStore(self.path)
        self.dispatcher = Dispatcher(self.jobs, self.store, self.turns, self.limits)
        self.dispatcher.start()

    def end(self):
        self.dispatcher.stop(SECONDS)
        self.store.close()

    def submit(self, job, recipient="tax", operator="ann"):
        name = job * 32
        submitted = Submission(name, operator, (job,), recipient, 3072, datetime.now(UTC))
        self.dispatcher.submit(submitted, [f"policy: {job}".encode()])
        return name

    def states(self):
        return {each.job[0]: each.state.value for each in self.store.submissions(100)}

    def wait_until(self, **states):
        until(lambda: states.items() <= self.states().items(), self.states)


def until(holds, said=lambda: None):
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, said()
        time.sleep(0.005)


@contextmanager
def world_of(path, **changed):
    world = World(path / "office.sqlite", replace(LIMITS, **changed))
    try:
        yield world
    finally:
        world.end()


@pytest.fixture
def world(tmp_path):
    with world_of(tmp_path) as world:
        yield world


def watched(world, job):
    """Watch in a thread; the list fills as it goes."""
    seen = []
    thread = threading.Thread(
        target=lambda: seen.extend(world.dispatcher.watch(job, lambda: True)), daemon=True
    )
    thread.start()
    return seen, thread


def test_two_run_at_once_and_a_recipients_second_job_waits_for_its_first(world):
    first, second = world.submit("a"), world.submit("b")
    other, last = world.submit("c", "police"), world.submit("d", "housing")
    world.wait_until(a="running", b="queued", c="running", d="queued")
    world.jobs.end(first)
    world.wait_until(a="complete", b="running", d="queued")
    world.jobs.end(other, NodeFailedError("police: rows are refused; correct them", 4))
    world.wait_until(c="failed", d="running")
    failed = world.dispatcher.submission(other)
    assert (failed.reason, failed.exit_code) == ("police: rows are refused; correct them", 4)
    for job in (second, last):
        world.jobs.end(job)
    world.wait_until(b="complete", d="complete")
    assert sorted("abcd", key=lambda job: world.dispatcher.submission(job * 32).started) == list("acbd")
    assert b'"source": "policy: a", "operator": "ann"' in world.store.outcome(first)


def test_memory_goes_back_to_the_system_when_a_job_has_ended(world, monkeypatch):
    given_back = threading.Event()
    monkeypatch.setattr("veilmatch_coordinator.dispatch.give_back", given_back.set)
    job = world.submit("a")
    world.wait_until(a="running")
    assert not given_back.is_set()
    world.jobs.end(job)
    assert given_back.wait(SECONDS)


def test_what_nobody_foresaw_is_told_without_its_own_words(world):
    job = world.submit("a")
    world.wait_until(a="running")
    world.jobs.end(job, KeyError("a cell's value"))
    world.wait_until(a="failed")
    assert world.dispatcher.submission(job).reason == "coordinator: internal error, see the local log"
    refused = world.submit("b")
    world.wait_until(b="running")
    world.jobs.end(refused, PolicyRefusedError("b: conditions", "asks too much", "ask less"))
    world.wait_until(b="failed")
    assert world.dispatcher.submission(refused).exit_code == 3


def test_cancelling_what_is_queued_waits_or_runs(world):
    running, queued = world.submit("a"), world.submit("b")
    waiting = "c" * 32
    world.jobs.waits_for[waiting] = ["police"]
    world.submit("c", "police")
    world.wait_until(a="running", b="queued", c="waiting")
    seen, thread = watched(world, running)
    until(lambda: world.jobs.began == [running])
    kept, save = [], world.store.save_submission
    world.store.save_submission = lambda each, *outcome: (kept.append(each), save(each, *outcome))
    for job in (queued, waiting, running):
        cancelled = world.dispatcher.cancel(job, "bob")
        assert cancelled.state is State.CANCELLED
        assert cancelled.reason == "job: cancelled by bob; submit it again if it is wanted after all"
        assert cancelled.exit_code == 5
    thread.join(SECONDS)
    assert seen[-1] == world.dispatcher.submission(running)
    assert world.jobs.began == [running]
    assert any("is being cancelled by bob" in each.reason for each in kept)  # a slow watcher may miss it
    with pytest.raises(RequestError, match=f"^job: {'b' * 32} has ended already, it is cancelled; "):
        world.dispatcher.cancel(queued, "bob")
    again = world.submit("d")  # nothing of the cancelled ones holds the recipient up
    world.wait_until(d="running")
    world.jobs.end(again)


def test_a_job_that_is_told_to_end_as_it_completes_is_complete(world):
    job = world.submit("a")
    world.wait_until(a="running")
    with world.dispatcher._work:
        world.dispatcher._tries[job].ending = lambda *_: pytest.fail("it has a result")
    world.jobs.end(job)
    world.wait_until(a="complete")


def test_a_job_waits_for_officers_until_they_have_decided(world):
    job = "a" * 32
    world.jobs.waits_for[job] = ["housing", "police"]
    world.submit("a")
    seen, thread = watched(world, job)
    world.wait_until(a="waiting")
    waits = world.dispatcher.submission(job)
    assert waits.waits_for == ("housing", "police")
    assert waits.reason == "job: the data officers of housing, police have not approved it yet; ask them"
    other = world.submit("b")  # the wait holds neither a place nor the recipient
    world.wait_until(b="running")
    world.jobs.end(other)
    world.jobs.waits_for[job] = ["police"]
    until(lambda: world.dispatcher.submission(job).waits_for == ("police",))
    assert world.dispatcher.submission(job).waits_since == waits.waits_since
    world.jobs.waits_for[job] = []
    until(lambda: seen[-1].state.value == "running")  # a watcher that is slow may miss a state
    world.jobs.end(job)
    thread.join(SECONDS)
    states = [each.state.value for each in seen]
    assert states[-2:] == ["running", "complete"]
    assert set(states[:-2]) <= {"queued", "running", "waiting"}


def test_a_job_that_nobody_decides_about_is_given_up(tmp_path):
    with world_of(tmp_path, approval_wait=timedelta(seconds=0.2)) as world:
        world.jobs.waits_for["a" * 32] = ["police"]
        world.submit("a")
        world.wait_until(a="failed")
        assert "the officers of police did not decide within" in world.dispatcher.submission("a" * 32).reason


def test_a_watch_tells_states_and_steps_and_the_end_last(world):
    job = world.submit("a")
    until(lambda: job in world.jobs.began)
    step = world.jobs.progress[job]
    step("contribute", "tax", 1, 3)
    step("contribute", "tax", 2, 3)
    seen, thread = watched(world, job)
    until(lambda: len(seen) == 2)
    assert seen[1] == Step("contribute", "tax", 2, 3)  # who comes late hears of the newest
    step("open", "tax", 1, 3)
    until(lambda: len(seen) == 3)
    step("open", "tax", 3, 3)
    world.jobs.end(job)
    thread.join(SECONDS)
    assert seen[2:4] == [Step("open", "tax", 1, 3), Step("open", "tax", 3, 3)]
    assert [each.state.value for each in (seen[0], seen[-1])] == ["running", "complete"]
    assert [each.state.value for each in world.dispatcher.watch(job, lambda: True)] == ["complete"]
    with pytest.raises(RequestError, match=r"^job: there is none of this name; see `veilmatch job list`$"):
        next(world.dispatcher.watch("f" * 32, lambda: True))


def test_a_watch_that_is_left_frees_its_place(world, monkeypatch):
    monkeypatch.setattr("veilmatch_coordinator.dispatch._MOST_WATCHES", 1)
    job = world.submit("a")
    world.wait_until(a="running")
    wanted = [True]
    watch = world.dispatcher.watch(job, lambda: wanted[0])
    next(watch)
    with pytest.raises(RequestError, match="watches are open; end one, or ask"):
        next(world.dispatcher.watch(job, lambda: True))
    wanted[0] = False
    assert list(watch) == []
    assert next(world.dispatcher.watch(job, lambda: True)).state is State.RUNNING


def test_after_a_stop_what_ran_has_failed_and_the_others_go_on(world):
    running, queued = world.submit("a"), world.submit("b")
    waiting = "c" * 32
    world.jobs.waits_for[waiting] = ["police"]
    world.submit("c", "police")
    world.wait_until(a="running", b="queued", c="waiting")
    world.end()
    world.begin()
    world.wait_until(a="failed", b="running", c="running")  # here no officer is waited for
    assert world.dispatcher.submission(running).reason == STOPPED
    for job in (queued, waiting):
        world.jobs.end(job)


def test_a_stop_while_officers_are_asked_again_loses_nothing(world):
    job = "a" * 32
    world.jobs.waits_for[job] = ["police"]
    world.submit("a")
    world.wait_until(a="waiting")
    world.jobs.asking.clear()
    until(lambda: job in world.dispatcher._tries)
    stopping = threading.Thread(target=world.dispatcher.stop, args=(SECONDS,))
    stopping.start()
    until(lambda: world.dispatcher._stopped)
    world.jobs.asking.set()
    stopping.join(SECONDS)
    assert world.states() == {"a": "waiting"}


def test_after_a_kill_too(world):
    job = world.submit("a")
    world.wait_until(a="running")
    # As a kill leaves it: the job is still written down as running.
    kept = world.dispatcher.submission(job)
    world.end()
    store = CoordinatorStore(world.path)
    store.save_submission(kept)
    store.close()
    world.begin()
    failed = world.dispatcher.submission(job)
    assert (failed.state, failed.reason, failed.exit_code) == (State.FAILED, STOPPED, 5)


def test_too_many_of_one_operator(world):
    for job in "abcdef":  # the first one runs
        world.submit(job)
        world.wait_until(a="running")
    with pytest.raises(RequestError, match=r"^office: ann has 5 jobs in the queue, as many as queued_jobs"):
        world.submit("9")
    assert "9" not in world.states()
    world.submit("9", operator="bob")


def test_ended_jobs_are_forgotten_in_time(tmp_path):
    with world_of(tmp_path, keep_jobs=timedelta(seconds=0)) as world:
        job = world.submit("a")
        world.wait_until(a="running")
        world.jobs.end(job)
        world.wait_until(a="complete")
        world.end()
        world.begin()
        until(lambda: world.states() == {})


def test_a_store_that_cannot_be_written_stops_no_worker(world, monkeypatch):
    monkeypatch.setattr("veilmatch_coordinator.dispatch._PAUSE", 0.01)
    save, failures = world.store.save_submission, [OSError("no space left")] * 3

    def full(*arguments):
        with suppress(IndexError):
            raise failures.pop()
        save(*arguments)

    monkeypatch.setattr(world.store, "save_submission", full)
    job = world.submit("a")
    world.wait_until(a="running")
    assert not failures
    world.jobs.end(job)
    world.wait_until(a="complete")


def failing(monkeypatch, store, call):
    """Have the store refuse a call while the event that is returned is set."""
    monkeypatch.setattr("veilmatch_coordinator.dispatch._PAUSE", 0.01)
    away, real = threading.Event(), getattr(store, call)

    def refused(*arguments):
        if away.is_set():
            raise StoreFailedError("store: its database does not answer; start it")
        return real(*arguments)

    monkeypatch.setattr(store, call, refused)
    return away


def test_what_became_of_a_job_is_kept_when_the_store_is_back(world, monkeypatch):
    away = failing(monkeypatch, world.store, "save_submission")
    job = world.submit("a")
    world.wait_until(a="running")
    away.set()
    world.jobs.end(job)
    other = world.submit("b")  # of the same recipient: it does not begin before the first is kept
    until(lambda: world.dispatcher.submission(job).state is State.RUNNING)
    time.sleep(0.1)
    assert world.jobs.began == [job]
    away.clear()
    world.wait_until(a="complete", b="running")
    assert b'"source": "policy: a"' in world.store.outcome(job)
    world.jobs.end(other)
    world.wait_until(b="complete")


def test_a_stop_does_not_wait_for_a_store_that_is_away(world, monkeypatch):
    away = failing(monkeypatch, world.store, "save_submission")
    job = world.submit("a")
    world.wait_until(a="running")
    away.set()
    world.jobs.end(job)
    began = time.monotonic()
    world.dispatcher.stop(SECONDS)
    assert time.monotonic() - began < SECONDS / 2
    away.clear()
    world.store.close()
    world.begin()
    assert world.dispatcher.submission(job).reason == STOPPED


def test_a_sweep_that_fails_ends_no_worker(tmp_path, monkeypatch):
    monkeypatch.setattr("veilmatch_coordinator.dispatch._SWEEP", timedelta(0))
    with world_of(tmp_path) as world:
        away = failing(monkeypatch, world.store, "forget_submissions")
        away.set()
        world.submit("a")
        time.sleep(0.1)
        assert world.states() == {"a": "queued"}
        away.clear()
        world.wait_until(a="running")
        world.jobs.end("a" * 32)
        world.wait_until(a="complete")


# Turns.


def test_a_linkage_runs_alone_and_nobody_overtakes():
    turns, order = Turns(), []
    let_go = {name: threading.Event() for name in ("job 1", "linkage", "job 2")}

    def work(name, turn):
        with turn:
            order.append(name)
            assert let_go[name].wait(SECONDS)
        order.append(f"end of {name}")

    threads = []
    for name, turn in (
        ("job 1", turns.shared()),
        ("linkage", turns.alone(lambda: True)),
        ("job 2", turns.shared()),
    ):
        threads.append(threading.Thread(target=work, args=(name, turn), daemon=True))
        threads[-1].start()
        until(lambda: len(turns._waiting) == max(0, len(threads) - 1))
    assert order == ["job 1"]
    for name in ("job 1", "linkage", "job 2"):
        let_go[name].set()
    for thread in threads:
        thread.join(SECONDS)
    assert order.index("linkage") < order.index("job 2")
    assert order.index("end of linkage") > order.index("linkage")


def test_a_linkage_that_nobody_wants_any_more_gives_its_turn_up():
    turns = Turns()
    with turns.shared():
        with pytest.raises(RequestError, match="nobody waits for this linkage"), turns.alone(lambda: False):
            pytest.fail("it was not its turn")
        with turns.shared():
            pass
    with turns.alone(lambda: False):
        pass
