"""Sealed messages: RFC 9180's vectors, a second implementation, tampering and replay."""

from dataclasses import fields, replace

import pytest
from Crypto.Protocol import HPKE
from Crypto.Protocol.DH import import_x25519_private_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given
from hypothesis import strategies as st

from veilmatch_crypto.encoding import encode_tuple
from veilmatch_crypto.errors import SealError, SignatureRefusedError
from veilmatch_crypto.identity import AgreementKey, IdentityKey
from veilmatch_crypto.sealing import Address, Sealed, open_sealed, seal

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
ADDRESS = Address("police", "tax", "epoch-key", bytes(range(32)))
IDENTITY = IdentityKey.generate()
KEY = AgreementKey.generate()

# Base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, message 0 of "Ode on a Grecian Urn".
# AES-128-GCM: RFC 9180, A.1.1.  AES-256-GCM, our suite: the JSON file of vectors that the RFC's
# appendix A refers to (the printed appendix leaves this suite out).
RFC_9180 = {
    "A.1.1": {
        "aead": HPKE.AEAD.AES128_GCM,
        "key": "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
        "enc": "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
        "ciphertext": "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218"
        "a355a96d8770ac83d07bea87e13c512a",
    },
    "AES-256-GCM": {
        "aead": HPKE.AEAD.AES256_GCM,
        "key": "497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d",
        "enc": "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256",
        "ciphertext": "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512b"
        "e9931980a41de125a925cdad859d5b7a",
    },
}


def sealed_now(message=b"secret", *, address=ADDRESS, sequence=7):
    return seal(message, address, sequence=sequence, receiver_key=KEY.public, identity=IDENTITY)


def opened(sealed, *, address=ADDRESS, last=None, key=KEY, sender=IDENTITY.public):
    return open_sealed(sealed, address, last_sequence=last, key=key, sender_identity=sender)


@pytest.mark.parametrize("name", RFC_9180)
def test_the_librarys_hpke_is_rfc_9180s(name):
    vector = RFC_9180[name]
    context = HPKE.new(
        receiver_key=import_x25519_private_key(bytes.fromhex(vector["key"])),
        aead_id=vector["aead"],
        enc=bytes.fromhex(vector["enc"]),
        info=b"Ode on a Grecian Urn",
    )
    message = context.unseal(bytes.fromhex(vector["ciphertext"]), auth_data=b"Count-0")
    assert message == b"Beauty is truth, truth beauty"


def test_a_second_implementation_opens_ours():
    sealed = sealed_now()
    key = X25519PrivateKey.from_private_bytes(KEY.to_bytes())
    assert SUITE.decrypt(sealed.enc + sealed.ciphertext, key, ADDRESS.info(7)) == b"secret"


def test_ours_opens_a_second_implementations():
    info = ADDRESS.info(7)
    made = SUITE.encrypt(b"secret", X25519PublicKey.from_public_bytes(KEY.public), info)
    enc, ciphertext = made[:32], made[32:]
    signature = IDENTITY.sign(encode_tuple(info, enc, ciphertext))
    assert opened(Sealed(7, enc, signature, ciphertext)) == b"secret"


@given(message=st.binary(max_size=200), sequence=st.integers(0, 2**64 - 1))
def test_what_is_sealed_opens(message, sequence):
    sealed = Sealed.from_bytes(sealed_now(message, sequence=sequence).to_bytes())
    assert opened(sealed) == message
    assert len(sealed.to_bytes()) == 8 + 32 + 64 + len(message) + 16


def test_the_same_message_never_looks_the_same():
    one, two = sealed_now(), sealed_now()
    assert one.enc != two.enc
    assert one.ciphertext != two.ciphertext


def test_every_byte_of_a_sealed_message_counts():
    data = sealed_now().to_bytes()
    for position in range(len(data)):
        touched = bytearray(data)
        touched[position] ^= 1
        with pytest.raises(SignatureRefusedError):
            opened(Sealed.from_bytes(bytes(touched)))


@pytest.mark.parametrize("name", [field.name for field in fields(Address)])
def test_every_part_of_the_address_counts(name):
    other = replace(ADDRESS, **{name: bytes(32) if name == "context" else "other"})
    with pytest.raises(SignatureRefusedError):
        opened(sealed_now(), address=other)


@pytest.mark.parametrize("name", [field.name for field in fields(Address)])
def test_every_part_of_the_address_counts_for_the_encryption_too(name):
    # A sender that signs another's sealed bytes under a different address does not get them opened.
    other = replace(ADDRESS, **{name: bytes(32) if name == "context" else "other"})
    sealed = sealed_now()
    signature = IDENTITY.sign(encode_tuple(other.info(7), sealed.enc, sealed.ciphertext))
    with pytest.raises(SealError, match="not sealed to this key"):
        opened(replace(sealed, signature=signature), address=other)


def test_another_sender_or_receiver_is_refused():
    with pytest.raises(SignatureRefusedError):
        opened(sealed_now(), sender=IdentityKey.generate().public)
    with pytest.raises(SealError, match="not sealed to this key"):
        opened(sealed_now(), key=AgreementKey.generate())


def test_replay_is_refused():
    sealed = sealed_now(sequence=7)
    assert opened(sealed, last=6) == b"secret"
    for last in (7, 8):
        with pytest.raises(SealError, match=f"message 7 comes after {last}"):
            opened(sealed, last=last)


def test_the_first_sequence_number_may_be_zero():
    assert opened(sealed_now(sequence=0)) == b"secret"
    with pytest.raises(SealError):
        opened(sealed_now(sequence=0), last=0)


def test_a_signed_enc_of_small_order_is_refused():
    sealed = replace(sealed_now(), enc=bytes(32))
    signature = IDENTITY.sign(encode_tuple(ADDRESS.info(7), sealed.enc, sealed.ciphertext))
    with pytest.raises(SealError):
        opened(replace(sealed, signature=signature))


@pytest.mark.parametrize("bad", [b"", bytes(31), bytes(33), bytes(32), b"\x01" + bytes(31)])
def test_an_unusable_receiver_key_is_refused(bad):
    with pytest.raises(SealError, match="tax has no usable X25519 key"):
        seal(b"secret", ADDRESS, sequence=0, receiver_key=bad, identity=IDENTITY)


@pytest.mark.parametrize("length", [0, 1, 119])
def test_too_few_bytes_are_refused(length):
    with pytest.raises(SealError, match=f"not {length}"):
        Sealed.from_bytes(bytes(length))
