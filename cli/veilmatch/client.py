"""The operator's calls to the coordinator: events come back as plain values."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from veilmatch.errors import JobFailedError
from veilmatch_transport import TlsIdentity, open_channel, responses, wait_until_serving
from veilmatch_wire.v1 import coordinator_pb2, coordinator_pb2_grpc

OFFICE = "veilmatch_wire.v1.Office"
NODE = "veilmatch_wire.v1.Node"

_LINKAGES = {"oprf": coordinator_pb2.LINKAGE_OPRF, "shared-key": coordinator_pb2.LINKAGE_SHARED_KEY}
_SLOTS = {"union": coordinator_pb2.SLOT_MODE_UNION, "register": coordinator_pb2.SLOT_MODE_REGISTER}

Progress = Callable[[str, str, int, int], None]  # stage, department, done, total


@dataclass(frozen=True)
class Linked:
    """A linked epoch: slots in all, distinct people by department, seconds."""

    padded: int
    people: Mapping[str, int]
    seconds: float


def wait_for(address: str, member: str, service: str, tls: TlsIdentity, timeout: float) -> None:
    """Wait until a member serves.  Raises PeerError after ``timeout`` seconds."""
    with open_channel(address, member, tls) as channel:
        wait_until_serving(channel, member, service, timeout)


class Operator:
    """The coordinating office's operator at one coordinator."""

    def __init__(self, address: str, coordinator: str, tls: TlsIdentity) -> None:
        self._coordinator = coordinator
        self._channel = open_channel(address, coordinator, tls)
        self._office = coordinator_pb2_grpc.OfficeStub(self._channel)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def link(self, linkage: str, slots: str, reference_date: str, progress: Progress) -> Linked:
        """Link a new epoch.  Raises JobFailedError with the coordinator's line, PeerError when it is lost."""
        request = coordinator_pb2.LinkRequest(
            linkage=_LINKAGES[linkage], slots=_SLOTS[slots], reference_date=reference_date
        )
        linked = self._last(responses(self._office.Link, self._coordinator, request), progress).linked
        return Linked(linked.padded, dict(linked.people), linked.seconds)

    def run(self, policies: Sequence[bytes], key_bits: int, progress: Progress) -> list[dict[str, object]]:
        """Run policies of one recipient over the newest epoch, as one job.

        Returns the coordinator's copies of the results, in the order of the policies.  Raises as ``link``.
        """
        request = coordinator_pb2.RunRequest(policies=policies, key_bits=key_bits)
        completed = self._last(responses(self._office.Run, self._coordinator, request), progress).completed
        return [json.loads(result) for result in completed.results]

    def _last(self, events: Iterator[coordinator_pb2.Event], progress: Progress) -> coordinator_pb2.Event:
        for event in events:
            match event.WhichOneof("body"):
                case "progress":
                    step = event.progress
                    progress(step.stage, step.department, step.done, step.total)
                case "failed":
                    raise JobFailedError(event.failed.text, event.failed.exit_code)
                case _:
                    return event
        raise JobFailedError(f"{self._coordinator}: ended without an answer; look at its log", 5)
