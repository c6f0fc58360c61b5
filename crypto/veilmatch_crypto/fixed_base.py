"""Powers of one base modulo n**2 from a table: the noise h**r of a ciphertext.

The exponent is cut into digits of w bits; row i of the table holds h to the d 2**(w i) for every
digit d, and a power is the product of one entry a row (Brickell et al., Eurocrypt 1992).

An entry x modulo n**2 is kept as (a, c) with x = a (1 + c n) and a = x modulo n, both below n.
Since (1 + c n)(1 + c' n) = 1 + (c + c') n, a product of entries needs one multiplication of a
running product with a number of *half* the length for each a, and one addition for each c:
half the time of multiplying entries modulo n**2, with the same result.
"""

from collections.abc import Sequence

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

EXPONENT_BITS = (
    640  # the order's 512 bits plus 128, so that h**r is uniform in its subgroup (protocol.md, 4.1)
)
EXPONENT_BYTES = EXPONENT_BITS // 8

TABLE_BYTES = 64 << 20  # limit of one table: a worker may hold two
_ENTRY_OVERHEAD = 112  # bytes beside the digits: two integers' headers and two references
_BUILD_COST = 1.6  # making an entry takes as long as using this many (measured at 3072 bits)


def choose_window(expected: int, bits: int) -> int:
    """The digit length, in bits, that encrypts ``expected`` numbers soonest, table included."""

    def cost(window: int) -> float:
        return _rows(window) * (expected + _BUILD_COST * (1 << window))

    entry_bytes = bits // 4 + _ENTRY_OVERHEAD
    affordable = [w for w in range(1, 17) if _rows(w) * (entry_bytes << w) <= TABLE_BYTES]
    return min(affordable, key=cost)


class FixedBase:
    """A table for powers of ``h`` modulo ``n**2`` with exponents of EXPONENT_BITS bits."""

    def __init__(self, n: int, h: int, window: int) -> None:
        self._n = mpz(n)
        self._square = self._n * self._n
        self._window = window
        self._rows = _build(self._n, mpz(h), window)

    def digits(self, exponents: bytes) -> NDArray[np.int64]:
        """Cut m exponents, EXPONENT_BYTES little-endian bytes each, into digits: shape (m, rows)."""
        count = len(exponents) // EXPONENT_BYTES
        octets = np.frombuffer(exponents, np.uint8).reshape(count, EXPONENT_BYTES)
        bits = np.zeros((count, len(self._rows) * self._window), np.uint8)
        bits[:, :EXPONENT_BITS] = np.unpackbits(octets, axis=1, bitorder="little")
        weights = 1 << np.arange(self._window)
        return bits.reshape(count, len(self._rows), self._window) @ weights

    def power(self, digits: Sequence[int]) -> tuple[mpz, mpz]:
        """The power whose exponent has these digits, as (x, c) for x (1 + c n) modulo n**2."""
        product, coefficient = mpz(1), mpz(0)
        for (residues, coefficients), digit in zip(self._rows, digits, strict=True):
            product = product * residues[digit] % self._square
            coefficient += coefficients[digit]
        return product, coefficient


def _rows(window: int) -> int:
    return -(-EXPONENT_BITS // window)


def _build(n: mpz, h: mpz, window: int) -> list[tuple[list[mpz], list[mpz]]]:
    """The rows, each the residues a and the coefficients c of its 2**window entries."""
    base_c, base = gmpy2.f_divmod(h, n)
    base_inverse = gmpy2.invert(base, n)
    base_c = base_c * base_inverse % n
    rows = []
    for _ in range(_rows(window)):
        residues, coefficients = [mpz(1)], [mpz(0)]
        inverse = mpz(1)
        for _ in range(1 << window):
            # a base = quotient n + a', hence a base = a' (1 + quotient / a' n) modulo n**2.
            quotient, residue = gmpy2.f_divmod(residues[-1] * base, n)
            inverse = inverse * base_inverse % n
            residues.append(residue)
            coefficients.append((coefficients[-1] + base_c + quotient * inverse) % n)
        # One entry past the last digit: the base of the next row.
        base, base_c, base_inverse = residues.pop(), coefficients.pop(), inverse
        rows.append((residues, coefficients))
    return rows
