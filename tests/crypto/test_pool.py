"""Both executors behave alike: results, failures with their notes, and keys across the boundary."""

from concurrent.futures import Executor, ProcessPoolExecutor

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


def test_one_worker_is_this_process_and_more_are_spawned() -> None:
    with make_executor(1) as inline, make_executor(2) as pool:
        assert isinstance(inline, InlineExecutor)
        assert isinstance(pool, ProcessPoolExecutor)
        assert pool._mp_context.get_start_method() == "spawn"


def test_what_is_submitted_inline_runs_at_once() -> None:
    done = []
    future = InlineExecutor().submit(done.append, 1)
    assert done == [1]
    assert future.done()
