"""Paillier keys and decryption (protocol.md, 4.1).

Ciphertexts are (1 + m n) h**r mod n**2, where h generates the subgroup of order v_p v_q of the
n-th residues: p = 2 v_p u_p + 1 and q likewise, with distinct secret primes v_p, v_q of 256 bits.
Whoever has them opens with two short powers, v_p modulo p**2 and v_q modulo q**2: the idea of
Paillier 1999, section 6, in the subgroup of Damgard, Geisler and Kroigaard 2007 (with the
correction of 2008).  A strict key has no h: its noise is r**n, r uniform, plain Paillier.

Encryption is in ``ciphertexts``.  Signatures of keys, and whether a key was seen before, are the
caller's.  Opening's powers are in constant time.  Key generation, and the table look-ups of encryption, take time
that depends on secrets: the adversary of protocol.md, 1 is a party at the other end of a stream of whole
chunks, not one on this machine.
"""

import secrets
from dataclasses import dataclass
from functools import cache
from typing import Self

import gmpy2
from gmpy2 import mpz

from veilmatch_crypto.errors import CiphertextError, KeyRefusedError
from veilmatch_crypto.packing import Layout
from veilmatch_crypto.powers import make_power

KEY_BITS = (2048, 3072)  # about 112 and 128 bits of security (NIST SP 800-57 part 1 rev. 5, table 2; 2020)
ORDER_BITS = 256  # of v_p and v_q: generic attacks at 2**128 (Coron et al., PKC 2011)
SMALLEST_FACTOR = 1 << 16  # a modulus with a factor below it is refused

# GMP 6.2 and later: Baillie-PSW, then 64 - 24 Miller-Rabin rounds: 2**-80 even for chosen numbers.
_PRIME_ROUNDS = 64


@dataclass(frozen=True, slots=True, repr=False)
class PublicKey:
    """A modulus ``n`` and, unless the key is strict, the generator ``h`` of the noise, modulo n**2."""

    n: int
    h: int | None

    def __repr__(self) -> str:
        return f"PublicKey({self.bits} bits{', strict' if self.h is None else ''})"

    @property
    def bits(self) -> int:
        """Length of the modulus."""
        return self.n.bit_length()

    @property
    def layout(self) -> Layout:
        """Where the slots of a plaintext under this key are."""
        return Layout(self.bits)

    def to_bytes(self) -> bytes:
        """Encode as n, then h unless strict: big-endian, bits / 8 and bits / 4 bytes."""
        n = self.n.to_bytes(self.bits // 8, "big")
        return n if self.h is None else n + self.h.to_bytes(self.bits // 4, "big")

    @classmethod
    def from_bytes(cls, data: bytes, bits: int) -> Self:
        """Decode and check a key of ``bits`` bits; KeyRefusedError as ``check_public_key``."""
        size = bits // 8
        if len(data) not in {size, 3 * size}:
            raise KeyRefusedError(f"a {bits}-bit public key has {size} or {3 * size} bytes, not {len(data)}")
        n, h = data[:size], data[size:]
        key = cls(int.from_bytes(n, "big"), int.from_bytes(h, "big") if h else None)
        check_public_key(key, bits)
        return key


def check_public_key(key: PublicKey, bits: int) -> None:
    """Refuse a public key that does not have the form of protocol.md, 4.1.

    ``bits`` is the length that the manifest names.  Raises KeyRefusedError, naming the fault.
    """
    if bits not in KEY_BITS:
        raise KeyRefusedError(f"moduli have {' or '.join(map(str, KEY_BITS))} bits, not {bits}")
    n = mpz(key.n)
    if n.bit_length() != bits:
        raise KeyRefusedError(f"the modulus has {n.bit_length()} bits, the manifest says {bits}")
    if n % 2 == 0:
        raise KeyRefusedError("the modulus is even")
    if gmpy2.gcd(n, _small_primes()) != 1:
        raise KeyRefusedError(f"the modulus has a factor below {SMALLEST_FACTOR}")
    if gmpy2.is_prime(n, _PRIME_ROUNDS):
        raise KeyRefusedError("the modulus is prime")
    if gmpy2.is_power(n):
        raise KeyRefusedError("the modulus is a perfect power")
    if key.h is not None:
        if not 1 < key.h < n * n:
            raise KeyRefusedError("the generator is not 1 < h < n**2")
        if gmpy2.gcd(key.h, n) != 1:
            raise KeyRefusedError("the generator shares a factor with the modulus")


@cache
def _small_primes() -> mpz:
    """The product of all primes below SMALLEST_FACTOR."""
    return gmpy2.primorial(SMALLEST_FACTOR - 1)


class _Side:
    """Decryption modulo the square of one prime factor."""

    __slots__ = ("_power", "_prime", "_scale")

    def __init__(self, prime: mpz, cofactor: mpz, exponent: mpz) -> None:
        self._prime = prime
        self._power = make_power(prime * prime, exponent)
        # c**e = 1 + m n e modulo p**2, and n e = p (q e): the scale undoes q e modulo p.
        self._scale = gmpy2.invert(cofactor * exponent, prime)

    def open(self, ciphertext: mpz) -> mpz:
        """The plaintext modulo the prime."""
        quotient, remainder = gmpy2.f_divmod(self._power.of(ciphertext), self._prime)
        if remainder != 1:
            raise CiphertextError("a ciphertext was not made under the job's key")
        return quotient * self._scale % self._prime


class PrivateKey:
    """The factors of a modulus, and for a key with h the orders v_p and v_q.

    Holds the job's secrets: it does not print them, and it crosses to another process only as
    an argument of a pool's task.
    """

    __slots__ = ("_crt", "_orders", "_p", "_q", "_sides", "_strict_sides", "public")

    def __init__(self, p: int, q: int, orders: tuple[int, int] | None = None, h: int | None = None) -> None:
        """Take primes ``p`` and ``q``; ``orders`` (v_p, v_q) and ``h`` both or, for a strict key, neither."""
        if (orders is None) != (h is None):
            raise ValueError("a key has both orders and generator, or neither")
        self._p, self._q = mpz(p), mpz(q)
        self._orders = orders
        self._crt = gmpy2.invert(self._q, self._p)
        self._strict_sides = self._both(self._p - 1, self._q - 1)
        self._sides = self._strict_sides if orders is None else self._both(mpz(orders[0]), mpz(orders[1]))
        self.public = PublicKey(int(self._p * self._q), h)

    def __repr__(self) -> str:
        return f"PrivateKey({self.public!r})"

    def decrypt(self, ciphertext: int) -> mpz:
        """Open a ciphertext of this key: 0 <= m < n.

        Fails closed: raises CiphertextError where the ciphertext is not (1 + m n) times a power
        of h, or, under a strict key, shares a factor with n.
        """
        return self._open(self._sides, ciphertext)

    def decrypt_full(self, ciphertext: int) -> mpz:
        """Open any Paillier ciphertext modulo n**2, whatever its noise; CiphertextError if it is no unit."""
        return self._open(self._strict_sides, ciphertext)

    def to_bytes(self) -> bytes:
        """Encode as p, q, and unless strict v_p, v_q, h: big-endian, fixed lengths. Secret."""
        bits = self.public.bits
        parts = [(self._p, bits // 16), (self._q, bits // 16)]
        if self._orders is not None and self.public.h is not None:
            parts += [(order, ORDER_BITS // 8) for order in self._orders]
            parts.append((self.public.h, bits // 4))
        return b"".join(int(number).to_bytes(size, "big") for number, size in parts)

    @classmethod
    def from_bytes(cls, data: bytes, bits: int) -> Self:
        """Decode what ``to_bytes`` made of a key of ``bits`` bits; KeyRefusedError for another length."""
        sizes = [bits // 16, bits // 16]
        if len(data) != sum(sizes):
            sizes += [ORDER_BITS // 8, ORDER_BITS // 8, bits // 4]
        if len(data) != sum(sizes):
            raise KeyRefusedError(f"{len(data)} bytes are no {bits}-bit private key")
        numbers, at = [], 0
        for size in sizes:
            numbers.append(int.from_bytes(data[at : at + size], "big"))
            at += size
        p, q, *rest = numbers
        return cls(p, q, (rest[0], rest[1]), rest[2]) if rest else cls(p, q)

    def _both(self, exponent_p: mpz, exponent_q: mpz) -> tuple[_Side, _Side]:
        return _Side(self._p, self._q, exponent_p), _Side(self._q, self._p, exponent_q)

    def _open(self, sides: tuple[_Side, _Side], ciphertext: int) -> mpz:
        modulo_p, modulo_q = (side.open(mpz(ciphertext)) for side in sides)
        return modulo_q + self._q * ((modulo_p - modulo_q) * self._crt % self._p)


def generate(bits: int, *, strict: bool = False) -> PrivateKey:
    """Make a fresh key with a modulus of exactly ``bits`` bits; ValueError unless 2048 or 3072."""
    if bits not in KEY_BITS:
        raise ValueError(f"keys have {' or '.join(map(str, KEY_BITS))} bits, not {bits}")
    return _generate_strict(bits) if strict else _generate(bits, ORDER_BITS)


def _generate_strict(bits: int) -> PrivateKey:
    p = q = _random_prime(bits // 2)
    while p == q:
        q = _random_prime(bits // 2)
    return PrivateKey(p, q)


def _generate(bits: int, order_bits: int) -> PrivateKey:
    v_p = v_q = _random_prime(order_bits)
    while v_p == v_q:
        v_q = _random_prime(order_bits)
    p, h_p = _prime_and_generator(v_p, bits // 2)
    q, h_q = _prime_and_generator(v_q, bits // 2)
    # h modulo n**2 from its residues modulo p**2 and q**2.
    square_p, square_q = p * p, q * q
    h = h_q + square_q * ((h_p - h_q) * gmpy2.invert(square_q, square_p) % square_p)
    return PrivateKey(int(p), int(q), (int(v_p), int(v_q)), int(h))


def _prime_and_generator(order: mpz, bits: int) -> tuple[mpz, mpz]:
    """A random prime p = 2 v u + 1 for v = ``order``, and an element of order v modulo p**2."""
    low, high = (3 << bits - 2) // (2 * order) + 1, (1 << bits) // (2 * order)
    while True:
        half_cofactor = low + secrets.randbelow(int(high - low))
        p = 2 * order * half_cofactor + 1
        if gmpy2.is_prime(p, _PRIME_ROUNDS):
            break
    # Powers of p (p - 1) / v have order 1 or v: n-th residues, as n is prime to p - 1.
    generator = mpz(1)
    while generator == 1:
        base = mpz(1 + secrets.randbelow(int(p) - 1))
        generator = gmpy2.powmod(base, 2 * half_cofactor * p, p * p)
    return p, generator


def _random_prime(bits: int) -> mpz:
    """A random prime whose two highest bits are set, so that a product of two has full length."""
    while True:
        candidate = mpz(secrets.randbits(bits)) | (3 << bits - 2) | 1
        if gmpy2.is_prime(candidate, _PRIME_ROUNDS):
            return candidate
