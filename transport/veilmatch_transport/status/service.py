"""The status of this party, for any member of the federation."""

from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version

import grpc

from veilmatch_policy.clock import Clock, utc_now
from veilmatch_policy.directory import Directory
from veilmatch_wire.v1 import status_pb2, status_pb2_grpc

SERVICE = "veilmatch_wire.v1.Status"
ROLES = {f"/{SERVICE}/Show": frozenset({"node", "coordinator", "operator"})}  # who may call what


class StatusServicer(status_pb2_grpc.StatusServicer):
    """Answers from what the service holds; nothing is read for it."""

    def __init__(self, role: str, directory: Directory, clock: Clock) -> None:
        self._role = role
        self._directory = directory
        self._clock = clock

    def Show(  # noqa: N802  the name that the proto gives
        self, _request: status_pb2.StatusRequest, _context: grpc.ServicerContext
    ) -> status_pb2.StatusAnswer:
        """Tell release, role, time and directory version."""
        return status_pb2.StatusAnswer(
            release=version("veilmatch"),
            role=self._role,
            time_ms=milliseconds(self._clock()),
            directory_version=self._directory.version,
        )


def register(role: str, directory: Directory, clock: Clock = utc_now) -> Callable[[grpc.Server], None]:
    """Return what adds the service to a server (``Server.add``)."""
    return lambda server: status_pb2_grpc.add_StatusServicer_to_server(
        StatusServicer(role, directory, clock), server
    )


def milliseconds(moment: datetime) -> int:
    """Return a moment in milliseconds since 1970-01-01 UTC."""
    return int(moment.timestamp() * 1000)
