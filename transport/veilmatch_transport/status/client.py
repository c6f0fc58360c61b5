"""Asking a member for its status, and how far its clock is from ours."""

from dataclasses import dataclass

import grpc

from veilmatch_policy.clock import Clock, utc_now
from veilmatch_transport.channel import call
from veilmatch_transport.errors import one_line
from veilmatch_transport.status.service import milliseconds
from veilmatch_wire.v1 import status_pb2, status_pb2_grpc


@dataclass(frozen=True)
class Said:
    """What a member said of itself.  ``ahead`` is how many seconds its clock is before ours; negative: behind."""

    release: str
    role: str
    directory_version: int
    ahead: float


def ask_status(channel: grpc.Channel, member: str, *, timeout: float, clock: Clock = utc_now) -> Said:
    """Ask a member over an open channel.

    The difference of clocks is right to within half of the time that the answer took.  Raises PeerError.
    """
    asked = milliseconds(clock())
    answer = call(
        status_pb2_grpc.StatusStub(channel).Show, member, status_pb2.StatusRequest(), timeout=timeout
    )
    between = (asked + milliseconds(clock())) / 2
    return Said(
        release=one_line(answer.release),
        role=one_line(answer.role),
        directory_version=answer.directory_version,
        ahead=(answer.time_ms - between) / 1000,
    )
