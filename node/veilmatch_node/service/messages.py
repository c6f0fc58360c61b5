"""The pieces of messages that several tasks send or read."""

from collections.abc import Iterator

from veilmatch_crypto import BoundBatch, Quota, Reply
from veilmatch_evidence.records import Head
from veilmatch_policy.approvals import SignedDecision, open_decision
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import Confirmation
from veilmatch_transport import Code, RefusalError, WorkStream
from veilmatch_wire.v1 import job_pb2, linkage_pb2, node_pb2

NodeStream = WorkStream[node_pb2.NodeMessage, node_pb2.CoordinatorMessage]

_MOST_REPLIES = 64  # trustees of a federation: a chain of more is made to fill memory
VALUE_BYTES = 1 << 20  # a message of pseudonyms, list values or claims: 32,768 people


def batch_out(batch: BoundBatch) -> linkage_pb2.OprfBatch:
    """Serialise a bound batch."""
    return linkage_pb2.OprfBatch(
        epoch=batch.epoch,
        requester=batch.requester,
        index=batch.index,
        digest=batch.digest,
        signature=batch.signature,
        quota=linkage_pb2.Quota(
            requester=batch.quota.requester, rows=batch.quota.rows, signature=batch.quota.signature
        ),
        elements=batch.elements,
        replies=[
            linkage_pb2.TrusteeReply(trustee=each.trustee, digest=each.digest, signature=each.signature)
            for each in batch.replies
        ],
    )


def batch_in(message: linkage_pb2.OprfBatch) -> BoundBatch:
    """Parse a bound batch; what it says is checked by whoever uses it.

    Raises RefusalError for replies of more trustees than any federation has.
    """
    if len(message.replies) > _MOST_REPLIES:
        raise RefusalError(Code.MALFORMED, "a batch came with the replies of more trustees than there can be")
    return BoundBatch(
        epoch=message.epoch,
        requester=message.requester,
        index=message.index,
        digest=message.digest,
        signature=message.signature,
        quota=Quota(message.quota.requester, message.quota.rows, message.quota.signature),
        elements=message.elements,
        replies=tuple(Reply(each.trustee, each.digest, each.signature) for each in message.replies),
    )


def confirmation_out(confirmation: Confirmation) -> linkage_pb2.EpochKeyConfirmation:
    """Serialise a confirmation of the epoch's keys."""
    return linkage_pb2.EpochKeyConfirmation(
        name=confirmation.name, digest=confirmation.digest, signature=confirmation.signature
    )


def head_out(head: Head) -> job_pb2.LogHead:
    """Serialise the head of a log."""
    return job_pb2.LogHead(
        party=head.party, sequence=head.sequence, digest=head.digest, signature=head.signature
    )


def head_in(message: job_pb2.LogHead) -> Head:
    """Parse the head of a log; its signature is checked by whoever uses it."""
    return Head(message.party, message.sequence, message.digest, message.signature)


def decision_out(signed: SignedDecision) -> job_pb2.SignedDecision:
    """Serialise an officer's decision."""
    return job_pb2.SignedDecision(
        department=signed.decision.request.department,
        statement=signed.statement,
        signature=signed.signature,
    )


def decision_in(message: job_pb2.SignedDecision, directory: Directory) -> SignedDecision:
    """Parse and verify an officer's decision.  Raises ApprovalError."""
    return open_decision(message.statement, message.signature, directory)


def body(message: node_pb2.CoordinatorMessage, expected: str) -> node_pb2.CoordinatorMessage:
    """Return a message that must be the expected one.  Raises RefusalError."""
    if message.WhichOneof("body") != expected:
        raise RefusalError(Code.OUT_OF_ORDER, f"the coordinator sent another message than {expected}")
    return message


def parts(data: bytes, size: int) -> Iterator[tuple[bytes, bool]]:
    """Cut data into messages; the last one is marked, and there is at least one."""
    starts = range(0, max(len(data), 1), size)
    for start in starts:
        yield data[start : start + size], start + size >= len(data)
