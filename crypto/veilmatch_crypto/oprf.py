"""An oblivious pseudorandom function: RFC 9497, ristretto255-SHA512, mode OPRF (0x00).

Roles: a node holds inputs (scheme, 0x00, normal form of an identifier); each trustee holds one
scalar.  The function's key is the product of the trustees' scalars, which nobody holds
(protocol.md, 3.2).

1. The node blinds each input with a fresh non-zero scalar.
2. Each trustee in turn multiplies every element by its scalar.
3. The node takes its blinds off, once, and hashes.

A trustee learns how many inputs there are.  The node learns the outputs and, as this mode has no
proofs, has no evidence that a trustee used its scalar.  Who may ask, and how often, is not decided
here: ``batches`` binds and counts.

Elements and scalars are 32 bytes, little-endian (RFC 9496, 4.3), a batch of them simply one after
the other.  The group is libsodium's, through rbcl: constant time, and called through ctypes, which
releases the interpreter's lock, so that the parts of a batch run side by side in a pool of threads;
scalars stay in this process unless the caller's pool takes them elsewhere.  Its multiplication
refuses encodings that are not canonical, the identity as input, and the identity as result
(RFC 9497, 3.3.1), hence no element is decoded twice.
"""

import contextlib
import hashlib
import hmac
import itertools
import secrets
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Self

import numpy as np
import rbcl
from numpy.typing import NDArray

from veilmatch_crypto.errors import ElementError
from veilmatch_crypto.pool import InlineExecutor, Pool, at_once

ELEMENT_BYTES: Final = 32
SCALAR_BYTES: Final = 32
OUTPUT_BYTES: Final = 64
MAX_INPUT_BYTES: Final = 2**16 - 1  # RFC 9497, 1.2: PrivateInput is at most 2^16 - 1 bytes

# RFC 9497, 3.1 and 4.1: contextString = "OPRFV1-" || I2OSP(mode, 1) || "-" || identifier.
_CONTEXT: Final = b"OPRFV1-\x00-ristretto255-SHA512"
_HASH_TO_GROUP_DST: Final = b"HashToGroup-" + _CONTEXT
_DERIVE_KEY_DST: Final = b"DeriveKeyPair" + _CONTEXT

# At every import rbcl writes libsodium (2.8 MB) to a temporary file and leaves it behind; once it is
# loaded, nothing needs the name any more.
_library = Path(rbcl._sodium._name)  # noqa: SLF001  the only place where rbcl says it
if _library.parent == Path(tempfile.gettempdir()):
    with contextlib.suppress(OSError):
        _library.unlink()

_HERE: Final = InlineExecutor()
_PART: Final = 256  # elements, 15 ms: a cluster takes 4 ms of this process to be given a part

_ZERO: Final = bytes(SCALAR_BYTES)
# SHA-512 after RFC 9380's Z_pad, one input block of zeros: the same for every message.
_AFTER_Z_PAD: Final = hashlib.sha512(bytes(128))


class OprfKey:
    """One trustee's scalar."""

    __slots__ = ("_scalar",)

    def __init__(self, scalar: bytes) -> None:
        """Take a canonical non-zero scalar.  Raises ElementError for anything else."""
        _require_scalars(scalar, 1)
        self._scalar = scalar

    @classmethod
    def generate(cls) -> Self:
        """Draw a fresh key from the operating system."""
        return cls.derive(secrets.token_bytes(32))

    @classmethod
    def derive(cls, seed: bytes, info: bytes = b"") -> Self:
        """DeriveKeyPair (RFC 9497, 3.2.1): the key that a secret 32-byte ``seed`` determines."""
        if len(seed) != 32:
            raise ElementError(f"an OPRF key's seed has 32 bytes, not {len(seed)}")
        derivation = seed + len(info).to_bytes(2, "big") + info
        for counter in range(256):
            uniform = _expand_message_64(derivation + bytes((counter,)), _DERIVE_KEY_DST)
            scalar = rbcl.crypto_core_ristretto255_scalar_reduce(uniform)
            if not hmac.compare_digest(scalar, _ZERO):
                return cls(scalar)
        raise ElementError("no non-zero scalar follows from the seed (RFC 9497: DeriveKeyPairError)")

    def to_bytes(self) -> bytes:
        """The secret itself, 32 bytes, for the trustee's own key file."""
        return self._scalar

    def evaluate(self, elements: bytes, pool: Pool = _HERE) -> bytes:
        """Step 2, BlindEvaluate for a batch: every element times the scalar, shared out over ``pool``.

        ``elements`` is 32 n bytes, and so is the result.  Raises ElementError for another length and for
        an element that is not canonical or is the identity.
        """
        split = _split_elements(elements)
        return b"".join(_in_parts(pool, _multiply, [self._scalar] * len(split), split))

    def __repr__(self) -> str:
        return "<OprfKey>"


class BlindingState:
    """What the node keeps between steps 1 and 3: the inputs of one batch and their blinds.

    A node that stores ``blinds`` beside its inputs can make the same request again after a crash,
    which a trustee does not count a second time (protocol.md, 3.2).
    """

    __slots__ = ("_inputs", "blinds")

    def __init__(self, inputs: Sequence[bytes], blinds: bytes) -> None:
        """Take n inputs and 32 n bytes of canonical non-zero scalars.

        The scalars must be uniform and never used for other inputs: use ``blind`` for fresh ones.
        Raises ElementError for scalars of another number or kind and for an input of 2^16 bytes or more.
        """
        for data in inputs:
            if len(data) > MAX_INPUT_BYTES:
                raise ElementError(f"an OPRF input has at most {MAX_INPUT_BYTES} bytes, not {len(data)}")
        _require_scalars(blinds, len(inputs))
        self._inputs = tuple(inputs)
        self.blinds: Final[bytes] = blinds

    def blinded(self, pool: Pool = _HERE) -> bytes:
        """Step 1: every input hashed to the group and multiplied by its blind, 32 n bytes."""
        return b"".join(_in_parts(pool, _blind, _split(self.blinds), self._inputs))

    def finalize(self, evaluated: bytes, pool: Pool = _HERE) -> NDArray[np.uint8]:
        """Step 3: blinds off, and the outputs, shape (n, 64), a row an input.

        ``evaluated`` is what the last trustee returned, 32 n bytes, in the order of the inputs.
        Raises ElementError for another length and for an element that is not canonical or is the identity.
        """
        elements = _split_elements(evaluated)
        if len(elements) != len(self._inputs):
            raise ElementError(f"{len(self._inputs)} elements were sent, {len(elements)} came back")
        outputs = b"".join(_in_parts(pool, _unblind, _split(self.blinds), elements, self._inputs))
        return np.frombuffer(outputs, np.uint8).reshape(-1, OUTPUT_BYTES)

    def __len__(self) -> int:
        return len(self._inputs)

    def __repr__(self) -> str:
        return f"<BlindingState of {len(self)} inputs>"


def blind(inputs: Sequence[bytes], pool: Pool = _HERE) -> tuple[BlindingState, bytes]:
    """Blind n ``inputs`` with fresh scalars: the state to keep, and 32 n bytes to send.

    Raises ElementError for an input of 2^16 bytes or more.
    """
    blinds = b"".join(rbcl.crypto_core_ristretto255_scalar_random() for _ in inputs)  # never zero
    state = BlindingState(inputs, blinds)
    return state, state.blinded(pool)


def _split(batch: bytes) -> list[bytes]:
    return [batch[i : i + 32] for i in range(0, len(batch), 32)]


def _split_elements(elements: bytes) -> list[bytes]:
    """Cut a batch into its elements; they are not decoded.  Raises ElementError if the last is cut short."""
    if len(elements) % ELEMENT_BYTES:
        raise ElementError(f"a batch is whole elements of {ELEMENT_BYTES} bytes, not {len(elements)} bytes")
    return _split(elements)


def _require_scalars(scalars: bytes, count: int) -> None:
    """Return if ``scalars`` is ``count`` canonical non-zero scalars; raise ElementError otherwise."""
    if len(scalars) != SCALAR_BYTES * count:
        raise ElementError(f"{count} scalars have {SCALAR_BYTES * count} bytes, not {len(scalars)}")
    parts = _split(scalars)
    reduced = b"".join(rbcl.crypto_core_ristretto255_scalar_reduce(part + _ZERO) for part in parts)
    if not hmac.compare_digest(reduced, scalars) or any(hmac.compare_digest(part, _ZERO) for part in parts):
        raise ElementError("a scalar is zero or not below the order of the group")


def _in_parts(pool: Pool, work: Callable[..., bytes], *columns: Sequence[bytes]) -> Iterable[bytes]:
    """Do ``work`` on equal parts of the columns, one for each thread or process; the results in order."""
    size = max(_PART, -(-len(columns[0]) // at_once(pool)))
    starts = range(0, len(columns[0]), size)
    return pool.map(work, *([column[start : start + size] for start in starts] for column in columns))


def _blind(blinds: list[bytes], inputs: Sequence[bytes]) -> bytes:
    return _multiply(blinds, map(_hash_to_group, inputs))


def _unblind(blinds: list[bytes], elements: list[bytes], inputs: Sequence[bytes]) -> bytes:
    unblinded = _multiply(_invert(blinds), elements)
    return b"".join(map(_output, inputs, _split(unblinded)))


def _multiply(scalars: Iterable[bytes], elements: Iterable[bytes]) -> bytes:
    try:
        return b"".join(map(rbcl.crypto_scalarmult_ristretto255, scalars, elements))
    except RuntimeError as error:  # rbcl's word for libsodium's refusal
        raise ElementError("an element is not canonical or is the identity (RFC 9497, 3.3.1)") from error


def _invert(scalars: list[bytes]) -> list[bytes]:
    """The inverses of non-zero scalars modulo the group's order.

    Montgomery's trick (Math. Comp. 48, 1987, section 10.3.1).

    One inversion and three products a scalar instead of an inversion each, which would cost two
    thirds of a group multiplication.  The sequence of operations depends on the number of scalars
    only, and each operation is libsodium's constant-time one, so timing says no more about the
    blinds than single inversions would.
    """
    if not scalars:
        return []
    multiply = rbcl.crypto_core_ristretto255_scalar_mul
    prefixes = list(itertools.accumulate(scalars, multiply))
    inverses = [b""] * len(scalars)
    rest = rbcl.crypto_core_ristretto255_scalar_invert(prefixes[-1])  # inverse of the product up to i
    for i in range(len(scalars) - 1, 0, -1):
        inverses[i] = multiply(rest, prefixes[i - 1])
        rest = multiply(rest, scalars[i])
    inverses[0] = rest
    return inverses


def _hash_to_group(data: bytes) -> bytes:
    """HashToGroup of RFC 9497, 4.1: 64 uniform bytes, then the one-way map of RFC 9496, 4.3.4."""
    element: bytes = rbcl.crypto_core_ristretto255_from_hash(_expand_message_64(data, _HASH_TO_GROUP_DST))
    return element


def _expand_message_64(message: bytes, dst: bytes) -> bytes:
    """expand_message_xmd (RFC 9380, 5.3.1) with SHA-512 for 64 bytes: exactly one block, b_1."""
    dst_prime = dst + bytes((len(dst),))
    first = _AFTER_Z_PAD.copy()
    first.update(message + b"\x00\x40\x00" + dst_prime)  # I2OSP(64, 2) || I2OSP(0, 1)
    return hashlib.sha512(first.digest() + b"\x01" + dst_prime).digest()


def _output(data: bytes, unblinded: bytes) -> bytes:
    """Finalize's hash (RFC 9497, 3.3.1): both parts behind their lengths as 2 bytes, big-endian."""
    prefixed = len(data).to_bytes(2, "big") + data + ELEMENT_BYTES.to_bytes(2, "big") + unblinded
    return hashlib.sha512(prefixed + b"Finalize").digest()
