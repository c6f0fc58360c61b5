"""/metrics and /health over plain HTTP, for the machine's own monitoring (docs/operations.md).

No authentication: there is nothing personal in what is answered, and the owner says on which address.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6
from typing import TYPE_CHECKING, Any, Final

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from veilmatch_transport.errors import ListenError
from veilmatch_transport.health import Status, worst

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from veilmatch_transport.health import Finding, Health
    from veilmatch_transport.metrics import Metrics

_log = structlog.get_logger("veilmatch.transport")
_AT_ONCE: Final = 8  # requests; more are closed unanswered
_SLOWEST: Final = 5.0  # seconds that a caller has for its request, and for taking the answer


@contextmanager
def watched(listen: str, metrics: Metrics, health: Health) -> Iterator[int]:
    """Answer on ``listen`` (host:port, [host]:port for IPv6) while the context is open; gives the port.

    Raises ListenError where the address cannot be had.
    """
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    family = {"address_family": AF_INET6} if ":" in host else {}
    kind = type("_Here", (_Server,), family)
    try:
        server = kind((host, int(port)), type("_Ours", (_Handler,), {"metrics": metrics, "health": health}))
    except OSError as error:
        raise ListenError(
            f"metrics.listen: {listen} cannot be had ({error.strerror}); choose another"
        ) from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    _log.info("metrics", port=server.server_port)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments: Any) -> None:
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """Say nothing: a caller that went away is no concern, and the library would print a traceback."""


class _Handler(BaseHTTPRequestHandler):
    """Two paths, GET only."""

    metrics: Metrics
    health: Health
    timeout = _SLOWEST
    server_version = "veilmatch"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer."""
        match self.path.partition("?")[0]:
            case "/metrics":
                self.metrics.checks(self.health.found())
                self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(self.metrics.registry))
            case "/health":
                found = self.health.look()
                well = worst(found) is not Status.FAILED
                self._answer(
                    HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE,
                    "application/json",
                    _told(found),
                )
            case _:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"/metrics or /health\n")

    def log_message(self, *_: object) -> None:
        """Keep no record of requests: paths and callers are not ours."""

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)


def _told(found: Mapping[str, Finding]) -> bytes:
    checks = {
        name: {"status": each.status.value, "what": each.what, "remedy": each.remedy}
        for name, each in found.items()
    }
    return (json.dumps({"status": worst(found).value, "checks": checks}, ensure_ascii=False) + "\n").encode()
