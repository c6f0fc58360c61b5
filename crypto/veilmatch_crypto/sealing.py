"""Sealed messages: what one party says to another beyond the coordinator (protocol.md, 1).

HPKE (RFC 9180) in base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, with the message's
whole address as its info, then the sender's Ed25519 signature over info, enc and ciphertext.

Base mode says nothing of the sender and HPKE does not stop replay: the signature does the first,
a sequence number that only grows the second.  The receiver stores the number of the last message that
it opened, before it acts on the message.
"""

from dataclasses import dataclass
from typing import Final, Self

from Crypto.Protocol import HPKE
from Crypto.Protocol.DH import import_x25519_private_key, import_x25519_public_key

from veilmatch_crypto.encoding import encode_tuple
from veilmatch_crypto.errors import SealError
from veilmatch_crypto.identity import RAW_KEY_BYTES, SIGNATURE_BYTES, AgreementKey, IdentityKey, verify

_SEQUENCE_BYTES: Final = 8
_ENC_BYTES: Final = RAW_KEY_BYTES  # RFC 9180, 7.1: Nenc of DHKEM(X25519, HKDF-SHA256)
_TAG_BYTES: Final = 16  # RFC 9180, 7.3: Nt of AES-256-GCM
_HEAD_BYTES: Final = _SEQUENCE_BYTES + _ENC_BYTES + SIGNATURE_BYTES


@dataclass(frozen=True, slots=True)
class Address:
    """From whom to whom, and what about: known to both parties, so it is bound but not sent."""

    sender: str
    receiver: str
    kind: str  # the message's type, such as "epoch-key"
    context: bytes  # H(manifest) for a job's messages, H(directory, epoch) for an epoch's

    def info(self, sequence: int) -> bytes:
        """HPKE's info for message number ``sequence`` (0 <= sequence < 2**64)."""
        return encode_tuple("veilmatch/1/seal", self.sender, self.receiver, self.kind, self.context, sequence)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed message as it travels; nothing in it is secret."""

    sequence: int
    enc: bytes  # 32 bytes, the encapsulated X25519 key
    signature: bytes  # 64 bytes, under the sender's identity key
    ciphertext: bytes  # as long as the message, plus 16 bytes of tag

    def to_bytes(self) -> bytes:
        """Sequence (8 bytes, big-endian), enc, signature, ciphertext, one after the other."""
        return self.sequence.to_bytes(_SEQUENCE_BYTES, "big") + self.enc + self.signature + self.ciphertext

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what ``to_bytes`` gave.  Raises SealError for fewer bytes than an empty message has."""
        if len(data) < _HEAD_BYTES + _TAG_BYTES:
            raise SealError(
                f"a sealed message has at least {_HEAD_BYTES + _TAG_BYTES} bytes, not {len(data)}"
            )
        enc_end = _SEQUENCE_BYTES + _ENC_BYTES
        return cls(
            sequence=int.from_bytes(data[:_SEQUENCE_BYTES], "big"),
            enc=data[_SEQUENCE_BYTES:enc_end],
            signature=data[enc_end:_HEAD_BYTES],
            ciphertext=data[_HEAD_BYTES:],
        )


def seal(
    message: bytes, address: Address, *, sequence: int, receiver_key: bytes, identity: IdentityKey
) -> Sealed:
    """Seal ``message`` to ``receiver_key`` (raw X25519, 32 bytes) and sign it with the sender's ``identity``.

    ``sequence`` is greater than any that the sender used for this address, and on the sender's disk
    before the message leaves.  Raises SealError when ``receiver_key`` is no usable X25519 key.
    """
    info = address.info(sequence)
    try:
        # A public key makes a context that seals.
        context = HPKE.new(
            receiver_key=import_x25519_public_key(receiver_key), aead_id=HPKE.AEAD.AES256_GCM, info=info
        )
    except ValueError as error:  # the wrong length, or a point of small order
        raise SealError(
            f"{address.receiver} has no usable X25519 key: nothing can be sealed to it"
        ) from error
    ciphertext = context.seal(message)
    signature = identity.sign(encode_tuple(info, context.enc, ciphertext))
    return Sealed(sequence, context.enc, signature, ciphertext)


def open_sealed(
    sealed: Sealed,
    address: Address,
    *,
    last_sequence: int | None,
    key: AgreementKey,
    sender_identity: bytes,
) -> bytes:
    """The message that ``sealed`` carries to this ``address``.

    ``last_sequence`` is the number of the last message opened for the address, None before the first;
    the caller stores ``sealed.sequence`` in its place.  ``sender_identity`` is the sender's raw Ed25519
    key from the directory.

    Raises SignatureRefusedError when the sender did not sign this for this address, and SealError
    when the sequence number is not greater than the last or when the message was sealed to another key.
    """
    info = address.info(sealed.sequence)
    verify(sender_identity, encode_tuple(info, sealed.enc, sealed.ciphertext), sealed.signature)
    if last_sequence is not None and sealed.sequence <= last_sequence:
        raise SealError(
            f"{address.kind} from {address.sender}: message {sealed.sequence} comes after {last_sequence}"
        )
    try:
        # A private key makes a context that opens.
        context = HPKE.new(
            receiver_key=import_x25519_private_key(key.to_bytes()),
            aead_id=HPKE.AEAD.AES256_GCM,
            enc=sealed.enc,
            info=info,
        )
        return context.unseal(sealed.ciphertext)
    except ValueError as error:  # a point of small order as enc, or the wrong tag
        raise SealError(f"{address.kind} from {address.sender} was not sealed to this key") from error
