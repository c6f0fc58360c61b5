"""Kind ``ciphertexts``: one core's cost of encrypting, combining and opening, beside bare GMP and other Paillier.

A ciphertext of ours holds the words of 61 people (3072 bits), a peer's one value.  The cases ``encrypt``,
``combine`` and ``decrypt`` are therefore a ciphertext against a ciphertext; ``value`` is one department's
value, encrypted, added and opened, against the same of a peer.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Annotated, Literal

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from veilmatch import show
from veilmatch.bench.kinds.base import Experiment, KeyBits, Lab, Several, between, require, tried
from veilmatch.bench.peers import Peer
from veilmatch.bench.report import Case, Measure, Parameters, Skipped
from veilmatch.bench.rounds import Entrant, apart, beside, floor, interleaved, ours, running
from veilmatch_crypto import (
    EXPONENT_BITS,
    ContributorMasks,
    Layout,
    PrivateKey,
    ResidueGuard,
    answer_words,
    choose_window,
    encrypt_chunk,
    generate,
    multiply_chunks,
    open_chunk,
)
from veilmatch_policy.documents import Whole
from veilmatch_policy.manifest import CHUNK_CIPHERTEXTS

PEERS = (
    Peer("phe", "phe_paillier", "phe"),
    Peer("SecretFlow HEU ZPaillier", "heu_paillier", "heu"),
    Peer("pypaillier", "pypaillier_paillier", "paillier"),
)
_WORD = np.uint64((1 << 40) - 1)
_ORDER_BITS = 256  # of the subgroups modulo p and q: the exponents of an opening (protocol.md, 4.1)


class Bench:
    """A key, and what one department's chunk is made of, as long as a job's: all departments' words are the same.

    ``expected`` people are all that the run is for: they decide the size of the key's table.
    """

    def __init__(self, key_bits: int, departments: int, expected: int) -> None:
        self.key: PrivateKey = generate(key_bits)
        self.layout = Layout(key_bits)
        self.people = CHUNK_CIPHERTEXTS * self.layout.data_slots
        self.expected = self.layout.ciphertexts_for(expected)
        others = departments - 1
        self._masks = ContributorMasks(_keys(others // 2 + 1), _keys(others - others // 2), os.urandom(32))
        holds = np.frombuffer(os.urandom(self.people), np.uint8) < 128
        self._answers = partial(answer_words, holds, b"n" * 32, self.layout, 0, 0)
        self.words = self._masks.apply(self._answers(), 0, 0)
        self.chunks = tuple(self.contribute() for _ in range(departments + 1))  # the last: the coordinator's
        self.product = multiply_chunks(self.key.public, self.chunks)

    def encrypt(self) -> bytes:
        """Pack and encrypt."""
        return encrypt_chunk(self.key.public, self.words, self.expected)

    def contribute(self) -> bytes:
        """Expand masks, mask, pack and encrypt."""
        return encrypt_chunk(self.key.public, self._masks.apply(self._answers(), 0, 0), self.expected)

    def combine(self) -> bytes:
        """Compare residues, and multiply what all have sent."""
        guard = ResidueGuard(self.key.public)
        for chunk in self.chunks:
            guard.admit(chunk)
        return multiply_chunks(self.key.public, self.chunks)

    def open(self) -> NDArray[np.uint64]:
        """Open what was combined."""
        return open_chunk(self.key, self.product)

    def value(self) -> NDArray[np.uint64]:
        """One department's values, from the masks to the opened sum."""
        return open_chunk(self.key, multiply_chunks(self.key.public, [self.contribute(), self.chunks[0]]))

    def right(self, opened: NDArray[np.uint64], contributions: int) -> bool:
        """Whether opened words are the sum, modulo 2**40, of the words of so many contributions."""
        return np.array_equal(opened, self.words * np.uint64(contributions) & _WORD)

    def right_chunk(self, chunk: bytes, contributions: int) -> bool:
        """The same of a chunk that is opened for it."""
        return self.right(open_chunk(self.key, chunk), contributions)


class Floors:
    """Bare GMP: the same products and powers of random numbers, in lists that are there already."""

    def __init__(self, bench: Bench, key_bits: int, departments: int) -> None:
        self._square = mpz(bench.key.public.n) ** 2
        self._wide, self._narrow = _numbers(2 * key_bits), _numbers(key_bits)
        self._others = _numbers(2 * key_bits)
        self._departments = departments
        self._rows = -(-EXPONENT_BITS // choose_window(bench.expected, key_bits))
        # p and q have half the key's length, their squares all of it.
        self._moduli = [_numbers(key_bits)[0] | 1 for _ in range(2)]
        self._exponents = [_numbers(_ORDER_BITS)[0] for _ in range(2)]

    def noise(self) -> None:
        """The products of the noise: one of n**2's length with one of n's, a digit of the exponent."""
        for wide, narrow in zip(self._wide, self._narrow, strict=True):
            noise = wide
            for _ in range(self._rows):
                noise = noise * narrow % self._square

    def products(self) -> None:
        """A product modulo n**2 a department."""
        for one, other in zip(self._wide, self._others, strict=True):
            for _ in range(self._departments):
                _ = one * other % self._square

    def powers(self) -> None:
        """Two powers, modulo p**2 and q**2."""
        for modulus, exponent in zip(self._moduli, self._exponents, strict=True):
            for wide in self._wide:
                gmpy2.powmod(wide, exponent, modulus)


@dataclass(frozen=True)
class _Operation:
    """Of what a sample is, ours with its floors, and whether what ours gives is right."""

    item: str
    entrants: Sequence[Entrant]
    right: Callable[[], bool]


class Ciphertexts(Experiment):
    """A case an operation, for each key length and number of departments."""

    kind: Literal["ciphertexts"]
    people: Annotated[Whole, between(1000, 10_000_000)] = 1_000_000
    departments: Several[Annotated[Whole, between(2, 30)]] = (5,)
    key_bits: Several[KeyBits] = (3072,)

    def measured(self, lab: Lab) -> Iterator[Case]:
        """Measure all cases; peers make their keys once a key length."""
        for key_bits in self.key_bits:
            with running(lab.peers, [(peer, str(key_bits)) for peer in PEERS]) as (peers, absent):
                yield self._case(key_bits, "keys", _keys_of(key_bits), absent, apart=apart(peers))
                for departments in self.departments:
                    bench = Bench(key_bits, departments, self.people)
                    more = {"departments": departments, "people_a_ciphertext": bench.layout.data_slots}
                    for name, operation in _operations(bench, key_bits, departments).items():
                        # No peer has masks: a contribution is a federation's.
                        alone = name == "contribution"
                        asked = [] if alone else beside(peers, name)
                        yield self._case(
                            key_bits, name, operation, () if alone else absent, asked=asked, more=more
                        )

    def _case(
        self,
        key_bits: int,
        name: str,
        operation: _Operation,
        absent: Sequence[Skipped],
        *,
        asked: Sequence[Entrant] = (),
        apart: Sequence[Measure] = (),
        more: Mapping[str, int] = MappingProxyType({}),
    ) -> Case:
        def measure() -> tuple[Sequence[Measure], Sequence[Skipped]]:
            require(operation.right(), name)
            with show.bars(f"{self.name}: {name}, {key_bits} bits") as bars:
                measures, failed = interleaved(
                    [*operation.entrants, *asked],
                    self.rounds,
                    lambda done: bars.step("rounds", name, done, self.rounds),
                )
            return [*measures, *apart], [*absent, *failed]

        parameters: Parameters = {"operation": name, "key_bits": key_bits, "people": self.people, **more}
        return tried(parameters, operation.item, measure)


def _keys_of(key_bits: int) -> _Operation:
    def right() -> bool:
        key = generate(key_bits)
        words = np.full((1, key.public.layout.slots), _WORD)
        return np.array_equal(open_chunk(key, encrypt_chunk(key.public, words, 1)), words)

    return _Operation("key", [ours(partial(generate, key_bits), 1, "key generation")], right)


def _operations(bench: Bench, key_bits: int, departments: int) -> dict[str, _Operation]:
    """All operations but key generation, by their names."""
    floors = Floors(bench, key_bits, departments)
    products = "gmpy2, bare products"
    combined = CHUNK_CIPHERTEXTS * departments
    return {
        "encrypt": _Operation(
            "ciphertext",
            [ours(bench.encrypt, CHUNK_CIPHERTEXTS), floor(products, floors.noise, CHUNK_CIPHERTEXTS)],
            lambda: bench.right_chunk(bench.encrypt(), 1),
        ),
        "contribution": _Operation(
            "person",
            [ours(bench.contribute, bench.people), floor(products, floors.noise, bench.people)],
            lambda: bench.right_chunk(bench.contribute(), 1),
        ),
        "combine": _Operation(
            "ciphertext",
            [ours(bench.combine, combined), floor(products, floors.products, combined)],
            lambda: bench.right_chunk(bench.combine(), len(bench.chunks)),
        ),
        "decrypt": _Operation(
            "ciphertext",
            [
                ours(bench.open, CHUNK_CIPHERTEXTS),
                floor("gmpy2, bare powmod", floors.powers, CHUNK_CIPHERTEXTS),
            ],
            lambda: bench.right(bench.open(), len(bench.chunks)),
        ),
        "value": _Operation(
            "value", [ours(bench.value, bench.people)], lambda: bench.right(bench.value(), 2)
        ),
    }


def _keys(count: int) -> tuple[bytes, ...]:
    return tuple(os.urandom(32) for _ in range(count))


def _numbers(bits: int) -> list[mpz]:
    return [mpz.from_bytes(os.urandom(bits // 8), "big") for _ in range(CHUNK_CIPHERTEXTS)]
