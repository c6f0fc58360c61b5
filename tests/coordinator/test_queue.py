"""The queue's rules: first in, first out, one job a recipient, so many at once, and what waiting leads to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilmatch_coordinator.errors import RequestError
from veilmatch_coordinator.queue import Limits, Queue, State, Submission
from veilmatch_coordinator.store import CoordinatorStore

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LIMITS = Limits(
    jobs_at_once=2,
    queued_jobs=3,
    approval_retry=60 * SECOND,
    approval_wait=timedelta(days=30),
    keep_jobs=timedelta(days=90),
)


def submission(job, recipient="tax", *, operator="ann", at=0):
    return Submission(job, operator, (f"policy-{job}",), recipient, 3072, NOON + at * SECOND)


def begun(queued):
    """The same job, begun unless it was."""
    return queued if queued.state is State.RUNNING else queued.begin("e" * 32, NOON)


def taken(queue, now=NOON + 1000 * SECOND):
    """Take whatever may run, one after the other."""
    jobs = []
    while (each := queue.next(now)) is not None:
        queue.put(each.begin("e" * 32, now))
        queue.take(each.job)
        jobs.append(each.job)
    return jobs


def test_one_job_a_recipient_in_the_order_of_submission():
    recipients = ["tax", "tax", "housing", "police"]
    queue = Queue(LIMITS, [submission(str(n), name, at=n) for n, name in enumerate(recipients)])
    assert taken(queue) == ["0", "2"]  # 1 waits for the tax bureau, 3 for a place
    queue.put(queue.find("2").end(State.COMPLETE, "", 0, NOON))
    queue.release("2")
    assert taken(queue) == ["3"]
    queue.put(queue.find("0").end(State.FAILED, "job: x; y", 5, NOON))
    queue.release("0")
    assert taken(queue) == ["1"]
    assert queue.find("0") is None


def test_a_job_that_waits_takes_no_place_and_is_tried_again_in_its_turn():
    queue = Queue(LIMITS, [submission("0")])
    waits = begun(queue.find("0")).wait(["housing"], "job: not yet; ask", LIMITS, NOON)
    assert (waits.state, waits.waits_for, waits.waits_since) == (State.WAITING, ("housing",), NOON)
    queue.put(waits)
    assert queue.next(NOON + 59 * SECOND) is None
    assert queue.due(NOON) == 60 * SECOND
    queue.put(submission("1", at=30))  # came before the other's next try
    queue.put(submission("2", "police", at=90))
    assert taken(queue) == ["1", "2"]
    for job in ("1", "2"):
        queue.release(job)
        queue.put(begun(queue.find(job)).end(State.COMPLETE, "", 0, NOON))
    later = NOON + 60 * SECOND
    assert queue.next(later) is waits
    assert queue.due(later) is None
    again = waits.wait(["housing"], "job: not yet; ask", LIMITS, later)
    assert (again.waits_since, again.next_try) == (NOON, later + 60 * SECOND)


def test_a_job_is_given_up_after_the_days_that_the_office_sets():
    waits = begun(submission("0")).wait(["housing", "tax"], "not yet", LIMITS, NOON)
    day = timedelta(days=1)
    assert waits.wait(["tax"], "not yet", LIMITS, NOON + 30 * day - SECOND).state is State.WAITING
    ended = waits.wait(["tax"], "not yet", LIMITS, NOON + 30 * day)
    assert (ended.state, ended.exit_code, ended.next_try) == (State.FAILED, 5, None)
    assert (
        ended.reason
        == "job: the officers of tax did not decide within 30 days; ask them, and submit it again"
    )


def test_a_wait_begins_anew_after_the_job_ran():
    waits = begun(submission("0")).wait(["tax"], "not yet", LIMITS, NOON)
    ran = waits.begin("e" * 32, NOON + SECOND)
    assert (ran.state, ran.reason, ran.waits_for, ran.epoch) == (State.RUNNING, "", (), "e" * 32)
    assert ran.wait(["tax"], "revoked", LIMITS, NOON + 2 * SECOND).waits_since == NOON + 2 * SECOND


def test_an_operator_with_too_many_in_the_queue_is_told_the_limit():
    queue = Queue(LIMITS, [submission(str(n), at=n) for n in range(3)])
    with pytest.raises(RequestError) as refused:
        queue.admit("ann")
    assert str(refused.value) == (
        "office: ann has 3 jobs in the queue, as many as queued_jobs allows; "
        "wait until some have run, or cancel some"
    )
    queue.admit("bob")
    assert taken(queue) == ["0"]
    queue.admit("ann")  # what runs is no longer in the queue
    queue.put(begun(queue.find("1")).wait(["tax"], "not yet", LIMITS, NOON))
    queue.put(submission("3"))
    with pytest.raises(RequestError):
        queue.admit("ann")  # what waits is


@given(
    recipients=st.lists(st.sampled_from(["tax", "police", "housing"]), max_size=12),
    ends=st.lists(st.integers(0, 3), max_size=12),
    at_once=st.integers(1, 4),
)
def test_whatever_ends_when_nobody_is_overtaken_without_reason(recipients, ends, at_once):
    jobs = [submission(str(n), name, at=n) for n, name in enumerate(recipients)]
    queue = Queue(replace(LIMITS, jobs_at_once=at_once), jobs)
    running, left = [], {each.job: each.recipient for each in jobs}

    def check():
        for job in taken(queue):
            earlier = [each for each in left if int(each) < int(job)]
            busy = {recipients[int(each)] for each in running}
            assert all(left[each] in busy for each in earlier)
            running.append(job)
            del left[job]
        names = [recipients[int(each)] for each in running]
        assert len(running) <= at_once
        assert len(set(names)) == len(names)
        free = set(left.values()) - set(names)
        assert not free or len(running) == at_once  # no place is left empty

    check()
    for end in ends:
        if running:
            job = running.pop(end % len(running))
            queue.put(begun(queue.find(job)).end(State.COMPLETE, "", 0, NOON))
            queue.release(job)
        check()


def test_the_store_gives_back_what_it_was_given(store_address):
    store = CoordinatorStore(store_address)
    jobs = [
        submission("0"),
        submission("1").begin("e" * 32, NOON + SECOND),
        begun(submission("2", at=1)).wait(["housing", "税务局"], "job: not yet; ask", LIMITS, NOON),
        submission("3").cancel("bob", NOON + SECOND),
        begun(submission("4")).end(State.FAILED, "tax: lost; look", 4, NOON + timedelta(days=1)),
    ]
    sources = ["policy: 低保\n".encode(), b"policy: b\n"]
    for each in jobs:
        store.add_submission(replace(each, state=State.QUEUED, ended=None), sources)
        store.save_submission(each)
    store.save_submission(begun(submission("4")).end(State.COMPLETE, "", 0, NOON + timedelta(days=1)), b"{}")
    store.close()
    store = CoordinatorStore(store_address)
    jobs[4] = begun(submission("4")).end(State.COMPLETE, "", 0, NOON + timedelta(days=1))
    assert [store.submission(each.job) for each in jobs] == jobs
    assert store.open_submissions() == jobs[:3]
    assert [each.job for each in store.submissions(4)] == ["2", "1", "0", "4"]
    assert store.sources("2") == sources
    assert [store.outcome(job) for job in "34"] == [None, b"{}"]
    store.forget_submissions(NOON + timedelta(hours=1))
    assert [each.job for each in store.submissions(9)] == ["2", "1", "0", "4"]
    assert store.submission("3") is None
    store.close()
