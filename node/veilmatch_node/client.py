"""A node whose network lets nothing in: it dials the coordinator and waits to be asked (protocol.md, 1).

``Coordinator.Attach`` stays open; each offer on it asks for one work stream, which the node opens
and serves exactly as if the coordinator had dialled.
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from veilmatch_node.service import Tasks
from veilmatch_transport import PeerError, TlsIdentity, limits, open_channel, open_stream, responses
from veilmatch_transport.health import Finding, degraded, ok
from veilmatch_wire.v1 import coordinator_pb2, coordinator_pb2_grpc

_log = structlog.get_logger(__name__)
_RETRY = 1.0  # seconds before a lost coordinator is dialled again


class Attachment:
    """Keeps one node attached to its coordinator until it is stopped."""

    def __init__(self, coordinator: str, address: str, tls: TlsIdentity, tasks: Tasks) -> None:
        self._coordinator = coordinator
        self._tasks = tasks
        self._channel = open_channel(address, coordinator, tls)
        self._stub = coordinator_pb2_grpc.CoordinatorStub(self._channel)
        self._stopped = threading.Event()
        self._lost = (-math.inf, "")  # when a call failed last, and why

    def look(self) -> Finding:
        """Whether the node waits for work there, or why not."""
        at, why = self._lost
        # A call that waits says nothing; one that fails is made again, and fails again, before this is over.
        if time.monotonic() - at < limits.CONNECT + 2 * _RETRY:
            return degraded(f"not attached: {why}", "no work comes until it is")
        return ok(f"attached to {self._coordinator}")

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Run in a thread of its own while the context is open."""
        thread = threading.Thread(target=self.run, name="attachment", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.stop()
            thread.join(_RETRY)

    def run(self) -> None:
        """Attach, serve what is offered, attach again when the connection is lost; returns after ``stop``."""
        while not self._stopped.is_set():
            try:
                for offer in responses(self._stub.Attach, self._coordinator, coordinator_pb2.AttachRequest()):
                    threading.Thread(target=self._serve, args=(offer.offer,), daemon=True).start()
            except PeerError as error:
                if not self._stopped.is_set():
                    self._lost = (time.monotonic(), str(error))
                    _log.warning("not attached", reason=str(error))
            self._stopped.wait(_RETRY)

    def stop(self) -> None:
        """End ``run`` and every stream."""
        self._stopped.set()
        self._channel.close()

    def _serve(self, offer: str) -> None:
        try:
            with open_stream(
                self._stub.Work, self._coordinator, metadata=(("veilmatch-offer", offer),)
            ) as stream:
                self._tasks.run(stream)
        except PeerError as error:
            _log.warning("work stream lost", reason=str(error))
