"""Which member may call which procedure (protocol.md, 2): asked on every call, before it does anything.

A table lists every procedure of a server with the roles that may call it; what is not in the table is
refused for everyone, so that a procedure added without thought is closed, not open.  gRPC's health
check is open to any member, reflection to the coordinator and the operator.  Health's Watch is closed:
each call of it would hold a thread of ours for as long as its caller likes.  All refusals look alike to
the caller: PERMISSION_DENIED and one fixed text; the local log says which of the reasons it was.

Nothing that a caller sends is parsed before it is admitted, and no member holds so many calls that others
get none (``limits.CALLS_A_MEMBER``).
"""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, NoReturn, Protocol
from weakref import WeakKeyDictionary

import grpc
from google.protobuf.message import DecodeError

from veilmatch_crypto import CertificateRefusedError
from veilmatch_transport import limits
from veilmatch_transport.boundary import boundary
from veilmatch_transport.errors import Code, RefusalError
from veilmatch_transport.tls import peer_certificate

_EVERY_SERVER: Final = {
    "/grpc.health.v1.Health/Check": frozenset({"node", "coordinator", "operator"}),
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": frozenset({"coordinator", "operator"}),
}

_Guard = Callable[[grpc.ServicerContext], AbstractContextManager[None]]
_Parse = Callable[[bytes], Any]

# Callers of the calls that run now; an entry goes when its call's context does.
_callers: WeakKeyDictionary[grpc.ServicerContext, str] = WeakKeyDictionary()


class Members(Protocol):
    """What the gate needs of the federation's directory."""

    def roles_of(self, name: str, fingerprint: str) -> frozenset[str] | None:
        """Return the roles of the member with this name and certificate (SHA-256, hex); None: a stranger."""


def caller(context: grpc.ServicerContext) -> str:
    """Return the name of the member that makes this call, as a ``RoleGate`` admitted it.

    Raises RefusalError for a call that came past no gate.
    """
    try:
        return _callers[context]
    except KeyError:
        raise RefusalError(Code.NOT_PERMITTED, "the server has no role gate") from None


class RoleGate(grpc.ServerInterceptor):
    """Admits callers by role, and is the boundary (``boundary.py``) of every call it admits."""

    def __init__(self, federation: str, members: Members, table: Mapping[str, frozenset[str]]) -> None:
        """Take the table from a procedure's full name (``/package.Service/Method``) to its roles."""
        self._federation = federation
        self._members = members
        self._table = {**_EVERY_SERVER, **table}
        self._open: Counter[str] = Counter()  # calls by member
        self._counting = threading.Lock()

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Return the procedure's handler behind the check, or one that refuses (grpc.ServerInterceptor)."""
        method = handler_call_details.method

        def guard(context: grpc.ServicerContext) -> AbstractContextManager[None]:
            return self._admitted(method, context)

        handler = continuation(handler_call_details)
        if handler is None:
            # Streams both ways: the refusal then suits a caller of any kind.
            return grpc.stream_stream_rpc_method_handler(
                _streaming(_refuse, guard, lambda requests: requests)
            )
        return _behind(guard, handler)

    @contextmanager
    def _admitted(self, method: str, context: grpc.ServicerContext) -> Iterator[None]:
        with boundary(context, method), self._counted(self._admit(method, context)):
            yield

    @contextmanager
    def _counted(self, member: str) -> Iterator[None]:
        with self._counting:
            if self._open[member] >= limits.CALLS_A_MEMBER:
                raise RefusalError(Code.TOO_MANY, f"{member} has {self._open[member]} calls open")
            self._open[member] += 1
        try:
            yield
        finally:
            with self._counting:
                self._open[member] -= 1

    def _admit(self, method: str, context: grpc.ServicerContext) -> str:
        try:
            peer = peer_certificate(context, self._federation)
        except CertificateRefusedError as error:
            raise RefusalError(Code.NOT_PERMITTED, str(error)) from None
        roles = self._members.roles_of(peer.member, peer.fingerprint)
        if roles is None:
            raise RefusalError(
                Code.NOT_PERMITTED,
                f"the directory lists no {peer.member} with the certificate {peer.fingerprint[:16]}...",
            )
        allowed = self._table.get(method)
        if allowed is None:
            raise RefusalError(Code.NOT_PERMITTED, f"{peer.member} called a procedure that no role may call")
        if not roles & allowed:
            has, needs = ", ".join(sorted(roles)), ", ".join(sorted(allowed))
            raise RefusalError(Code.NOT_PERMITTED, f"{peer.member} is {has}; this is for {needs}")
        _callers[context] = peer.member
        return peer.member


def _behind(guard: _Guard, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
    match handler.request_streaming, handler.response_streaming:
        case False, False:
            make, wrap, behaviour = grpc.unary_unary_rpc_method_handler, _answering, handler.unary_unary
        case True, False:
            make, wrap, behaviour = grpc.stream_unary_rpc_method_handler, _answering, handler.stream_unary
        case False, True:
            make, wrap, behaviour = grpc.unary_stream_rpc_method_handler, _streaming, handler.unary_stream
        case _:
            make, wrap, behaviour = grpc.stream_stream_rpc_method_handler, _streaming, handler.stream_stream
    parse = _reader(handler.request_deserializer, streaming=handler.request_streaming)
    return make(wrap(behaviour, guard, parse), None, handler.response_serializer)


def _answering(behaviour: Any, guard: _Guard, parse: _Parse) -> Callable[..., Any]:
    @functools.wraps(behaviour)
    def guarded(request: Any, context: grpc.ServicerContext) -> Any:
        with guard(context):
            return behaviour(parse(request), context)

    return guarded


def _streaming(behaviour: Any, guard: _Guard, parse: _Parse) -> Callable[..., Iterator[Any]]:
    @functools.wraps(behaviour)
    def guarded(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with guard(context):
            yield from behaviour(parse(request), context)

    return guarded


def _reader(deserializer: _Parse | None, *, streaming: bool) -> Callable[[Any], Any]:
    """What turns a call's bytes into what its behaviour takes: gRPC's own way would print a traceback.

    Raises RefusalError where the bytes are no message; of a stream, when that message is taken from it.
    """

    def parse(data: bytes) -> Any:
        try:
            return data if deserializer is None else deserializer(data)
        except DecodeError:
            raise RefusalError(Code.MALFORMED, "bytes came that are no message of the procedure") from None

    return functools.partial(map, parse) if streaming else parse


def _refuse(_requests: object, _context: grpc.ServicerContext) -> NoReturn:
    raise RefusalError(Code.NOT_PERMITTED, "no such procedure is served here")
