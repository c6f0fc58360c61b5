"""What can go wrong in the cryptography, named for the cause.

Every class is a failure of what was *received* (or of a caller's argument): nothing here is
retried, and no message carries key material, plaintext or an identity.
"""


class CryptoError(Exception):
    """Base of everything that this package raises on purpose."""

    exit_code = 5  # of a command that ends with it (docs/exit-codes.md)


class KeyRefusedError(CryptoError):
    """A public key does not have the form that protocol.md, 4.1 asks for."""


class KeyFileError(CryptoError):
    """A key file is none, is for another use, or does not open under this passphrase."""

    exit_code = 2


class CiphertextError(CryptoError):
    """A ciphertext is malformed, was not made under the job's key, or repeats randomness."""


class CheckError(CryptoError):
    """A check slot does not hold the expected sum (protocol.md, 4.5)."""


class SignatureRefusedError(CryptoError):
    """A signature does not verify under the key that the directory gives."""


class SealError(CryptoError):
    """A sealed message cannot be opened, or its sequence number was already used."""


class ElementError(CryptoError):
    """A group element or scalar is not canonical or is the identity (RFC 9497, 3.3.1)."""


class BatchError(CryptoError):
    """An OPRF batch is not bound to its epoch, requester, index or content (protocol.md, 3.2)."""


class QuotaError(CryptoError):
    """A requester asks for more OPRF evaluations than its officer signed for."""


class CertificateRefusedError(CryptoError):
    """A certificate does not name a member of the federation, or cannot be issued as asked."""


class CircuitError(CryptoError):
    """The peer or the dealer left the program that all three run: a body or corrections of a wrong length."""
