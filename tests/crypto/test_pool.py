"""Both executors behave alike: results, failures with their notes, and keys across the boundary."""

import os
import signal
import time
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
from paillier_world import small_key

from veilmatch_crypto.ciphertexts import encrypt_chunk, multiply_chunks, open_chunk
from veilmatch_crypto.errors import CiphertextError
from veilmatch_crypto.pool import InlineExecutor, make_executor


@pytest.fixture(scope="module", params=[1, 2])
def executor(request: pytest.FixtureRequest):
    with make_executor(request.param) as pool:
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


def _until_it_is_noticed(pool: Executor) -> None:
    for _ in range(100):
        pool.submit(time.sleep, 0.05).result()


def test_a_pool_outlives_its_killed_workers() -> None:
    with make_executor(2) as pool:
        os.kill(pool.submit(os.getpid).result(), signal.SIGKILL)
        with pytest.raises(BrokenProcessPool):
            _until_it_is_noticed(pool)
        assert pool.submit(os.getpid).result() != os.getpid()


def test_what_is_submitted_inline_runs_at_once() -> None:
    done = []
    future = InlineExecutor().submit(done.append, 1)
    assert done == [1]
    assert future.done()
