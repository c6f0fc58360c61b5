"""How many operations each step takes: counted, not timed, and held against docs/performance.md, "Counts"."""

import os
import re
from collections import Counter
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import rbcl
from paillier_world import real_key, small_key

from veilmatch.bench.three_parties import random_shares, run_chunks
from veilmatch_crypto import ciphertexts, fixed_base, oprf, paillier
from veilmatch_crypto.circuit import negative, zero
from veilmatch_crypto.fixed_base import EXPONENT_BITS, choose_window
from veilmatch_crypto.packing import Layout
from veilmatch_crypto.prg import KeyedStream

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
EXPECTED = 100  # ciphertexts: a small table


def documented(step: str, what: str) -> float:
    """How many of a thing the document says that a step takes."""
    section = DOCUMENT.read_text(encoding="utf-8").split("\n## Counts\n")[1].split("\n## ")[0]
    [said] = re.findall(rf"^\| {re.escape(step)} \| (.*) \|$", section, re.MULTILINE)
    [count] = re.findall(rf"([\d.]+)[ -]{what}\b", said)
    return float(count)


class Counted(int):
    """A number that counts its reductions, by their modulus, in place of gmpy2's."""

    seen: ClassVar = Counter()

    def __mul__(self, other):
        return Counted(int(self) * int(other))

    def __mod__(self, modulus):
        Counted.seen[int(modulus)] += 1
        return Counted(int(self) % int(modulus))


@pytest.fixture
def products(monkeypatch):
    """Reductions by their modulus, of the modules that encrypt and combine."""
    for module in (ciphertexts, fixed_base):
        monkeypatch.setattr(module, "mpz", Counted)
    ciphertexts._table.cache_clear()
    Counted.seen.clear()
    yield Counted.seen
    ciphertexts._table.cache_clear()


def words(layout: Layout, count: int) -> np.ndarray:
    return np.frombuffer(os.urandom(8 * count * layout.slots), np.uint64).reshape(count, -1) >> np.uint64(24)


def test_a_ciphertext_is_a_product_a_digit_and_one_for_the_plaintext(products):
    key, count = small_key().public, 5
    ciphertexts.encrypt_chunk(key, words(key.layout, 1), EXPECTED)  # makes the table
    products.clear()
    ciphertexts.encrypt_chunk(key, words(key.layout, count), EXPECTED)
    digits = -(-EXPONENT_BITS // choose_window(EXPECTED, key.bits))
    assert products[key.n**2] == count * digits
    assert products[key.n] == 2 * count  # the noise's own, and its product's with the plaintext


def test_of_a_million_people_that_is_as_documented():
    digits = -(-EXPONENT_BITS // choose_window(Layout(3072).ciphertexts_for(1_000_000), 3072))
    assert documented("a ciphertext encrypted", "products") == digits


def test_combining_is_a_product_a_further_department(products):
    key, count = small_key().public, 4
    chunks = [ciphertexts.encrypt_chunk(key, words(key.layout, count), EXPECTED) for _ in range(6)]
    products.clear()
    ciphertexts.multiply_chunks(key, chunks)
    a_department = documented("a ciphertext combined, a department", "product")
    assert products[key.n**2] == count * (len(chunks) - 1) * a_department


def test_opening_is_two_powers_with_exponents_of_the_orders_length(monkeypatch):
    exponents = []

    def counting(modulus, exponent):
        power = made(modulus, exponent)

        class Power:
            def of(self, base):
                exponents.append(exponent.bit_length())
                return power.of(base)

        return Power()

    made = paillier.make_power
    key = real_key()
    chunk = ciphertexts.encrypt_chunk(key.public, words(key.public.layout, 3), EXPECTED)
    monkeypatch.setattr(paillier, "make_power", counting)
    again = paillier.PrivateKey(key._p, key._q, key._orders, key.public.h)
    ciphertexts.open_chunk(again, chunk)
    step = "a ciphertext opened"
    assert len(exponents) == 3 * documented(step, "powers")
    assert {float(bits) for bits in exponents} == {documented(step, "bit exponents")}


def test_linking_an_identity_is_four_multiplications_and_one_hash(monkeypatch):
    counted = Counter()

    def count(name):
        call = getattr(rbcl, name)

        def counting(*arguments):
            counted[name] += 1
            return call(*arguments)

        monkeypatch.setattr(rbcl, name, counting)

    for name in ("scalarmult_ristretto255", "core_ristretto255_from_hash", "core_ristretto255_scalar_invert"):
        count(f"crypto_{name}")
    people = 200
    keys = [oprf.OprfKey.generate() for _ in range(2)]
    counted.clear()
    state, elements = oprf.blind([b"%d" % i for i in range(people)])
    for key in keys:
        elements = key.evaluate(elements)
    state.finalize(elements)
    step = "an identity linked through two trustees"
    assert counted["crypto_scalarmult_ristretto255"] == people * documented(step, "group multiplications")
    assert counted["crypto_core_ristretto255_from_hash"] == people * documented(step, "hash to the group")
    assert counted["crypto_core_ristretto255_scalar_invert"] == 1  # of a whole batch


@pytest.mark.parametrize(
    ("step", "test"), [("a 40-bit comparison, a person", negative), ("a zero test, a person", zero)]
)
def test_a_test_is_as_many_ands_bytes_and_aes_blocks(monkeypatch, step, test):
    drawn, draw = [], KeyedStream.words64

    def counting(stream, count):
        drawn.append(count)
        return draw(stream, count)

    monkeypatch.setattr(KeyedStream, "words64", counting)
    people = 6_400  # whole words of 64
    parties = run_chunks(test, *random_shares(people), chunk=people)
    assert parties.bytes_dealt * 8 / people == documented(step, "ANDs")  # a bit of correction each
    assert round((parties.bytes_sent + parties.bytes_dealt) / people, 1) == documented(step, "bytes")
    assert round(sum(drawn) / 2 / people, 2) == documented(
        step, "AES blocks"
    )  # of 16 bytes, all three parties'
