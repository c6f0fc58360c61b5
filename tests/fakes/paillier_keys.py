"""Paillier keys for simulated federations: every two of a few primes make one, where a fresh key takes two new primes.

A federation gets each key once, as nodes refuse a key that they have seen; another federation begins
with the first one again.  Whoever has two keys that share a prime can factor both: nobody here does.
That nodes generate their keys is shown in tests/crypto and by the federations of real processes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from itertools import count
from math import isqrt

import gmpy2

from veilmatch_crypto import PrivateKey, generate, paillier
from veilmatch_crypto.paillier import ORDER_BITS, _prime_and_generator, _random_prime
from veilmatch_node import starting


class Keys:
    """The keys of one federation, in the order in which its nodes ask for them."""

    def __init__(self) -> None:
        self._numbers = count()

    def draw(self, bits: int) -> PrivateKey:
        """A key of ``bits`` bits that this federation has not had."""
        return _key(next(self._numbers), bits)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While the context is open, a node that this thread runs draws its keys here."""
        token = _keys.set(self)
        try:
            yield
        finally:
            _keys.reset(token)


_keys: ContextVar[Keys | None] = ContextVar("_keys", default=None)


def _generate(bits: int) -> PrivateKey:
    keys = _keys.get()
    return generate(bits) if keys is None else keys.draw(bits)


starting.generate = _generate
# Every party checks every key before it uses it, and here they see the same few again and again.
paillier.check_public_key = cache(paillier.check_public_key)


@cache
def _key(number: int, bits: int) -> PrivateKey:
    """The key of two primes that has this number: (0, 1), (0, 2), (1, 2), (0, 3), ..."""
    second = (1 + isqrt(1 + 8 * number)) // 2
    first = number - second * (second - 1) // 2
    (v_p, p, h_p), (v_q, q, h_q) = _prime(first, bits // 2), _prime(second, bits // 2)
    # h modulo n**2 from its residues modulo p**2 and q**2.
    h = h_q + q * q * ((h_p - h_q) * gmpy2.invert(q * q, p * p) % (p * p))
    return PrivateKey(int(p), int(q), (int(v_p), int(v_q)), int(h))


@cache
def _prime(_number: int, bits: int) -> tuple[gmpy2.mpz, gmpy2.mpz, gmpy2.mpz]:
    """An order v, a prime p with v in p - 1, and an element of order v modulo p**2."""
    order = _random_prime(ORDER_BITS)
    return order, *_prime_and_generator(order, bits)
