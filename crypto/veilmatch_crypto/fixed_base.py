"""Powers of one base modulo n**2 from a table: the noise h**r of a ciphertext.

The exponent is cut into digits of w bits; row i of the table holds h to the d 2**(w i) for every
digit d, and a power is the product of one entry a row (Brickell et al., Eurocrypt 1992).

An entry x modulo n**2 is kept as (a, c) with x = a (1 + c n) and a = x modulo n, both below n.
Since (1 + c n)(1 + c' n) = 1 + (c + c') n, a product of entries needs one multiplication of a
running product with a number of *half* the length for each a, and one addition for each c:
half the time of multiplying entries modulo n**2, with the same result.

Powers are made a chunk at a time, row after row, each row's entries in the order of their digits: memory is
then read in one direction.  Power by power, an eighth of the time was waiting for it (docs/performance.md).
"""

from typing import NamedTuple

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

# The order's 512 bits plus 128, so that h**r is uniform in its subgroup (protocol.md, 4.1).
EXPONENT_BITS = 640
EXPONENT_BYTES = EXPONENT_BITS // 8

TABLE_BYTES = 64 << 20  # limit of one table: a worker may hold two
_ENTRY_OVERHEAD = 56  # bytes beside the numbers: an integer's header and a reference
_BUILD_COST = 1.6  # making an entry takes as long as using this many (measured at 3072 bits)


def choose_window(expected: int, bits: int) -> int:
    """The digit length, in bits, that encrypts ``expected`` numbers soonest, table included."""

    def cost(window: int) -> float:
        return _rows(window) * (expected + _BUILD_COST * (1 << window))

    entry_bytes = bits // 4 + _ENTRY_OVERHEAD
    affordable = [w for w in range(1, 17) if _rows(w) * (entry_bytes << w) <= TABLE_BYTES]
    return min(affordable, key=cost)


class _Row(NamedTuple):
    """The entries of one digit's row."""

    residues: list[mpz]  # a, by digit
    coefficients: NDArray[np.uint32]  # c, by digit, in words of 32 bits from the lowest: (2**window, words)


class FixedBase:
    """A table for powers of ``h`` modulo ``n**2`` with exponents of EXPONENT_BITS bits."""

    def __init__(self, n: int, h: int, window: int) -> None:
        self._n = mpz(n)
        self._square = self._n * self._n
        self._window = window
        self._rows = _build(self._n, mpz(h), window)

    def powers(self, exponents: bytes) -> list[tuple[mpz, mpz]]:
        """The powers for m exponents, each as (x, c) for x (1 + c n) modulo n**2, x below n**2 and c >= 0.

        ``exponents``: EXPONENT_BYTES little-endian bytes each.
        """
        digits = self._digits(exponents)
        products = [mpz(1)] * len(digits)
        # A word's sum over the rows has less than 64 bits: carried into a number once, at the end.
        sums = np.zeros((len(digits), self._rows[0].coefficients.shape[1]), np.uint64)
        for row, column in zip(self._rows, digits.T, strict=True):
            places = column.argsort()
            for place, digit in zip(places.tolist(), column[places].tolist(), strict=True):
                products[place] = products[place] * row.residues[digit] % self._square
            sums += row.coefficients.take(column, axis=0)
        return list(zip(products, _carried(sums), strict=True))

    def _digits(self, exponents: bytes) -> NDArray[np.int64]:
        """Cut m exponents into digits, shape (m, rows)."""
        count = len(exponents) // EXPONENT_BYTES
        octets = np.frombuffer(exponents, np.uint8).reshape(count, EXPONENT_BYTES)
        bits = np.zeros((count, len(self._rows) * self._window), np.uint8)
        bits[:, :EXPONENT_BITS] = np.unpackbits(octets, axis=1, bitorder="little")
        weights = 1 << np.arange(self._window)
        return bits.reshape(count, len(self._rows), self._window) @ weights


def _rows(window: int) -> int:
    return -(-EXPONENT_BITS // window)


def _build(n: mpz, h: mpz, window: int) -> list[_Row]:
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
        rows.append(_Row(residues, _words(coefficients, n)))
    return rows


def _words(numbers: list[mpz], n: mpz) -> NDArray[np.uint32]:
    """Numbers below ``n`` in words of 32 bits, shape (count, words)."""
    size = -(-n.bit_length() // 32) * 4
    octets = b"".join(number.to_bytes(size, "little") for number in numbers)
    return np.frombuffer(octets, "<u4").reshape(len(numbers), -1)


def _carried(sums: NDArray[np.uint64]) -> list[mpz]:
    """The numbers whose words of 32 bits these are, each not yet reduced to 32 bits."""
    halves = sums.astype("<u8", copy=False).view("<u4").reshape(*sums.shape, 2)
    low, high = (np.ascontiguousarray(halves[:, :, half]) for half in (0, 1))
    return [
        mpz.from_bytes(below.tobytes(), "little") + (mpz.from_bytes(above.tobytes(), "little") << 32)
        for below, above in zip(low, high, strict=True)
    ]
