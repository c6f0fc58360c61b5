"""Paillier keys of protocol.md, 4.1: their structure, what is refused, and that they do not print."""

from collections.abc import Callable
from dataclasses import replace

import gmpy2
import phe
import pytest
from paillier_world import AndJob, real_key, small_key, small_strict_key

from veilmatch_crypto.ciphertexts import encrypt
from veilmatch_crypto.errors import CiphertextError, KeyRefusedError
from veilmatch_crypto.paillier import (
    ORDER_BITS,
    PrivateKey,
    PublicKey,
    _random_prime,
    check_public_key,
    generate,
)


def phe_pair(key: PrivateKey) -> tuple[phe.PaillierPublicKey, phe.PaillierPrivateKey]:
    public = phe.PaillierPublicKey(key.public.n)
    return public, phe.PaillierPrivateKey(public, int(key._p), int(key._q))


def test_a_key_has_the_structure_of_the_protocol() -> None:
    key = real_key()
    n, h = key.public.n, key.public.h
    v_p, v_q = key._orders
    assert n.bit_length() == 2048
    assert n == key._p * key._q
    assert v_p != v_q
    for prime, order in ((key._p, v_p), (key._q, v_q)):
        assert gmpy2.is_prime(prime)
        assert gmpy2.is_prime(order)
        assert prime.bit_length() == 1024
        assert order.bit_length() == ORDER_BITS
        assert (prime - 1) % (2 * order) == 0
    # h has order v_p v_q exactly, so it is an n-th residue: n is invertible modulo the order.
    square = n * n
    assert gmpy2.powmod(h, v_p * v_q, square) == 1
    assert gmpy2.powmod(h, v_p, square) != 1
    assert gmpy2.powmod(h, v_q, square) != 1
    assert gmpy2.gcd(n, v_p * v_q) == 1


def test_a_strict_key_is_an_ordinary_one() -> None:
    key = generate(2048, strict=True)
    assert key.public.h is None
    check_public_key(key.public, 2048)
    assert PrivateKey.from_bytes(key.to_bytes(), 2048).public == key.public


@pytest.mark.parametrize("bits", [512, 1024, 2047, 4096])
def test_other_lengths_are_not_made(bits: int) -> None:
    with pytest.raises(ValueError, match="2048 or 3072"):
        generate(bits)


def test_keys_survive_their_encoding() -> None:
    key = real_key()
    data = key.public.to_bytes()
    assert len(data) == 256 + 512
    assert data == key.public.n.to_bytes(256, "big") + key.public.h.to_bytes(512, "big")
    assert PublicKey.from_bytes(data, 2048) == key.public

    again = PrivateKey.from_bytes(key.to_bytes(), 2048)
    assert again.public == key.public
    [ciphertext] = encrypt(key.public, [gmpy2.mpz(42)], 1)
    assert again.decrypt(ciphertext) == again.decrypt_full(ciphertext) == 42


@pytest.mark.parametrize("size", [0, 255, 257, 384, 767, 769])
def test_keys_of_a_wrong_length_are_refused(size: int) -> None:
    with pytest.raises(KeyRefusedError):
        PublicKey.from_bytes(bytes(size), 2048)
    with pytest.raises(KeyRefusedError):
        PrivateKey.from_bytes(bytes(size + 1000), 2048)


TOP = 3 << 2046  # a number of 2048 bits whose square root and cube root round up within that length


def prime_from(number: int) -> int:
    return int(gmpy2.next_prime(number))


BAD_MODULI: dict[str, tuple[Callable[[int], int], str]] = {
    "even": (lambda n: n - 1, "even"),
    "too short": (lambda n: n >> 1 | 1, "2047 bits"),
    "too long": (lambda n: n << 1 | 1, "2049 bits"),
    "prime": (lambda _: prime_from(TOP), "is prime"),
    "a square": (lambda _: prime_from(int(gmpy2.isqrt(TOP))) ** 2, "perfect power"),
    "a cube": (lambda _: prime_from(int(gmpy2.iroot(TOP, 3)[0])) ** 3, "perfect power"),
    # 65521 is the largest prime below 2**16.
    "a small factor": (lambda _: 65521 * prime_from(TOP // 65521), "factor below"),
}

BAD_GENERATORS: dict[str, tuple[Callable[[int, int], int], str]] = {
    "h = 0": (lambda n, h: 0, "1 < h"),
    "h = 1": (lambda n, h: 1, "1 < h"),
    "h negative": (lambda n, h: -h, "1 < h"),
    "h = n**2": (lambda n, h: n**2, "1 < h"),
    "h = n**2 + h": (lambda n, h: n**2 + h, "1 < h"),
    "h = n": (lambda n, h: n, "shares a factor"),
    "h a multiple of p": (lambda n, h: int(real_key()._p) * 7, "shares a factor"),
}


@pytest.mark.parametrize("fault", BAD_MODULI)
def test_bad_moduli_are_refused(fault: str) -> None:
    spoil, reason = BAD_MODULI[fault]
    good = real_key().public
    with pytest.raises(KeyRefusedError, match=reason):
        check_public_key(replace(good, n=spoil(good.n)), 2048)


@pytest.mark.parametrize("fault", BAD_GENERATORS)
def test_bad_generators_are_refused(fault: str) -> None:
    spoil, reason = BAD_GENERATORS[fault]
    good = real_key().public
    with pytest.raises(KeyRefusedError, match=reason):
        check_public_key(replace(good, h=spoil(good.n, good.h)), 2048)


def test_the_manifest_decides_the_length_and_only_two_are_allowed() -> None:
    check_public_key(real_key().public, 2048)
    with pytest.raises(KeyRefusedError, match="the manifest says 3072"):
        check_public_key(real_key().public, 3072)
    with pytest.raises(KeyRefusedError, match="2048 or 3072"):
        check_public_key(small_key().public, 512)
    with pytest.raises(KeyRefusedError):
        PublicKey.from_bytes(replace(real_key().public, h=1).to_bytes(), 2048)


def test_orders_and_generator_come_together() -> None:
    key = real_key()
    with pytest.raises(ValueError):
        PrivateKey(int(key._p), int(key._q), orders=key._orders)
    with pytest.raises(ValueError):
        PrivateKey(int(key._p), int(key._q), h=key.public.h)


@pytest.mark.parametrize("make", [small_key, real_key])
def test_phe_opens_ours_and_full_decryption_opens_phes(make) -> None:
    key = make()
    public, private = phe_pair(key)
    plaintexts = [gmpy2.mpz(m) for m in (0, 1, 2**48 - 1, key.public.n - 1)]
    for m, ciphertext in zip(plaintexts, encrypt(key.public, plaintexts, 4), strict=True):
        assert private.raw_decrypt(int(ciphertext)) == m
        assert key.decrypt(ciphertext) == key.decrypt_full(ciphertext) == m
        assert key.decrypt_full(public.raw_encrypt(int(m))) == m


def test_phe_and_a_strict_key_open_each_other() -> None:
    key = small_strict_key()
    public, private = phe_pair(key)
    [ciphertext] = encrypt(key.public, [gmpy2.mpz(7)], 1)
    assert private.raw_decrypt(int(ciphertext)) == key.decrypt(ciphertext) == 7
    assert key.decrypt(public.raw_encrypt(9)) == 9


@pytest.mark.parametrize("make", [small_key, real_key])
def test_fast_decryption_fails_closed_on_ciphertexts_that_were_not_made_with_h(make) -> None:
    key = make()
    public, _ = phe_pair(key)
    ours = encrypt(key.public, [gmpy2.mpz(5)], 1)[0]
    stranger = public.raw_encrypt(5)
    n, square = key.public.n, key.public.n**2
    for ciphertext in (
        stranger,
        ours * stranger % square,
        ours * 2 % square,
        0,
        n,
        int(key._p),
        square - ours,
    ):
        with pytest.raises(CiphertextError) as caught:
            key.decrypt(ciphertext)
        assert not any(character.isdigit() for character in str(caught.value))


def test_what_is_no_unit_has_no_plaintext_even_in_full() -> None:
    key = small_key()
    for ciphertext in (0, key.public.n, int(key._p), int(key._q)):
        with pytest.raises(CiphertextError):
            key.decrypt_full(ciphertext)


def test_random_primes_are_odd_primes_of_full_length_and_differ() -> None:
    primes = {int(_random_prime(64)) for _ in range(20)}
    assert len(primes) == 20
    assert all(gmpy2.is_prime(prime) and prime >> 62 == 3 for prime in primes)


def secret_numbers(key: PrivateKey) -> list[int]:
    return [int(key._p), int(key._q), *key._orders]


@pytest.mark.parametrize("make", [small_key, real_key])
def test_a_formatted_key_holds_no_secret(make) -> None:
    key = make()
    with pytest.raises(CiphertextError) as caught:
        key.decrypt(int(key._p))
    shown = [
        text
        for thing in (key, *key._sides, *key._strict_sides, [key], {"key": key}, caught.value)
        for text in (repr(thing), str(thing), f"{thing}", f"{thing!a}", "%s" % (thing,), ascii(thing))  # noqa: UP031
    ]
    for number in secret_numbers(key):
        for form in (
            str(number),
            f"{number:x}",
            f"{number:X}",
            repr(number.to_bytes(512, "big").lstrip(b"\0")),
        ):
            assert not any(form in text for text in shown)
    assert not hasattr(key, "__dict__"), "vars() would hand everything to a logger"
    assert repr(key) == f"PrivateKey(PublicKey({key.public.bits} bits))"


def test_formatted_mask_keys_hold_no_secret() -> None:
    job = AndJob(["a", "b"])
    masks = job.masks("a")
    secrets = [*masks.adds, masks.check, *job.coordinator.masks, job.coordinator.blank, *job.checks.keys]
    for thing in (masks, job.coordinator, job.checks):
        for text in (repr(thing), str(thing), f"{thing}", repr([thing])):
            assert not any(repr(key)[2:-1] in text or key.hex() in text for key in secrets)
        assert not hasattr(thing, "__dict__")
