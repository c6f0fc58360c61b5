"""Ed25519 and X25519: the standards' vectors, refusals, and that no key prints itself."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilmatch_crypto.errors import KeyRefusedError, SignatureRefusedError
from veilmatch_crypto.identity import AgreementKey, IdentityKey, key_fingerprint, verify

SHARED = Path(__file__).parents[3] / "shared/data/vectors/x25519_rfc7748.json"

# RFC 7748, 7 and 6.1: points of small order; whatever the secret, the result is zero.
SMALL_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


def test_rfc_8032_7_1_test_2():
    key = IdentityKey.from_bytes(
        bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    )
    assert key.public.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    signature = key.sign(b"\x72")
    assert signature.hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    verify(key.public, b"\x72", signature)


def test_rfc_7748_6_1():
    alice = AgreementKey.from_bytes(
        bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    )
    bob = AgreementKey.from_bytes(
        bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    )
    assert alice.public.hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert bob.public.hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    assert alice.agree(bob.public).hex() == bob.agree(alice.public).hex() == shared


def test_rfc_7748_5_2_from_the_shared_data():
    if not SHARED.exists():
        pytest.skip("x25519_rfc7748.json is not beside this repository")
    for case in json.loads(SHARED.read_text(encoding="utf-8"))["scalar_mult"]:
        key = AgreementKey.from_bytes(bytes.fromhex(case["input_scalar"]))
        assert key.agree(bytes.fromhex(case["input_u"])).hex() == case["output_u"]


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_point_of_small_order_is_refused(point):
    with pytest.raises(KeyRefusedError, match="small order"):
        AgreementKey.generate().agree(bytes.fromhex(point))


@given(message=st.binary(max_size=64), bit=st.integers(0, 511))
def test_any_bit_of_a_signature_counts(message, bit):
    key = IdentityKey.generate()
    signature = bytearray(key.sign(message))
    verify(key.public, message, bytes(signature))
    signature[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureRefusedError):
        verify(key.public, message, bytes(signature))


def test_another_key_or_message_or_length_is_refused():
    key = IdentityKey.generate()
    signature = key.sign(b"message")
    for public, message, candidate in (
        (IdentityKey.generate().public, b"message", signature),
        (key.public, b"massage", signature),
        (key.public, b"message", signature[:-1]),
        (key.public, b"message", b""),
        (key.public[:-1], b"message", signature),
        (b"", b"message", signature),
    ):
        with pytest.raises(SignatureRefusedError):
            verify(public, message, candidate)


@pytest.mark.parametrize("kind", [IdentityKey, AgreementKey])
def test_keys_are_kept_as_32_bytes(kind):
    key = kind.generate()
    assert len(key.to_bytes()) == len(key.public) == 32
    assert kind.from_bytes(key.to_bytes()).public == key.public
    for length in (0, 31, 33):
        with pytest.raises(KeyRefusedError, match=f"not {length}"):
            kind.from_bytes(bytes(length))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_peers_key_of_another_length_is_refused(length):
    with pytest.raises(KeyRefusedError, match=f"not {length}"):
        AgreementKey.generate().agree(bytes(length))


@pytest.mark.parametrize("kind", [IdentityKey, AgreementKey])
def test_keys_do_not_print(kind):
    key = kind.generate()
    for shown in (repr(key), str(key), f"{key}"):
        assert key.to_bytes().hex() not in shown
        assert repr(key.to_bytes())[2:-1] not in shown
        assert key_fingerprint(key.public)[:16] in shown
