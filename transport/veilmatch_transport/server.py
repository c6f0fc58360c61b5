"""A party's gRPC server: who may call what, health, reflection, and an orderly end."""

from __future__ import annotations

import threading
from concurrent import futures
from typing import TYPE_CHECKING, Any, Final, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from veilmatch_transport import limits
from veilmatch_transport.errors import ListenError
from veilmatch_transport.lifetime import End

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from veilmatch_transport.lifetime import Lifetime
    from veilmatch_transport.roles import RoleGate
    from veilmatch_transport.tls import TlsIdentity

_LOOK: Final = 0.1  # seconds between looks for a signal while the server stops


class Server:
    """Serves under mutual TLS, through a role gate.  A context manager, so that it always stops.

    Use: ``add`` each service, ``start``, then ``serve_until`` the end of a lifetime, or leave the body.
    """

    def __init__(self, identity: TlsIdentity, gate: RoleGate, *, members: int = 0) -> None:
        """Take our side of TLS, who may call what, and how many members may hold calls open here for long."""
        self.stopping = threading.Event()
        """Set when the server begins to stop: calls that wait for work should end."""
        self._identity = identity
        self._health = health.HealthServicer(experimental_non_blocking=False)
        self._services: list[str] = []
        workers = limits.WORKERS + limits.WORKERS_A_MEMBER * members
        self._grpc = grpc.server(
            futures.ThreadPoolExecutor(workers, thread_name_prefix="call"),
            interceptors=[gate],
            options=_options(),
            maximum_concurrent_rpcs=workers,
        )
        self.add(health.SERVICE_NAME, lambda s: health_pb2_grpc.add_HealthServicer_to_server(self._health, s))

    def add(self, service: str, register: Callable[[grpc.Server], None]) -> None:
        """Add a service under its full name; ``register`` calls its ``add_...Servicer_to_server``."""
        register(self._grpc)
        self._services.append(service)

    def start(self, address: str) -> int:
        """Listen on ``address`` (host:port, port 0: any) and serve.  Returns the port.

        Raises ListenError when the address cannot be had.
        """
        reflection.enable_server_reflection([*self._services, reflection.SERVICE_NAME], self._grpc)
        try:
            port = self._grpc.add_secure_port(address, self._identity.server_credentials())
        except RuntimeError:
            raise ListenError(
                f"{address}: cannot listen there; the port is in use or the address is not this machine's, "
                f"choose another"
            ) from None
        self.tell_health(True)
        self._grpc.start()
        return port

    def serve_until(self, lifetime: Lifetime, broken: threading.Event | None = None, **anew: Any) -> End:
        """Serve until the lifetime ends (``Lifetime.wait``), then stop; says why it ended.

        Stops without grace where ``broken`` is set: the party can do nothing more.  Another signal cuts at once.
        """
        end = lifetime.wait(broken, **anew)
        stopped = self._begin_stop(0 if end is End.BROKEN else limits.GRACE)
        while not stopped.wait(_LOOK):
            if lifetime.told_to_end():
                self._grpc.stop(None)
        return end

    def tell_health(self, well: bool) -> None:
        """Say to whoever asks gRPC's health service whether work can be given to this party."""
        status = health_pb2.HealthCheckResponse
        for service in self._services:
            self._health.set(service, status.SERVING if well else status.NOT_SERVING)

    def stop(self, grace: float = limits.GRACE) -> None:
        """Refuse new calls, give those that run ``grace`` seconds, cut what is left.  Waits for the end."""
        self._begin_stop(grace).wait()

    def _begin_stop(self, grace: float) -> threading.Event:
        self.stopping.set()
        self._health.enter_graceful_shutdown()
        return self._grpc.stop(grace)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(limits.GRACE if kind is None else 0)


def _options() -> list[tuple[str, int]]:
    return [
        *limits.grpc_options(),
        # Callers ping every KEEPALIVE_TIME; half of that leaves room for jitter before gRPC's default
        # (a ping in five minutes) takes them for an attack and cuts the connection.
        (
            "grpc.http2.min_ping_interval_without_data_ms",
            limits.milliseconds(limits.KEEPALIVE_TIME / 2),
        ),
        ("grpc.server_handshake_timeout_ms", limits.milliseconds(limits.CONNECT)),
        # `local run` reserves ports by sockets that it binds and does not listen on.
        ("grpc.so_reuseport", 1),
    ]
