"""The tasks of a linkage, as messages (protocol.md, 3)."""

from pathlib import Path

from veilmatch_crypto import Pool, all_processors
from veilmatch_evidence.actions import Linked
from veilmatch_evidence.log import EvidenceLog
from veilmatch_node.clocks import require_clock
from veilmatch_node.linkage import EpochLinkage, NodeLinkage
from veilmatch_node.register import DrawnRegister
from veilmatch_node.report import write_report
from veilmatch_node.service.messages import (
    VALUE_BYTES,
    NodeStream,
    batch_in,
    batch_out,
    body,
    confirmation_out,
    parts,
)
from veilmatch_node.source import TooManyRefusedError
from veilmatch_policy.clock import Clock, utc_now
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import Confirmation, OpenEpoch, RegisterStatement, open_epoch
from veilmatch_transport import Code, RefusalError
from veilmatch_wire.v1 import linkage_pb2, node_pb2

_IN_FLIGHT = 4  # OPRF batches under way: both trustees and the requester are busy


class LinkageTasks:
    """This node as requester, trustee and register."""

    def __init__(
        self,
        directory: Directory,
        linkage: NodeLinkage,
        executor: Pool,
        log: EvidenceLog,
        *,
        reports: Path,
        clock: Clock = utc_now,
    ) -> None:
        self._directory = directory
        self._linkage = linkage
        self._executor = executor
        self._log = log
        self._reports = reports
        self._clock = clock

    def link(self, stream: NodeStream, first: node_pb2.CoordinatorMessage) -> None:
        """Link this node's people for an epoch."""
        require_clock("linkage", first.link.sent, self._clock())
        epoch = self._epoch(first.link.statement, first.link.signature)
        with self._linkage.turn(), all_processors(self._executor) as pool:
            self._link_epoch(stream, epoch, pool)

    def _link_epoch(self, stream: NodeStream, epoch: OpenEpoch, pool: Pool) -> None:
        try:
            linkage = self._linkage.begin(epoch, pool)
        except TooManyRefusedError as error:
            write_report(error.report, self._reports)  # the owner needs the list most when a run stops
            raise
        write_report(linkage.report, self._reports)
        stream.send(node_pb2.NodeMessage(link_ready=linkage_pb2.LinkReady(people=linkage.people)))

        sealed = body(stream.receive(), "epoch_keys").epoch_keys.sealed.sealed
        stream.send(node_pb2.NodeMessage(confirmation=confirmation_out(linkage.receive_keys(sealed))))
        answered = body(stream.receive(), "confirmations").confirmations.confirmations
        if len(answered) > len(self._directory.members):
            raise RefusalError(
                Code.MALFORMED, "the coordinator sent more confirmations than there are members"
            )
        linkage.compare_keys([Confirmation(each.name, each.digest, each.signature) for each in answered])

        if epoch.epoch.linkage == "oprf":
            under_way = 0
            for request in linkage.requests():
                stream.send(node_pb2.NodeMessage(batch=batch_out(request)))
                under_way += 1
                if under_way == _IN_FLIGHT:
                    linkage.take(batch_in(body(stream.receive(), "batch").batch))
                    under_way -= 1
            for _ in range(under_way):
                linkage.take(batch_in(body(stream.receive(), "batch").batch))

        if epoch.epoch.slots == "register":
            self._register_slots(stream, linkage)
            write_report(linkage.report, self._reports)  # who is in the register is known only now
        else:
            _union_slots(stream, linkage)
        self._log.append(
            Linked(epoch=epoch.context.hex(), linkage=epoch.epoch.linkage, slots=epoch.epoch.slots)
        )

    def _register_slots(self, stream: NodeStream, linkage: EpochLinkage) -> None:
        slots = linkage.register_slots()
        stream.send(node_pb2.NodeMessage(people_evaluated=linkage_pb2.PeopleEvaluated()))
        if linkage.epoch.epoch.register == self._linkage.name:
            body(stream.receive(), "draw_slots")
            drawn = slots.draw(self._linkage.keys.identity)
            # On disk before the list leaves: a second one for this epoch would split the nodes.
            linkage.keep(drawn.table, drawn.statement.padded)
            _send_register(stream, drawn)
            return
        said = body(stream.receive(), "register_statement").register_statement
        statement = RegisterStatement(said.count, said.digest, said.signature)
        most = slots.list_bytes(statement)
        values, last = bytearray(), False
        while not last:
            part = body(stream.receive(), "register_list").register_list
            values += part.values
            last = part.last
            if len(values) > most:
                raise RefusalError(Code.MALFORMED, "a list came that is longer than the register signed")
        linkage.keep(slots.find(statement, bytes(values)), statement.padded)

    def draw_keys(self, stream: NodeStream, first: node_pb2.CoordinatorMessage) -> None:
        """Draw the epoch's keys, as the first trustee."""
        epoch = self._epoch(first.epoch_keys_task.statement, first.epoch_keys_task.signature)
        sealed = [
            linkage_pb2.SealedMessage(receiver=receiver, sealed=message.to_bytes())
            for receiver, message in self._linkage.draw_keys(epoch).items()
        ]
        stream.send(node_pb2.NodeMessage(epoch_keys_drawn=linkage_pb2.EpochKeysDrawn(sealed=sealed)))

    def evaluate(self, stream: NodeStream, first: node_pb2.CoordinatorMessage) -> None:
        """Evaluate batches, as a trustee."""
        epoch = self._epoch(first.trustee.statement, first.trustee.signature)
        trustee = self._linkage.trustee(epoch)
        with all_processors(self._executor) as pool:
            for message in stream:
                evaluated = trustee.evaluate(batch_in(body(message, "batch").batch), pool)
                stream.send(node_pb2.NodeMessage(batch=batch_out(evaluated)))

    def _epoch(self, statement: bytes, signature: bytes) -> OpenEpoch:
        epoch = open_epoch(statement, signature, self._directory)
        self._linkage.require_mode(epoch)
        return epoch


def _union_slots(stream: NodeStream, linkage: EpochLinkage) -> None:
    for part, last in parts(linkage.pseudonyms(), VALUE_BYTES):
        stream.send(node_pb2.NodeMessage(pseudonyms=linkage_pb2.Pseudonyms(pseudonyms=part, last=last)))
    slots, last, padded = bytearray(), False, 0
    while not last:
        message = body(stream.receive(), "slots").slots
        slots += message.slots
        last, padded = message.last, message.padded
        if len(slots) > linkage.slot_bytes:
            raise RefusalError(Code.MALFORMED, "the coordinator sent more slots than there are people")
    linkage.assign(bytes(slots), padded)


def _send_register(stream: NodeStream, drawn: DrawnRegister) -> None:
    said = drawn.statement
    statement = linkage_pb2.RegisterStatement(count=said.count, digest=said.digest, signature=said.signature)
    stream.send(node_pb2.NodeMessage(register_statement=statement))
    for part, last in parts(drawn.values, VALUE_BYTES):
        stream.send(node_pb2.NodeMessage(register_list=linkage_pb2.RegisterList(values=part, last=last)))
    for part, last in parts(drawn.claims, VALUE_BYTES):
        stream.send(node_pb2.NodeMessage(register_claims=linkage_pb2.RegisterClaims(claims=part, last=last)))
