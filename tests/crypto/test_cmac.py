"""Shows that CMAC of many messages is NIST's, and that rows are sorted as bytes, against pycryptodome and Python."""

import numpy as np
import pytest
from Crypto.Cipher import AES
from Crypto.Hash import CMAC
from hypothesis import given
from hypothesis import strategies as st

from veilmatch_crypto import ascending, cmac_rows

KEY = bytes(range(32))


def rows_of(data, width):
    return np.frombuffer(data, np.uint8).reshape(-1, width)


def cmac(key, message):
    return CMAC.new(key, message, ciphermod=AES).digest()


@given(
    key=st.binary(min_size=32, max_size=32),
    blocks=st.integers(1, 3),
    message=st.integers(1, 3).flatmap(lambda width: st.binary(min_size=16 * width, max_size=16 * width)),
)
def test_each_block_is_the_cmac_of_the_message_and_its_number(key, blocks, message):
    [expanded] = cmac_rows(key, rows_of(message, len(message)), blocks=blocks)
    assert expanded.tobytes() == b"".join(
        cmac(key, message + number.to_bytes(16, "big")) for number in range(blocks)
    )


@pytest.mark.parametrize("count", [0, 1, (1 << 14) - 1, (1 << 14) + 1])
def test_pieces_are_joined_in_order(count):
    messages = rows_of(np.arange(4 * count, dtype="<u8").tobytes(), 32)
    expanded = cmac_rows(KEY, messages, blocks=2)
    assert expanded.shape == (count, 32)
    for place in {0, count // 2, count - 1} if count else ():
        assert expanded[place, :16].tobytes() == cmac(KEY, messages[place].tobytes() + bytes(16))
    assert len(np.unique(expanded, axis=0)) == count


def test_columns_of_a_wider_array_are_taken_as_they_are():
    wide = rows_of(bytes(range(192)), 64)
    assert np.array_equal(cmac_rows(KEY, wide[:, 16:48]), cmac_rows(KEY, wide[:, 16:48].copy()))


@pytest.mark.parametrize(("key", "width"), [(16, 32), (33, 32), (32, 0), (32, 24)])
def test_another_cipher_or_a_part_of_a_block_is_refused(key, width):
    with pytest.raises(ValueError, match="not for AES-256-CMAC"):
        cmac_rows(bytes(key), np.zeros((2, width), np.uint8))


# Few different bytes, so that rows agree in their first words and differ, or not, in later ones.
@given(
    st.lists(st.binary(min_size=3, max_size=3).map(lambda ends: bytes(7) + ends[:1] + bytes(14) + ends[1:]))
)
def test_rows_are_sorted_as_bytes(rows):
    order, new = ascending(rows_of(b"".join(rows), 24))
    ranked = [rows[place] for place in order]
    assert ranked == sorted(rows)
    assert new.tolist() == [place == 0 or ranked[place - 1] != row for place, row in enumerate(ranked)]


def test_random_rows_are_sorted_as_bytes():
    rows = np.random.default_rng(1).integers(0, 256, (500, 32), np.uint8)
    rows = np.concatenate([rows, rows[::3]])
    order, new = ascending(rows)
    ranked = [row.tobytes() for row in rows[order]]
    assert ranked == sorted(ranked)
    assert new.sum() == 500
