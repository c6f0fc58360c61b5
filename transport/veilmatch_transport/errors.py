"""What goes wrong between parties, and what a party may tell another about it.

Public text and private reason are apart: a peer gets the text that ``PUBLIC`` holds for the code, and a
detail only where the raiser passed one for the peer's eyes; the reason goes to the local log.  This is a
privacy rule: an exception's own message may quote a cell.
"""

import re
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Any, Final

import grpc

from veilmatch_transport import limits

CODE_KEY: Final = "veilmatch-code"  # trailing metadata: the Code beside gRPC's coarser status


@unique
class Code(StrEnum):
    """Why a party refuses or fails, as its peer is told."""

    NOT_PERMITTED = "not-permitted"
    MALFORMED = "malformed"
    OUT_OF_ORDER = "out-of-order"
    POLICY_REFUSED = "policy-refused"
    DATA_REFUSED = "data-refused"
    JOB_REFUSED = "job-refused"
    APPROVAL_NEEDED = "approval-needed"
    NOT_SERVING = "not-serving"
    TOO_MANY = "too-many"
    ALREADY_USED = "already-used"
    CHECK_FAILED = "check-failed"
    NOT_FOUND = "not-found"
    PEER_FAILED = "peer-failed"
    MACHINE_FAILED = "machine-failed"
    STOPPING = "stopping"
    INTERNAL = "internal"


PUBLIC: Final = MappingProxyType(
    {
        Code.NOT_PERMITTED: (
            grpc.StatusCode.PERMISSION_DENIED,
            "not permitted; this certificate may not call this procedure here",
        ),
        Code.MALFORMED: (grpc.StatusCode.INVALID_ARGUMENT, "the message is malformed"),
        Code.OUT_OF_ORDER: (
            grpc.StatusCode.FAILED_PRECONDITION,
            "the message does not belong at this step of the protocol",
        ),
        Code.POLICY_REFUSED: (grpc.StatusCode.FAILED_PRECONDITION, "the policy is refused"),
        Code.DATA_REFUSED: (grpc.StatusCode.FAILED_PRECONDITION, "this department's data is refused"),
        Code.JOB_REFUSED: (grpc.StatusCode.FAILED_PRECONDITION, "the job is refused"),
        Code.APPROVAL_NEEDED: (grpc.StatusCode.FAILED_PRECONDITION, "a data officer must decide first"),
        Code.NOT_SERVING: (
            grpc.StatusCode.UNAVAILABLE,
            "this party cannot write its log and serves nobody until it can",
        ),
        Code.TOO_MANY: (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "this member has too many calls open here; try again when some have ended",
        ),
        Code.ALREADY_USED: (
            grpc.StatusCode.ALREADY_EXISTS,
            "this manifest was already started and is never started twice",
        ),
        Code.CHECK_FAILED: (grpc.StatusCode.DATA_LOSS, "a check slot is wrong; the job ends"),
        Code.NOT_FOUND: (grpc.StatusCode.NOT_FOUND, "there is no such job, epoch or offer"),
        Code.PEER_FAILED: (grpc.StatusCode.ABORTED, "another party of the job failed"),
        Code.MACHINE_FAILED: (grpc.StatusCode.RESOURCE_EXHAUSTED, "this party's machine fails"),
        Code.STOPPING: (grpc.StatusCode.UNAVAILABLE, "this party is being stopped; try again later"),
        Code.INTERNAL: (grpc.StatusCode.INTERNAL, "internal error, see the local log"),
    }
)
"""The status and the fixed public text of every code."""


class TransportError(Exception):
    """Base of everything that this package raises on purpose; ``str()`` is one line."""

    exit_code = 5  # of a command that ends with it (docs/exit-codes.md)


class StoreFailedError(TransportError):
    """The file or the database that holds what must survive a crash fails; nothing was committed."""

    exit_code = 2


class WorkersError(TransportError):
    """The department's own cluster cannot do the work, or lost it; another try may find it well."""

    exit_code = 2


CLOSED: Final = "store: is closed; start the service again"  # of what still ran when its service ended


class RefusalError(TransportError):
    """We refuse what a peer asks, or fail at it.  ``str()`` is for the local log only."""

    def __init__(self, code: Code, reason: str = "", *, detail: str = "") -> None:
        """Take the code, the private ``reason``, and a ``detail`` that the peer may read.

        Neither may hold an identifier or a cell's value.
        """
        self.code = code
        self.reason = one_line(reason)
        self.public = one_line(f"{PUBLIC[code][1]}: {detail}" if detail else PUBLIC[code][1])
        super().__init__(self.reason or self.public)


class MessageTooLargeError(TransportError):
    """Our own message is larger than what any party accepts."""


class StreamEnded(TransportError):  # noqa: N818  an end, not an error, like StopIteration
    """The peer said that nothing more comes, and had nothing to complain about."""


class PeerError(TransportError):
    """A peer did not do its part.  ``str()`` reads ``PEER: WHAT; REMEDY``."""

    def __init__(self, peer: str, what: str, remedy: str = "") -> None:
        """Take the member's name, what happened, and what to do about it."""
        self.peer = peer
        self.what = one_line(what)
        super().__init__(f"{peer}: {self.what}" + (f"; {remedy}" if remedy else ""))


class PeerUnavailableError(PeerError):
    """The peer cannot be reached, went away, or was stopped."""


class PeerTimeoutError(PeerUnavailableError):
    """The peer says nothing, or takes nothing, for longer than allowed; the stream itself still stands."""


class PeerUntrustedError(PeerUnavailableError):
    """Whoever answers at the peer's address does not show the peer's certificate."""


class PeerRefusedError(PeerError):
    """The peer answered, and refused.  ``code`` is None where it was not veilmatch that refused."""

    def __init__(self, peer: str, what: str, code: Code | None = None) -> None:
        """Take the member's name, its public text, and its code."""
        super().__init__(peer, what)
        self.code = code


class CredentialError(TransportError):
    """Our own certificate, key or root cannot be used."""


class ListenError(TransportError):
    """The address that we are configured to listen on cannot be had."""


# What gRPC says of a connection that did not come about, and what we say.  The wordings are gRPC core's and
# BoringSSL's (tests/transport meets each of them); one that changes falls through to a general text.
_NO_CONNECTION: Final = (
    (
        "Hostname Verification",
        PeerUntrustedError,
        "the certificate at its address is another member's",
        "correct its address",
    ),
    ("certificate has expired", PeerUntrustedError, "its certificate has expired", "it needs a new one"),
    (
        "[Hh]andshake failed",
        PeerUntrustedError,
        "its certificate is not from this federation's root",
        "compare the roots",
    ),
    # A caller whose certificate is refused learns of it only so (TLS 1.3), but a peer that is being
    # stopped looks the same: not a PeerUntrustedError.
    (
        "connect to all addresses.*Socket closed",
        PeerUnavailableError,
        "it broke off the TLS handshake",
        "check that our certificate is valid and from its root",
    ),
    (
        "Connection refused",
        PeerUnavailableError,
        "nothing listens at its address",
        "start it or correct its address",
    ),
    ("resol", PeerUnavailableError, "its address cannot be resolved", "correct its address"),
    (
        "connect to all addresses",
        PeerUnavailableError,
        "its address does not answer",
        "start it or correct its address",
    ),
)
_GONE: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
    }
)


def peer_error(peer: str, failure: grpc.RpcError | grpc.Call) -> PeerError:
    """Say in our words how a call to ``peer`` failed."""
    status, details = failure.code(), failure.details() or ""
    code = _code(failure)
    if code is Code.STOPPING:
        return PeerUnavailableError(peer, details)
    if code is not None:
        return PeerRefusedError(peer, details, code)
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return PeerUnavailableError(peer, "did not finish in the time allowed", "look at its log")
    if status not in _GONE:
        return PeerRefusedError(peer, details or status.name)
    if status is grpc.StatusCode.UNAVAILABLE:
        for wording, kind, what, remedy in _NO_CONNECTION:
            if re.search(wording, details):
                return kind(peer, what, remedy)
    return PeerUnavailableError(peer, "the connection was lost", "look at its log")


def one_line(text: str) -> str:
    """Without line breaks and control characters, at most ``limits.PUBLIC_TEXT`` characters.

    A peer's text must neither steer a terminal nor fill a log.
    """
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean if len(clean) <= limits.PUBLIC_TEXT else f"{clean[: limits.PUBLIC_TEXT - 3]}..."


def _code(failure: grpc.RpcError | grpc.Call) -> Code | None:
    metadata: Any = failure.trailing_metadata() or ()  # pairs; the stub has them as objects
    value = dict(metadata).get(CODE_KEY)
    return Code(value) if isinstance(value, str) and value in set(Code) else None
