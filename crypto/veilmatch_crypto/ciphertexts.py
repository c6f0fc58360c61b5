"""Chunks of ciphertexts: encrypted, multiplied, opened, and watched for repeated randomness.

A chunk is m ciphertexts one after another, big-endian, ``Layout.ciphertext_bytes`` each.  The
functions take and return arrays and bytes and keep nothing but a table a key, so that any
``concurrent.futures`` executor can run them.  protocol.md, 4.7 is the caller's: an encrypted
chunk is stored and resent, never encrypted again.
"""

import os
import secrets
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import sha256

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from veilmatch_crypto.errors import CiphertextError
from veilmatch_crypto.fixed_base import EXPONENT_BYTES, FixedBase, choose_window
from veilmatch_crypto.paillier import PrivateKey, PublicKey
from veilmatch_crypto.prg import WORD_MASK


def encrypt_chunk(key: PublicKey, words: NDArray[np.uint64], expected: int) -> bytes:
    """Pack and encrypt words, shape (m, slots), values below 2**40, to a chunk of m ciphertexts.

    ``expected`` is about how many ciphertexts this process will make under ``key`` in all; it
    decides the size of the table that the process keeps, so pass the same number each time.
    Randomness is drawn from the operating system here and now, for each ciphertext anew: a
    forked or restarted worker repeats nothing.  Raises ValueError for a wrong shape or value.
    """
    layout = key.layout
    ciphertexts = encrypt(key, layout.pack(words), expected)
    return _join(ciphertexts, layout.ciphertext_bytes)


def encrypt(key: PublicKey, plaintexts: Sequence[mpz], expected: int) -> list[mpz]:
    """Encrypt plaintexts, 0 <= m < n: (1 + m n) h**r mod n**2, or r**n in h**r's place if strict."""
    n = mpz(key.n)
    square = n * n
    if key.h is None:
        noises = (gmpy2.powmod(_random_unit(n), n, square) for _ in plaintexts)
        return [(1 + m * n) * noise % square for m, noise in zip(plaintexts, noises, strict=True)]
    table = _table(key, choose_window(expected, key.bits))
    powers = table.powers(os.urandom(EXPONENT_BYTES * len(plaintexts)))
    # x (1 + m n) (1 + c n) = x + x (m + c) n modulo n**2: that product is one modulo n.
    return [(x + x % n * (m + c) % n * n) % square for m, (x, c) in zip(plaintexts, powers, strict=True)]


def multiply_chunks(key: PublicKey, chunks: Sequence[bytes]) -> bytes:
    """Multiply chunks of equal length ciphertext by ciphertext: the sum of their plaintexts.

    Raises CiphertextError where a chunk is malformed or their lengths differ.
    """
    square = mpz(key.n) ** 2
    first, *others = (read_chunk(key, chunk) for chunk in chunks)
    for other in others:
        if len(other) != len(first):
            raise CiphertextError("chunks of one outcome differ in their number of ciphertexts")
        first = [x * y % square for x, y in zip(first, other, strict=True)]
    return _join(first, key.layout.ciphertext_bytes)


def open_chunk(key: PrivateKey, chunk: bytes) -> NDArray[np.uint64]:
    """Decrypt a chunk of m ciphertexts to words, shape (m, slots), reduced modulo 2**40.

    Raises CiphertextError where a ciphertext is malformed or not of this key.
    """
    plaintexts = [key.decrypt(ciphertext) for ciphertext in read_chunk(key.public, chunk)]
    return key.public.layout.unpack(plaintexts) & WORD_MASK


def read_chunk(key: PublicKey, chunk: bytes) -> list[mpz]:
    """Split a chunk into integers, 0 < c < n**2; CiphertextError where it is malformed."""
    size = key.layout.ciphertext_bytes
    if len(chunk) % size:
        raise CiphertextError(f"a chunk is a multiple of {size} bytes, not {len(chunk)}")
    ciphertexts = [mpz.from_bytes(chunk[at : at + size], "big") for at in range(0, len(chunk), size)]
    limit = mpz(key.n) ** 2
    if not all(0 < ciphertext < limit for ciphertext in ciphertexts):
        raise CiphertextError("a ciphertext is not a number between 0 and n**2")
    return ciphertexts


class ResidueGuard:
    """Refuses two ciphertexts with equal residues modulo n under one key (protocol.md, 4.2).

    The residue is the ciphertext's randomness: two equal ones are one ciphertext twice, or one
    whose plaintext alone was changed.  Kept as hashes.  A chunk that is resent as it was must
    not be admitted again: telling it from a new one is the caller's, by its place in the job.
    """

    def __init__(self, key: PublicKey) -> None:
        self._key = key
        self._seen: set[bytes] = set()

    def admit(self, chunk: bytes) -> None:
        """Take a chunk's residues in; CiphertextError, and nothing taken, where one is there already.

        The message has no numbers; the place in the chunk is in the exception's notes, for the
        local log.
        """
        size = self._key.bits // 8
        fresh: set[bytes] = set()
        for place, ciphertext in enumerate(read_chunk(self._key, chunk)):
            digest = sha256((ciphertext % self._key.n).to_bytes(size, "big")).digest()
            if digest in self._seen or digest in fresh:
                error = CiphertextError("two ciphertexts under one key have the same randomness")
                error.add_note(f"ciphertext {place} of the chunk")
                raise error
            fresh.add(digest)
        self._seen |= fresh


@lru_cache(maxsize=2)  # two jobs may interleave in a worker; a table has up to fixed_base.TABLE_BYTES
def _table(key: PublicKey, window: int) -> FixedBase:
    if key.h is None:
        raise ValueError("a strict key has no table")
    return FixedBase(key.n, key.h, window)


def _random_unit(n: mpz) -> mpz:
    """A uniform element of Z_n^*."""
    while True:
        candidate = mpz(secrets.randbelow(int(n)))
        if gmpy2.gcd(candidate, n) == 1:
            return candidate


def _join(ciphertexts: Iterable[mpz], size: int) -> bytes:
    return b"".join(ciphertext.to_bytes(size, "big") for ciphertext in ciphertexts)
