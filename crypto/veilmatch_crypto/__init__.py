"""The cryptography of veilmatch: bytes and arrays in, bytes and arrays out.

It knows no role, no network and no file.  protocol.md is the specification.
"""

from veilmatch_crypto.batches import BoundBatch, Quota, QuotaLedger, Reply, Requester, Trustee
from veilmatch_crypto.bitslices import PEOPLE_PER_WORD, pack_bits, row_words, slice_words, unpack_bits
from veilmatch_crypto.certificates import (
    LOOPBACK,
    Credential,
    Validity,
    fingerprint,
    issue,
    issue_requested,
    make_request,
    make_root,
    member_name,
    verify_issued,
)
from veilmatch_crypto.ciphertexts import ResidueGuard, encrypt_chunk, multiply_chunks, open_chunk
from veilmatch_crypto.circuit import (
    CoordinatorGates,
    DealerGates,
    Gates,
    RecipientGates,
    Steps,
    Wires,
    all_of,
    any_of,
    at_least,
    negated,
    negative,
    reveal_to_recipient,
    zero,
)
from veilmatch_crypto.cmac import cmac_rows
from veilmatch_crypto.counting import CoordinatorTally, DealerTally, RecipientTally, Tally, count
from veilmatch_crypto.derive import derive_key
from veilmatch_crypto.encoding import encode_tuple
from veilmatch_crypto.errors import (
    BatchError,
    CertificateRefusedError,
    CheckError,
    CiphertextError,
    CircuitError,
    CryptoError,
    ElementError,
    KeyFileError,
    KeyRefusedError,
    QuotaError,
    SealError,
    SignatureRefusedError,
)
from veilmatch_crypto.fixed_base import EXPONENT_BITS, choose_window
from veilmatch_crypto.households import HouseholdOrder, Layers
from veilmatch_crypto.identity import AgreementKey, IdentityKey, key_fingerprint, verify
from veilmatch_crypto.key_files import KeyUse, Passphrase, is_key_file
from veilmatch_crypto.laplace import discrete_laplace
from veilmatch_crypto.masks import (
    ContributorMasks,
    CoordinatorMasks,
    RecipientChecks,
    amount_words,
    answer_words,
    noise_key,
)
from veilmatch_crypto.oprf import BlindingState, OprfKey, blind
from veilmatch_crypto.ordering import ascending
from veilmatch_crypto.packing import MAX_CONTRIBUTIONS, Layout
from veilmatch_crypto.paillier import KEY_BITS, PrivateKey, PublicKey, generate
from veilmatch_crypto.pool import Pool, at_once, make_executor
from veilmatch_crypto.prg import permutation, words40
from veilmatch_crypto.sealing import Address, Sealed, open_sealed, seal
from veilmatch_crypto.seeds import circuit_key, draw_seed, open_seed, seal_seed
from veilmatch_crypto.threads import WorkerThreads, all_processors
from veilmatch_crypto.translation import (
    CoordinatorTranslation,
    DealerTranslation,
    RecipientTranslation,
    Translation,
)
from veilmatch_crypto.triples import CoordinatorRandomness, DealerRandomness, RecipientRandomness
from veilmatch_crypto.vault import Vault

__all__ = [
    "EXPONENT_BITS",
    "KEY_BITS",
    "LOOPBACK",
    "MAX_CONTRIBUTIONS",
    "PEOPLE_PER_WORD",
    "Address",
    "AgreementKey",
    "BatchError",
    "BlindingState",
    "BoundBatch",
    "CertificateRefusedError",
    "CheckError",
    "CiphertextError",
    "CircuitError",
    "ContributorMasks",
    "CoordinatorGates",
    "CoordinatorMasks",
    "CoordinatorRandomness",
    "CoordinatorTally",
    "CoordinatorTranslation",
    "Credential",
    "CryptoError",
    "DealerGates",
    "DealerRandomness",
    "DealerTally",
    "DealerTranslation",
    "ElementError",
    "Gates",
    "HouseholdOrder",
    "IdentityKey",
    "KeyFileError",
    "KeyRefusedError",
    "KeyUse",
    "Layers",
    "Layout",
    "OprfKey",
    "Passphrase",
    "Pool",
    "PrivateKey",
    "PublicKey",
    "Quota",
    "QuotaError",
    "QuotaLedger",
    "RecipientChecks",
    "RecipientGates",
    "RecipientRandomness",
    "RecipientTally",
    "RecipientTranslation",
    "Reply",
    "Requester",
    "ResidueGuard",
    "SealError",
    "Sealed",
    "SignatureRefusedError",
    "Steps",
    "Tally",
    "Translation",
    "Trustee",
    "Validity",
    "Vault",
    "Wires",
    "WorkerThreads",
    "all_of",
    "all_processors",
    "amount_words",
    "answer_words",
    "any_of",
    "ascending",
    "at_least",
    "at_once",
    "blind",
    "choose_window",
    "circuit_key",
    "cmac_rows",
    "count",
    "derive_key",
    "discrete_laplace",
    "draw_seed",
    "encode_tuple",
    "encrypt_chunk",
    "fingerprint",
    "generate",
    "is_key_file",
    "issue",
    "issue_requested",
    "key_fingerprint",
    "make_executor",
    "make_request",
    "make_root",
    "member_name",
    "multiply_chunks",
    "negated",
    "negative",
    "noise_key",
    "open_chunk",
    "open_sealed",
    "open_seed",
    "pack_bits",
    "permutation",
    "reveal_to_recipient",
    "row_words",
    "seal",
    "seal_seed",
    "slice_words",
    "unpack_bits",
    "verify",
    "verify_issued",
    "words40",
    "zero",
]
