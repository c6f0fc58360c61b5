"""Powers with a secret exponent, by OpenSSL: in constant time, and without the interpreter's lock.

BN_mod_exp_mont_consttime takes its routines by what the processor can do (MULX, ADX), where GMP takes them
by model and knows none newer than itself: three quarters of the time of ``gmpy2.powmod`` on such a machine, and
neither time nor memory access depends on the exponent (docs/performance.md, "The opening").
"""

import _ssl
import ctypes
from typing import Protocol

import gmpy2
from gmpy2 import mpz

_P, _INT = ctypes.c_void_p, ctypes.c_int
_FUNCTIONS = {
    "BN_CTX_free": (None, [_P]),
    "BN_CTX_new": (_P, []),
    "BN_MONT_CTX_free": (None, [_P]),
    "BN_MONT_CTX_new": (_P, []),
    "BN_MONT_CTX_set": (_INT, [_P, _P, _P]),
    "BN_bin2bn": (_P, [ctypes.c_char_p, _INT, _P]),
    "BN_bn2binpad": (_INT, [_P, ctypes.c_char_p, _INT]),
    "BN_clear_free": (None, [_P]),
    "BN_mod_exp_mont_consttime": (_INT, [_P] * 6),
    "BN_new": (_P, []),
}


class Power(Protocol):
    """Numbers to one secret power, modulo one odd number."""

    def of(self, base: mpz) -> mpz:
        """Return ``base`` (>= 0) to the power.  Any number of threads may call it."""


def make_power(modulus: mpz, exponent: mpz) -> Power:
    """Return what raises to ``exponent`` (>= 1) modulo ``modulus`` (odd, > 1)."""
    return GmpPower(modulus, exponent) if _OPENSSL is None else OpensslPower(_OPENSSL, modulus, exponent)


class GmpPower:
    """GMP's, in constant time: for interpreters that have OpenSSL inside and show nothing of it."""

    __slots__ = ("_exponent", "_modulus")

    def __init__(self, modulus: mpz, exponent: mpz) -> None:
        self._modulus, self._exponent = modulus, exponent

    def of(self, base: mpz) -> mpz:
        """As ``Power``."""
        return gmpy2.powmod_sec(base, self._exponent, self._modulus)

    def __repr__(self) -> str:
        return "<Power>"


class OpensslPower:
    """OpenSSL's."""

    __slots__ = ("_exponent", "_modulus", "_montgomery", "_numbers", "_openssl", "_size")

    def __init__(self, openssl: ctypes.CDLL, modulus: mpz, exponent: mpz) -> None:
        self._openssl = openssl
        self._numbers = modulus, exponent
        self._size = -(-modulus.bit_length() // 8)
        self._modulus = self._exponent = self._montgomery = 0  # what is not made yet is not freed
        self._modulus = self._number(modulus)
        self._exponent = self._number(exponent)
        self._montgomery = _made(openssl.BN_MONT_CTX_new())
        scratch = _made(openssl.BN_CTX_new())
        done = openssl.BN_MONT_CTX_set(self._montgomery, self._modulus, scratch)
        openssl.BN_CTX_free(scratch)
        _made(done)

    def of(self, base: mpz) -> mpz:
        """As ``Power``."""
        openssl = self._openssl
        octets = ctypes.create_string_buffer(self._size)
        number, result, scratch = self._number(base), _made(openssl.BN_new()), _made(openssl.BN_CTX_new())
        done = openssl.BN_mod_exp_mont_consttime(
            result, number, self._exponent, self._modulus, scratch, self._montgomery
        ) and openssl.BN_bn2binpad(result, octets, self._size)
        openssl.BN_CTX_free(scratch)
        openssl.BN_clear_free(result)
        openssl.BN_clear_free(number)
        _made(done)
        return mpz.from_bytes(octets.raw, "big")

    def __reduce__(self) -> tuple[object, tuple[mpz, mpz]]:
        """Cross to another process as the numbers: what is behind the pointers stays here."""
        return make_power, self._numbers

    def __repr__(self) -> str:
        return "<Power>"

    def __del__(self) -> None:
        self._openssl.BN_MONT_CTX_free(self._montgomery)
        self._openssl.BN_clear_free(self._exponent)
        self._openssl.BN_clear_free(self._modulus)

    def _number(self, value: mpz) -> int:
        octets = value.to_bytes(-(-value.bit_length() // 8), "big")
        return _made(self._openssl.BN_bin2bn(octets, len(octets), None))


def _made(result: int | None) -> int:
    if not result:  # with an odd modulus, nothing else can be wrong
        raise MemoryError("OpenSSL has no memory for a power")
    return result


def _load() -> ctypes.CDLL | None:
    """The OpenSSL that this interpreter is linked with; None where its functions are not to be seen."""
    extension = getattr(_ssl, "__file__", None)
    if extension is None:
        return None
    library = ctypes.CDLL(extension)  # a name is looked up in what the extension depends on, too
    try:
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError:
        return None
    return library


_OPENSSL = _load()
