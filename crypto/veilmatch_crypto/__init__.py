"""The cryptography of veilmatch: bytes and arrays in, bytes and arrays out.

It knows no role, no network and no file.  protocol.md is the specification.
"""

from veilmatch_crypto.batches import BoundBatch, Quota, QuotaLedger, Reply, Requester, Trustee
from veilmatch_crypto.certificates import (
    LOOPBACK,
    Credential,
    Validity,
    fingerprint,
    issue,
    make_root,
    member_name,
)
from veilmatch_crypto.ciphertexts import ResidueGuard, encrypt_chunk, multiply_chunks, open_chunk
from veilmatch_crypto.derive import derive_key
from veilmatch_crypto.encoding import encode_tuple
from veilmatch_crypto.errors import (
    BatchError,
    CertificateRefusedError,
    CheckError,
    CiphertextError,
    CryptoError,
    ElementError,
    KeyRefusedError,
    QuotaError,
    SealError,
    SignatureRefusedError,
)
from veilmatch_crypto.identity import AgreementKey, IdentityKey, verify
from veilmatch_crypto.masks import (
    ContributorMasks,
    CoordinatorMasks,
    RecipientChecks,
    answer_words,
    noise_key,
)
from veilmatch_crypto.oprf import BlindingState, OprfKey, blind
from veilmatch_crypto.packing import MAX_CONTRIBUTIONS, Layout
from veilmatch_crypto.paillier import KEY_BITS, PrivateKey, PublicKey, generate
from veilmatch_crypto.pool import make_executor
from veilmatch_crypto.prg import permutation
from veilmatch_crypto.sealing import Address, Sealed, open_sealed, seal
from veilmatch_crypto.vault import Vault

__all__ = [
    "KEY_BITS",
    "LOOPBACK",
    "MAX_CONTRIBUTIONS",
    "Address",
    "AgreementKey",
    "BatchError",
    "BlindingState",
    "BoundBatch",
    "CertificateRefusedError",
    "CheckError",
    "CiphertextError",
    "ContributorMasks",
    "CoordinatorMasks",
    "Credential",
    "CryptoError",
    "ElementError",
    "IdentityKey",
    "KeyRefusedError",
    "Layout",
    "OprfKey",
    "PrivateKey",
    "PublicKey",
    "Quota",
    "QuotaError",
    "QuotaLedger",
    "RecipientChecks",
    "Reply",
    "Requester",
    "ResidueGuard",
    "SealError",
    "Sealed",
    "SignatureRefusedError",
    "Trustee",
    "Validity",
    "Vault",
    "answer_words",
    "blind",
    "derive_key",
    "encode_tuple",
    "encrypt_chunk",
    "fingerprint",
    "generate",
    "issue",
    "make_executor",
    "make_root",
    "member_name",
    "multiply_chunks",
    "noise_key",
    "open_chunk",
    "open_sealed",
    "permutation",
    "seal",
    "verify",
]
