"""A small federation for the transport's tests: certificates, a directory, a service without stubs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Self

import grpc
from google.protobuf.wrappers_pb2 import BytesValue

from veilmatch_crypto import LOOPBACK, Credential, Validity, fingerprint, issue, make_root
from veilmatch_transport.channel import open_channel
from veilmatch_transport.roles import RoleGate
from veilmatch_transport.server import Server
from veilmatch_transport.streams import WorkStream, serve_stream
from veilmatch_transport.tls import TlsIdentity, server_name

FEDERATION = "spree"
SERVICE = "veilmatch.test.Desk"
COORDINATOR = frozenset({"coordinator"})
TABLE = {f"/{SERVICE}/{name}": COORDINATOR for name in ("Work", "Ask", "Tell", "List", "Absent")}
ROLES = {"office": "coordinator", "tax": "node", "housing": "node", "民政": "node"}

Stream = WorkStream[BytesValue, BytesValue]
Task = Callable[[Stream], None]


class UncheckedIdentity(TlsIdentity):
    """An identity that a careful party would not start with; the other side must refuse it."""

    def __post_init__(self):
        pass


class World:
    """One root, one certificate a member, and a directory that lists them."""

    def __init__(self, federation: str = FEDERATION):
        self.root = make_root(federation, Validity.for_days(2))
        self.credentials = {name: self.issue(name) for name in ROLES}
        self.listed = {
            name: (fingerprint(credential.certificate), frozenset({ROLES[name]}))
            for name, credential in self.credentials.items()
        }

    def issue(self, member: str, validity: Validity | None = None) -> Credential:
        hosts = [*LOOPBACK, server_name(member)]
        return issue(self.root, member, hosts=hosts, validity=validity or Validity.for_days(1))

    def identity(self, member: str) -> TlsIdentity:
        return TlsIdentity(self.root.certificate, *self.credentials[member])

    def expired(self, member: str) -> TlsIdentity:
        now = datetime.now(UTC)
        past = Validity(now - timedelta(hours=1), now - timedelta(minutes=1))
        return UncheckedIdentity(self.root.certificate, *self.issue(member, past))

    def roles_of(self, name: str, fingerprint: str) -> frozenset[str] | None:
        listed, roles = self.listed.get(name, ("", frozenset()))
        return roles if listed == fingerprint else None

    def server(self, identity: TlsIdentity, task: Task, **behaviours: Callable) -> Server:
        server = Server(identity, RoleGate(FEDERATION, self, TABLE))
        handler = desk(task, **behaviours)
        server.add(SERVICE, lambda s: s.add_generic_rpc_handlers((handler,)))
        return server

    @contextmanager
    def serving(
        self, task: Task | None = None, *, identity: TlsIdentity | None = None, **behaviours: Callable
    ):
        """Serve as ``tax``; give the port.  What still runs at the end is cut."""
        server = self.server(identity or self.identity("tax"), task or echo, **behaviours)
        try:
            yield server.start("127.0.0.1:0")
        finally:
            server.stop(0)

    @contextmanager
    def dialling(self, port: int, *, identity: TlsIdentity | None = None, to: str = "tax"):
        """Dial as ``office``; give the channel."""
        with open_channel(f"127.0.0.1:{port}", to, identity or self.identity("office")) as channel:
            yield channel


def desk(task: Task, **behaviours: Callable) -> grpc.GenericRpcHandler:
    """Work: a stream that runs ``task``; Ask: echo; Tell: counts; List: twice; Hidden: not in the table."""
    kinds = {
        "Ask": (grpc.unary_unary_rpc_method_handler, lambda request, _context: request),
        "Hidden": (grpc.unary_unary_rpc_method_handler, lambda request, _context: request),
        "Tell": (
            grpc.stream_unary_rpc_method_handler,
            lambda requests, _context: BytesValue(value=b"%d" % sum(1 for _ in requests)),
        ),
        "List": (grpc.unary_stream_rpc_method_handler, lambda request, _context: iter([request, request])),
        "Work": (
            grpc.stream_stream_rpc_method_handler,
            lambda requests, context: serve_stream(requests, context, task),
        ),
    }
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            name: make(behaviours.get(name, behaviour), BytesValue.FromString, BytesValue.SerializeToString)
            for name, (make, behaviour) in kinds.items()
        },
    )


def procedure(channel: grpc.Channel, name: str, kind: str = "unary_unary", service: str = SERVICE):
    """What a generated stub's attribute would be."""
    return getattr(channel, kind)(f"/{service}/{name}", BytesValue.SerializeToString, BytesValue.FromString)


def work(channel: grpc.Channel):
    return procedure(channel, "Work", "stream_stream")


def echo(stream: Stream) -> None:
    for message in stream:
        stream.send(message)


def message(data: bytes = b"x") -> BytesValue:
    return BytesValue(value=data)


class Wire:
    """TCP between two parties that a test can freeze (nothing passes, nobody is told) or cut."""

    def __init__(self, port: int):
        self._to = port
        self._moving = threading.Event()
        self._moving.set()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        self._moving.clear()

    def cut(self) -> None:
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._sockets.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._moving.set()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._moving.wait()
                sink.sendall(data)


def each(iterator: Iterator[BytesValue]) -> list[bytes]:
    return [item.value for item in iterator]
