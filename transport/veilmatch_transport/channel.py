"""Dialling a peer: the channel, a look at its health, and calls whose failures are in our words."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from veilmatch_transport import limits
from veilmatch_transport.errors import (
    PeerRefusedError,
    PeerUnavailableError,
    PeerUntrustedError,
    peer_error,
)
from veilmatch_transport.tls import TlsIdentity, server_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")

_POLL: Final = 0.1  # seconds between looks at a peer that is starting


def open_channel(address: str, member: str, identity: TlsIdentity) -> grpc.Channel:
    """Return a channel to ``member`` at ``address`` (host:port); connects when it is first used.

    Whoever answers there must show ``member``'s certificate from our federation's root, or the
    handshake fails (``PeerUntrustedError``).
    """
    options: list[tuple[str, str | int]] = [
        *limits.grpc_options(),
        ("grpc.ssl_target_name_override", server_name(member)),
        # The directory's addresses are dialled as they stand: proxies of the environment are for
        # browsers, and instructions from DNS for people who run service meshes.
        ("grpc.enable_http_proxy", 0),
        ("grpc.service_config_disable_resolution", 1),
        # protocol.md, 4.7: what is sent again is the node's decision, never the transport's.
        ("grpc.enable_retries", 0),
        ("grpc.min_reconnect_backoff_ms", limits.milliseconds(limits.CONNECT)),  # also the connect timeout
        ("grpc.initial_reconnect_backoff_ms", limits.milliseconds(limits.FIRST_RETRY)),
        ("grpc.max_reconnect_backoff_ms", limits.milliseconds(limits.LAST_RETRY)),
    ]
    return grpc.secure_channel(address, identity.channel_credentials(), options=options)


def wait_until_serving(channel: grpc.Channel, peer: str, service: str, timeout: float) -> None:
    """Wait until the member at the other end serves ``service`` (its full name).

    A peer that is starting is asked again; one that refuses us or shows the wrong certificate is not.
    Raises PeerUnavailableError after ``timeout`` seconds with the last reason, PeerUntrustedError or
    PeerRefusedError at once.
    """
    check = health_pb2_grpc.HealthStub(channel).Check
    request = health_pb2.HealthCheckRequest(service=service)
    deadline = time.monotonic() + timeout
    while True:
        left = deadline - time.monotonic()
        try:
            answer = call(check, peer, request, timeout=max(left, _POLL))
        except (PeerRefusedError, PeerUntrustedError):
            raise
        except PeerUnavailableError:
            if left <= _POLL:
                raise
        else:
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
            if left <= _POLL:
                raise PeerUnavailableError(peer, "is not serving", "look at its log")
        time.sleep(_POLL)


def call(
    method: Callable[..., _Response],
    peer: str,
    request: Any,
    *,
    timeout: float = limits.CALL,
) -> _Response:
    """Make a unary call (a stub's attribute).  Raises PeerError; ``timeout`` is in seconds."""
    with our_words(peer):
        return method(request, timeout=timeout)


def responses(
    method: grpc.UnaryStreamMultiCallable[_Request, _Response], peer: str, request: _Request
) -> Iterator[_Response]:
    """Yield what a member answers to one request, as long as its connection lives.  Raises PeerError.

    Leaving the loop early breaks the call off.
    """
    with our_words(peer):
        answers = method(request)
        try:
            yield from answers
        finally:
            answers.cancel()


@contextmanager
def our_words(peer: str) -> Iterator[None]:
    """Raise what gRPC raises in the body as a PeerError."""
    try:
        yield
    except grpc.RpcError as failure:
        raise peer_error(peer, failure) from None
    except ValueError:  # how grpcio says it; nothing of ours runs in the body
        raise PeerUnavailableError(peer, "our channel to it is closed") from None
