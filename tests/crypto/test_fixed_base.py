"""The table of powers against GMP's own power."""

import gmpy2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paillier_world import small_key

from veilmatch_crypto.fixed_base import EXPONENT_BITS, EXPONENT_BYTES, TABLE_BYTES, FixedBase, choose_window


@pytest.mark.parametrize("window", [1, 3, 7, 8, 9])
@given(exponents=st.lists(st.integers(0, 2**EXPONENT_BITS - 1), min_size=1, max_size=3))
@settings(max_examples=10, deadline=None)
def test_powers_from_the_table_are_powers(window: int, exponents: list[int]) -> None:
    n, h = small_key().public.n, small_key().public.h
    table = FixedBase(n, h, window)
    powers = table.powers(b"".join(e.to_bytes(EXPONENT_BYTES, "little") for e in exponents))
    for exponent, (product, coefficient) in zip(exponents, powers, strict=True):
        assert product * (1 + coefficient * n) % n**2 == gmpy2.powmod(h, exponent, n**2)


@pytest.mark.parametrize("exponent", [0, 1, 2**EXPONENT_BITS - 1])
def test_the_ends_of_the_range(exponent: int) -> None:
    n, h = small_key().public.n, small_key().public.h
    table = FixedBase(n, h, 6)  # 640 is no multiple of 6: the last digit is short
    [(product, coefficient)] = table.powers(exponent.to_bytes(EXPONENT_BYTES, "little"))
    assert product * (1 + coefficient * n) % n**2 == gmpy2.powmod(h, exponent, n**2)


@pytest.mark.parametrize("bits", [2048, 3072])
def test_more_work_gets_a_larger_table_within_the_limit(bits: int) -> None:
    windows = [choose_window(expected, bits) for expected in (1, 50, 3_279, 16_394, 10**7)]
    assert windows == sorted(windows)
    assert windows[0] < windows[2] < windows[-1]
    entries = -(-EXPONENT_BITS // windows[-1]) << windows[-1]
    assert entries * bits // 4 <= TABLE_BYTES
