"""All executors behave alike: results, failures with their notes, and keys across the boundary."""

import os
import signal
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
from paillier_world import small_key

from veilmatch_crypto.ciphertexts import encrypt_chunk, multiply_chunks, open_chunk
from veilmatch_crypto.errors import CiphertextError
from veilmatch_crypto.pool import InlineExecutor, at_once, make_executor
from veilmatch_crypto.threads import all_processors


@pytest.fixture(scope="module", params=[1, 2, None])
def executor(request: pytest.FixtureRequest):
    """Of this process, of two others, and of the standard library."""
    with make_executor(request.param) if request.param else ThreadPoolExecutor(2) as pool:
        yield pool


def test_chunks_in_chunks_out_in_order(executor: Executor) -> None:
    key = small_key()
    chunks = [np.full((2, key.public.layout.slots), number, np.uint64) for number in range(5)]
    encrypted = list(executor.map(encrypt_chunk, [key.public] * 5, chunks, [10] * 5))
    product = executor.submit(multiply_chunks, key.public, encrypted).result()
    opened = executor.submit(open_chunk, key, product).result()
    assert np.array_equal(opened, sum(chunks))


def test_a_failure_arrives_with_its_own_class(executor: Executor) -> None:
    with pytest.raises(CiphertextError, match="multiple of 128 bytes"):
        executor.submit(open_chunk, small_key(), b"x").result()


_SET_HERE: list[bool] = []


def _set_there() -> list[bool]:
    return _SET_HERE


def test_one_worker_is_this_process_and_more_are_spawned() -> None:
    assert isinstance(make_executor(1), InlineExecutor)
    with make_executor(2) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
        _SET_HERE.append(True)  # a forked worker would have it
        assert pool.submit(_set_there).result() == []


def _numbered(number: int) -> tuple[int, int]:
    time.sleep(0.01)
    return number, os.getpid()


def test_what_a_killed_worker_had_in_hand_is_done_again() -> None:
    with make_executor(2) as pool:
        first = pool.submit(os.getpid).result()
        calls = [pool.submit(_numbered, number) for number in range(20)]
        os.kill(first, signal.SIGKILL)
        results = [each.result() for each in calls]
        assert [number for number, _ in results] == list(range(20))
        assert results[-1][1] != first


def test_a_call_that_kills_its_workers_fails_and_the_pool_goes_on() -> None:
    with make_executor(2) as pool:
        with pytest.raises(BrokenProcessPool):
            pool.submit(os.abort).result()
        assert pool.submit(os.getpid).result() != os.getpid()


def test_nothing_is_taken_after_the_end_and_what_was_taken_is_done() -> None:
    for wait in (True, False):
        pool = make_executor(2)
        taken = [pool.submit(abs, -number) for number in range(5)]
        pool.shutdown(wait)
        assert [each.result() for each in taken] == list(range(5))
        with pytest.raises(RuntimeError, match="after shutdown"):
            pool.submit(abs, 1)


def test_a_plain_executor_has_as_many_at_once_as_there_are_processors() -> None:
    with ThreadPoolExecutor(3) as pool:
        assert at_once(pool) == len(os.sched_getaffinity(0))
    assert at_once(InlineExecutor()) == 1
    with all_processors(InlineExecutor()) as threads, all_processors(pool) as same:
        assert at_once(threads) == len(os.sched_getaffinity(0))
        assert same is pool


def test_what_is_submitted_inline_runs_at_once() -> None:
    done = []
    future = InlineExecutor().submit(done.append, 1)
    assert done == [1]
    assert future.done()
