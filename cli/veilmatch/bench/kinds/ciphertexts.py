"""Kind ``ciphertexts``: one core's cost of encrypting, combining and opening, beside bare GMP and other Paillier.

A ciphertext of ours holds the words of 61 people (3072 bits), a peer's one value.  The cases ``encrypt``,
``combine`` and ``decrypt`` are therefore a ciphertext against a ciphertext; ``value`` is one department's
value, encrypted, added and opened, against the same of a peer.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Annotated, Literal

import gmpy2
import numpy as np
from gmpy2 import mpz
from pydantic import Field

from veilmatch import show
from veilmatch.bench.kinds.base import Experiment, KeyBits, Lab, Several
from veilmatch.bench.peers import Peer
from veilmatch.bench.report import Case, Measure, Skipped
from veilmatch.bench.rounds import Entrant, beside, floor, interleaved, keys_apart, ours, running
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
_ORDER_BITS = 256  # of the subgroups modulo p and q: the exponents of an opening (protocol.md, 4.1)


class Bench:
    """A key, and what one department's chunk is made of, as long as a job's.

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

    def combine(self) -> None:
        """Compare residues, and multiply what all have sent."""
        guard = ResidueGuard(self.key.public)
        for chunk in self.chunks:
            guard.admit(chunk)
        multiply_chunks(self.key.public, self.chunks)

    def open(self) -> None:
        """Open what was combined."""
        open_chunk(self.key, self.product)

    def value(self) -> None:
        """One department's values, from the masks to the opened sum."""
        open_chunk(self.key, multiply_chunks(self.key.public, [self.contribute(), self.chunks[0]]))


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


class Ciphertexts(Experiment):
    """A case an operation, for each key length and number of departments."""

    kind: Literal["ciphertexts"]
    people: Annotated[Whole, Field(ge=1000)] = 1_000_000
    departments: Several[Annotated[Whole, Field(ge=2, le=30)]] = (5,)
    key_bits: Several[KeyBits] = (3072,)

    def measured(self, lab: Lab) -> Iterator[Case]:
        """Measure all cases; peers make their keys once a key length."""
        for key_bits in self.key_bits:
            with running(lab.peers, [(peer, str(key_bits)) for peer in PEERS]) as (peers, absent):
                keys = [ours(partial(generate, key_bits), 1, "key generation")]
                yield self._case(key_bits, "keys", "key", keys, absent, apart=keys_apart(peers))
                for departments in self.departments:
                    bench = Bench(key_bits, departments, self.people)
                    for operation, (item, entrants) in _operations(bench, key_bits, departments).items():
                        alone = operation == "contribution"  # of a federation: no peer has masks
                        asked = [] if alone else beside(peers, operation)
                        more = {"departments": departments, "people_a_ciphertext": bench.layout.data_slots}
                        yield self._case(
                            key_bits, operation, item, [*entrants, *asked], () if alone else absent, more=more
                        )

    def _case(
        self,
        key_bits: int,
        operation: str,
        item: str,
        entrants: Sequence[Entrant],
        absent: Sequence[Skipped],
        *,
        apart: Sequence[Measure] = (),
        more: Mapping[str, int] = MappingProxyType({}),
    ) -> Case:
        with show.bars(f"{self.name}: {operation}, {key_bits} bits") as bars:
            measures, failed = interleaved(
                entrants, self.rounds, lambda done: bars.step("rounds", operation, done, self.rounds)
            )
        return Case(
            parameters={"operation": operation, "key_bits": key_bits, "people": self.people, **more},
            item=item,
            measures=(*measures, *apart),
            skipped=(*absent, *failed),
        )


def _operations(bench: Bench, key_bits: int, departments: int) -> dict[str, tuple[str, list[Entrant]]]:
    """By operation: of what a sample is, and ours with its floors."""
    floors = Floors(bench, key_bits, departments)
    products = "gmpy2, bare products"
    combined = CHUNK_CIPHERTEXTS * departments
    return {
        "encrypt": (
            "ciphertext",
            [ours(bench.encrypt, CHUNK_CIPHERTEXTS), floor(products, floors.noise, CHUNK_CIPHERTEXTS)],
        ),
        "contribution": (
            "person",
            [ours(bench.contribute, bench.people), floor(products, floors.noise, bench.people)],
        ),
        "combine": (
            "ciphertext",
            [ours(bench.combine, combined), floor(products, floors.products, combined)],
        ),
        "decrypt": (
            "ciphertext",
            [
                ours(bench.open, CHUNK_CIPHERTEXTS),
                floor("gmpy2, bare powmod", floors.powers, CHUNK_CIPHERTEXTS),
            ],
        ),
        "value": ("value", [ours(bench.value, bench.people)]),
    }


def _keys(count: int) -> tuple[bytes, ...]:
    return tuple(os.urandom(32) for _ in range(count))


def _numbers(bits: int) -> list[mpz]:
    return [mpz.from_bytes(os.urandom(bits // 8), "big") for _ in range(CHUNK_CIPHERTEXTS)]
