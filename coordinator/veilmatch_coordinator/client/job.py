"""The coordinator's side of a job, one class a task (protocol.md, 4, 5 and 7)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import ValidationError

from veilmatch_coordinator.client.line import Line, Parts
from veilmatch_coordinator.errors import NodeFailedError
from veilmatch_policy.approvals import SignedDecision
from veilmatch_policy.declarations import DepartmentEntry
from veilmatch_policy.manifest import PartyKeys
from veilmatch_wire.v1 import job_pb2, linkage_pb2, node_pb2


class Contribution(NamedTuple):
    """A chunk as a contributor sent it."""

    outcome: int
    chunk: int
    ciphertexts: bytes
    signature: bytes


class Traffic(NamedTuple):
    """Bytes by node: what it sent and what it received."""

    sent: Mapping[str, int]
    received: Mapping[str, int]


class Given(NamedTuple):
    """What a party gives for a draft: its keys, and its officer's approvals (statement and signature)."""

    keys: PartyKeys
    approvals: Sequence[tuple[bytes, bytes]]


class PrepareTask:
    """A party's part in the manifest (protocol.md, 7)."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def declaration(self) -> DepartmentEntry:
        """Return what the party's catalog says of what it is asked."""
        declared = DepartmentEntry.decode(self._line.receive("declared").declared.declaration)
        if declared.department != self._line.name:
            raise NodeFailedError(f"{self._line.name}: declares for another department; check its release")
        return declared

    def keys(self, draft: bytes, others: Sequence[SignedDecision]) -> Given:
        """Send the draft, with what other departments' officers decided; what the party gives for it.

        Raises ApprovalNeededError where its own officer must decide first.
        """
        decisions = [
            job_pb2.SignedDecision(
                department=each.decision.request.department,
                statement=each.statement,
                signature=each.signature,
            )
            for each in others
        ]
        delivery = job_pb2.DraftDelivery(draft=draft, decisions=decisions)
        self._line.send(node_pb2.CoordinatorMessage(draft=delivery))
        given = self._line.receive("job_keys").job_keys
        try:
            keys = PartyKeys(
                name=self._line.name,
                agreement=given.agreement.hex(),
                paillier=given.paillier.hex(),
                signature=given.signature.hex(),
            )
        except ValidationError:
            raise NodeFailedError(
                f"{self._line.name}: gives a key of another length; check its release"
            ) from None
        return Given(keys, [(each.statement, each.signature) for each in given.approvals])

    def accept(self, manifest: bytes) -> bytes:
        """Deliver the manifest; the hash that the party accepted."""
        self._line.send(node_pb2.CoordinatorMessage(manifest=job_pb2.ManifestDelivery(manifest=manifest)))
        digest = self._line.receive("accepted").accepted.manifest_sha256
        self._line.receive("done")
        return digest


class ContributeTask:
    """A contributor's chunks (protocol.md, 4.3)."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def break_off(self) -> None:
        """End this call at once."""
        self._line.break_off()

    def contributions(self) -> Iterator[Contribution]:
        """Yield the chunks as they come, until the contributor is done."""
        while True:
            message = self._line.receive("contribution", "done")
            if message.WhichOneof("body") == "done":
                return
            part = message.contribution
            yield Contribution(part.outcome, part.chunk, part.ciphertexts, part.signature)


class OpenTask:
    """The recipient's opening (protocol.md, 4.6)."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def presented(self, policy: int, size: int, claims: int) -> tuple[bytes, bytes] | None:
        """Return the bitmap of the slots that a policy asks about, and their claims in register mode.

        At most ``size`` and ``claims`` bytes are taken.  None where the recipient wrote the results already.
        """
        bitmap, claimed = Parts(self._line.name, size), Parts(self._line.name, claims)
        while True:
            answer = self._line.receive("presented", "done")
            if answer.WhichOneof("body") == "done":
                return None
            message = answer.presented
            if message.policy != policy:
                raise NodeFailedError(
                    f"{self._line.name}: presents another policy's slots; check its release"
                )
            bitmap.add(message.bitmap)
            claimed.add(message.claims)
            if message.last:
                return bytes(bitmap.data), bytes(claimed.data)

    def send_combined(self, outcome: int, chunk: int, ciphertexts: bytes) -> None:
        """Send one product chunk."""
        combined = job_pb2.CombinedChunk(outcome=outcome, chunk=chunk, ciphertexts=ciphertexts)
        self._line.send_unless_ended(node_pb2.CoordinatorMessage(combined=combined))

    def break_off(self) -> None:
        """End this call at once: whoever sends or waits on it is woken."""
        self._line.break_off()

    def opened(self) -> tuple[int, int]:
        """Wait until the recipient has opened the next chunk: its outcome and number."""
        opened = self._line.receive("opened").opened
        return opened.outcome, opened.chunk

    def begin_circuits(self, seed: bytes, households: int) -> None:
        """Say that the circuits begin; ``seed`` is the dealer's, sealed to the recipient."""
        sealed = linkage_pb2.SealedMessage(receiver=self._line.name, sealed=seed)
        begin = job_pb2.BeginCircuits(seed=sealed, households=households)
        self._line.send(node_pb2.CoordinatorMessage(begin_circuits=begin))

    def round(self, body: bytes) -> bytes:
        """Send this party's message of a round; the recipient's of the same round."""
        self._line.send(node_pb2.CoordinatorMessage(round=job_pb2.Round(body=body)))
        return self._line.receive("round").round.body

    def conclude(self, seconds: Mapping[str, float], traffic: Traffic) -> None:
        """Say that all chunks were sent, and wait until the result is written."""
        report = job_pb2.JobReport(seconds=seconds, bytes_sent=traffic.sent, bytes_received=traffic.received)
        self._line.send(node_pb2.CoordinatorMessage(conclude=job_pb2.Conclude(report=report)))
        self._line.receive("done")


class DealTask:
    """The dealer's part (protocol.md, 5.4)."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def seeds(self) -> tuple[bytes, bytes]:
        """Return the sealed seeds: the coordinator's and the recipient's."""
        seeds = self._line.receive("seeds").seeds
        return seeds.coordinator.sealed, seeds.recipient.sealed

    def corrections(self) -> Iterator[bytes]:
        """Yield the corrections as they come, until the dealer is done."""
        while True:
            message = self._line.receive("corrections", "done")
            if message.WhichOneof("body") == "done":
                return
            yield message.corrections.corrections
