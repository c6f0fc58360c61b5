"""Shows that outputs come back from their pieces, and that a column's HMACs are the standard library's."""

import hmac

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilmatch_crypto import WorkerThreads
from veilmatch_node import pseudonyms
from veilmatch_node.pseudonyms import Blinded, Outputs, blind_batches, hmac_rows


def inputs_of(*inputs):
    return pa.array(inputs, pa.large_binary())


@given(st.binary(max_size=64), st.lists(st.binary(max_size=80), max_size=5))
def test_hmac_of_a_column(key, inputs):
    expected = [hmac.digest(key, each, "sha256") for each in inputs]
    assert [row.tobytes() for row in hmac_rows(key, inputs_of(*inputs))] == expected


def test_a_key_that_would_be_hashed_first_is_refused():
    with pytest.raises(ValueError, match="65 bytes"):
        hmac_rows(bytes(65), inputs_of(b"x"))


def outputs(numbers):
    count = len(numbers)
    return Outputs(
        inputs_of(*(b"%d" % number for number in numbers)),
        np.repeat(np.array(numbers, np.uint8), 32).reshape(count, 32),
        np.array(numbers, np.uint64),
    )


@pytest.mark.parametrize("numbers", [[], [5], list(range(7))])
def test_outputs_come_back_from_their_pieces(monkeypatch, numbers):
    monkeypatch.setattr(pseudonyms, "_PIECE", 3)
    pieces = list(outputs(numbers).encode())
    assert len(pieces) == -(-len(numbers) // 3)
    back = Outputs.decode(pieces)
    assert back.inputs.to_pylist() == [b"%d" % number for number in numbers]
    assert back.values[:, 31].tolist() == back.tags.tolist() == numbers
    assert repr(back) == f"Outputs({len(numbers)} identities)"


def test_places_are_those_in_the_joined_parts():
    joined = Outputs.joined([outputs([3, 1]), outputs([]), outputs([2])])
    assert joined.places(inputs_of(b"2", b"9", b"3")).to_pylist() == [2, None, 0]


@pytest.mark.parametrize(
    ("people", "sizes"), [(0, []), (512, [512]), (1025, [512, 512, 1]), (4800, [600] * 8)]
)
def test_a_small_table_makes_several_batches(monkeypatch, people, sizes):
    monkeypatch.setattr(pseudonyms, "blind", lambda batch, pool: (batch, b""))
    with WorkerThreads(1) as pool:
        batches = list(blind_batches(inputs_of(*(b"%d" % n for n in range(people))), pool))
    assert [len(batch.inputs) for batch in batches] == sizes


def test_a_request_is_made_again_byte_for_byte():
    with WorkerThreads(2) as pool:
        [batch] = blind_batches(inputs_of(*(b"%d" % number for number in range(200))), pool)
        again = Blinded.decode(batch.encode(), pool)
    assert (again.inputs, again.elements) == (batch.inputs, batch.elements)
