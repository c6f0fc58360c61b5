"""Bound OPRF batches: who asked for which evaluations, through whom, and how many (protocol.md, 3.2).

Roles: a requester (a node) and the trustees, in the directory's order.  The coordinator carries the
batches between them and is trusted with nothing: each step signs everything before it.

1. The requester signs (epoch, requester, batch index, count, SHA-256 of the blinded elements).
2. Each trustee in turn checks the requester's signature, those of all earlier trustees, and that
   the elements in hand are the ones that the last of them signed.
3. It counts against the quota that the requester's officer signed, in its durable ledger.
4. It multiplies, and signs the chain so far together with the SHA-256 of what it returns.
5. The requester checks the chain from end to end before it takes its blinds off.

Multiplication and Ed25519 are deterministic, so a request that is sent again gets the same bytes
back.  Nothing here says that a trustee multiplied by the right scalar (the mode has no proofs), or
hides how many identities a node asks about.  Delivery, storage and time-outs are the caller's.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

from veilmatch_crypto.encoding import encode_tuple
from veilmatch_crypto.errors import BatchError
from veilmatch_crypto.identity import IdentityKey, verify
from veilmatch_crypto.oprf import ELEMENT_BYTES, OprfKey
from veilmatch_crypto.pool import InlineExecutor, Pool

_HERE = InlineExecutor()


@dataclass(frozen=True, slots=True)
class Quota:
    """How many rows a requester has, so how many identities it may ever ask about, by its officer.

    It names no epoch because it never resets: an officer whose table grew signs a larger number, and
    what was used before stays used.
    """

    requester: str
    rows: int
    signature: bytes  # 64 bytes, under the officer's key

    @classmethod
    def signed(cls, officer: IdentityKey, *, requester: str, rows: int) -> Self:
        """The officer's statement that ``requester`` has ``rows`` rows (0 <= rows < 2**64)."""
        return cls(requester, rows, officer.sign(_quota_statement(requester, rows)))

    def verify(self, officer: bytes) -> None:
        """Return if the officer with this public key signed it; raise SignatureRefusedError otherwise."""
        verify(officer, _quota_statement(self.requester, self.rows), self.signature)


@dataclass(frozen=True, slots=True)
class Reply:
    """One trustee's part of the chain."""

    trustee: str
    digest: bytes  # SHA-256 of the elements that the trustee returned
    signature: bytes  # 64 bytes, under its identity key, over the chain up to and with that digest


@dataclass(frozen=True, slots=True)
class BoundBatch:
    """A batch on its way: the request, the replies so far, and the elements as the last of them left them."""

    epoch: bytes  # H(directory, epoch), 32 bytes
    requester: str
    index: int  # counts the requester's batches of the epoch, from 0
    digest: bytes  # SHA-256 of the blinded elements as the requester sent them
    signature: bytes  # 64 bytes, under the requester's identity key
    quota: Quota
    elements: bytes = field(repr=False)  # 32 bytes each
    replies: tuple[Reply, ...] = ()

    @property
    def count(self) -> int:
        """Number of elements."""
        return len(self.elements) // ELEMENT_BYTES


class QuotaLedger(Protocol):
    """What a trustee remembers for ever, in its durable store."""

    def charge(
        self, *, requester: str, epoch: bytes, index: int, digest: bytes, count: int, limit: int
    ) -> None:
        """Count one batch, in one transaction that is on disk before this returns.

        ``epoch`` and ``digest`` (SHA-256 of the elements to multiply) are 32 bytes each.

        - ``(requester, epoch, index)`` is already there with another digest: raise BatchError.
        - ``(requester, digest)`` is already there, in any epoch: count nothing, return.
        - all that ``requester`` was ever charged plus ``count`` exceeds ``limit``: raise QuotaError.

        A call that raises leaves nothing behind.
        """


class Requester:
    """The node that asks: steps 1 and 5, for one epoch."""

    def __init__(
        self,
        name: str,
        identity: IdentityKey,
        quota: Quota,
        *,
        epoch: bytes,
        trustees: Sequence[str],
        identities: Mapping[str, bytes],
    ) -> None:
        """Take the requester's own name, key and quota, and what the directory says.

        ``epoch`` is H(directory, epoch); ``trustees`` are the trustees' names in the directory's order;
        ``identities`` gives each member's public identity key.
        """
        self._name = name
        self._identity = identity
        self._quota = quota
        self._epoch = epoch
        self._trustees = tuple(trustees)
        self._identities = identities

    def request(self, index: int, elements: bytes) -> BoundBatch:
        """Step 1: bind ``elements`` (blinded, 32 bytes each, at least one) to batch ``index`` of the epoch.

        Raises BatchError for no elements or a part of one.
        """
        _require_whole(elements)
        digest = _digest(elements)
        statement = _request_statement(self._epoch, self._name, index, len(elements) // ELEMENT_BYTES, digest)
        return BoundBatch(
            epoch=self._epoch,
            requester=self._name,
            index=index,
            digest=digest,
            signature=self._identity.sign(statement),
            quota=self._quota,
            elements=elements,
        )

    def accept(self, request: BoundBatch, answer: BoundBatch) -> bytes:
        """Step 5: the elements of ``answer``, which every trustee evaluated in order for ``request``.

        Raises BatchError when it answers another request, when a trustee is missing, out of order or
        one too many, or when the elements are not those that the last of them signed;
        SignatureRefusedError when a signature does not verify.
        """
        if replace(answer, elements=request.elements, replies=()) != request:
            raise BatchError(f"batch {request.index}: the answer is to another request")
        if tuple(reply.trustee for reply in answer.replies) != self._trustees:
            raise BatchError(f"batch {request.index}: not every trustee answered once and in order")
        _verify_chain(answer, self._identities)
        return answer.elements


class Trustee:
    """A node that holds one of the function's scalars: steps 2 to 4, for one epoch."""

    def __init__(
        self,
        name: str,
        identity: IdentityKey,
        key: OprfKey,
        *,
        epoch: bytes,
        trustees: Sequence[str],
        identities: Mapping[str, bytes],
        officers: Mapping[str, bytes],
        ledger: QuotaLedger,
    ) -> None:
        """Take the trustee's own name and keys, what the directory says, and the ledger.

        ``epoch`` is H(directory, epoch); ``trustees`` are all trustees' names in the directory's order;
        ``identities`` and ``officers`` give each member's and its officer's public key.
        Raises BatchError when ``name`` is not among ``trustees``.
        """
        if name not in trustees:
            raise BatchError(f"{name} is not a trustee in the directory")
        self._name = name
        self._identity = identity
        self._key = key
        self._epoch = epoch
        self._earlier = tuple(trustees[: trustees.index(name)])
        self._identities = identities
        self._officers = officers
        self._ledger = ledger

    def evaluate(self, batch: BoundBatch, pool: Pool = _HERE) -> BoundBatch:
        """Check, count, multiply in ``pool``, sign: the batch with this trustee's elements and reply.

        The same batch again gives the same bytes and is counted once.  A batch that is refused before
        step 3 is not counted; one with a bad element is.

        Raises BatchError for a batch of another epoch, of a member that the directory does not have,
        not fresh from the trustee before this one, or under an index used for another batch;
        SignatureRefusedError for a signature of the requester, its officer or an earlier trustee;
        QuotaError beyond the officer's row count; ElementError for an element that is not
        canonical or is the identity.
        """
        # Step 2: the batch is for this epoch and this place in the order, and nobody touched it on the way.
        if not hmac.compare_digest(batch.epoch, self._epoch):
            raise BatchError(f"batch {batch.index} of {batch.requester} is of another epoch")
        if tuple(reply.trustee for reply in batch.replies) != self._earlier:
            raise BatchError(f"batch {batch.index} of {batch.requester} is not at {self._name} yet")
        statement = _verify_chain(batch, self._identities)

        # Step 3: the quota is the requester's own, signed by its officer; then it is counted, on disk.
        if batch.quota.requester != batch.requester:
            raise BatchError(f"batch {batch.index} of {batch.requester} comes with another member's quota")
        batch.quota.verify(_public_key(self._officers, batch.requester))
        # What is remembered is what *this* trustee is asked to multiply, not the request's digest: or
        # an earlier trustee in league with the requester could have new elements evaluated under an
        # old request, uncounted.
        self._ledger.charge(
            requester=batch.requester,
            epoch=batch.epoch,
            index=batch.index,
            digest=_digest(batch.elements),
            count=batch.count,
            limit=batch.quota.rows,
        )

        # Step 4.
        elements = self._key.evaluate(batch.elements, pool)
        digest = _digest(elements)
        signature = self._identity.sign(_reply_statement(statement, self._name, digest))
        return replace(
            batch, elements=elements, replies=(*batch.replies, Reply(self._name, digest, signature))
        )


def _verify_chain(batch: BoundBatch, identities: Mapping[str, bytes]) -> bytes:
    """Verify the request, every reply in turn, and the elements in hand; what the next reply is to follow.

    The number of elements is the number in hand: it stands in the request's statement, so it verifies
    only if nobody has changed it.
    """
    _require_whole(batch.elements)
    statement = _request_statement(batch.epoch, batch.requester, batch.index, batch.count, batch.digest)
    verify(_public_key(identities, batch.requester), statement, batch.signature)
    chain = encode_tuple(statement, batch.signature)
    digest = batch.digest
    for reply in batch.replies:
        statement = _reply_statement(chain, reply.trustee, reply.digest)
        verify(_public_key(identities, reply.trustee), statement, reply.signature)
        chain = encode_tuple(statement, reply.signature)
        digest = reply.digest
    if not hmac.compare_digest(_digest(batch.elements), digest):
        raise BatchError(f"batch {batch.index} of {batch.requester}: its elements were changed on the way")
    return chain


def _request_statement(epoch: bytes, requester: str, index: int, count: int, digest: bytes) -> bytes:
    return encode_tuple("veilmatch/1/oprf-request", epoch, requester, index, count, digest)


def _reply_statement(chain: bytes, trustee: str, digest: bytes) -> bytes:
    return encode_tuple("veilmatch/1/oprf-reply", chain, trustee, digest)


def _quota_statement(requester: str, rows: int) -> bytes:
    return encode_tuple("veilmatch/1/quota", requester, rows)


def _digest(elements: bytes) -> bytes:
    return hashlib.sha256(elements).digest()


def _public_key(keys: Mapping[str, bytes], name: str) -> bytes:
    try:
        return keys[name]
    except KeyError:
        raise BatchError(f"{name} is not in the directory") from None


def _require_whole(elements: bytes) -> None:
    if not elements or len(elements) % ELEMENT_BYTES:
        raise BatchError(
            f"a batch is at least one element of {ELEMENT_BYTES} bytes, not {len(elements)} bytes"
        )
