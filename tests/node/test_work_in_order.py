"""Shows that work on several chunks overlaps and comes back in its order."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from veilmatch_crypto.pool import InlineExecutor
from veilmatch_node import in_order as module
from veilmatch_node.in_order import in_order


def test_four_workers_work_at_once_and_their_results_keep_their_order():
    together = threading.Barrier(4, timeout=10.0)

    def work(number):
        together.wait()  # breaks unless four are in here
        return number * number

    with ThreadPoolExecutor(4) as pool:
        results = list(in_order((number, pool.submit(work, number)) for number in range(8)))
    assert results == [(number, number * number) for number in range(8)]


def test_nothing_is_taken_ahead_where_each_call_is_done_at_once():
    submitted = []

    def calls():
        for number in range(5):
            submitted.append(number)
            yield number, InlineExecutor().submit(abs, number)

    for count, _ in enumerate(in_order(calls()), 1):
        assert len(submitted) == count


def test_a_failure_ends_it_and_the_rest_is_cancelled():
    taken = []

    def submitting():
        for number in range(100):
            taken.append(Future())
            if len(taken) == module._AHEAD - 1:
                taken[0].set_exception(ValueError("broken"))
            yield number, taken[-1]

    with pytest.raises(ValueError, match="broken"):
        list(in_order(submitting()))
    assert len(taken) == module._AHEAD - 1
    assert all(call.cancelled() for call in taken[1:])
