"""A network in memory between the parties' processes, on which messages and connections meet their faults.

It stands where ``veilmatch_coordinator.client.Nodes`` does.  What is modelled of gRPC: two bounded mailboxes a
stream, a clean end, and a connection that is found dead at both ends.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from fakes.federation import COORDINATOR
from google.protobuf.message import DecodeError, Message
from simulation import faults
from simulation.faults import Fault, Faults
from simulation.process import Killed, Process

from veilmatch_coordinator.client import Conversation
from veilmatch_policy.manifest import signed_contribution
from veilmatch_transport import PeerUnavailableError, StreamEnded, TransportError, WorkStream, limits
from veilmatch_transport._mailbox import Mailbox

_LATE = 0.15  # seconds after which a message comes that waited for another to overtake it
_DELAY = 0.03
_RECENT = 16  # tasks: about two jobs
TASKS = frozenset(
    {
        *("link", "epoch_keys_task", "trustee", "prepare"),
        *("contribute", "open", "close", "households", "deal", "heads"),
    }
)


@dataclass(frozen=True)
class Sent:
    """A message as it left an honest sender, on the stream of this number."""

    stream: int
    node: str
    from_node: bool
    message: Message

    @property
    def body(self) -> str | None:
        return self.message.WhichOneof("body")

    @property
    def content(self) -> Message:
        return getattr(self.message, self.body)


class Network:
    """All streams of a federation; ``dial`` gives a node's process and what serves there, None where none answers."""

    def __init__(self, armed: Faults, dial: Callable[[str], tuple[Process, Callable] | None]) -> None:
        self.faults = armed
        self.sent: list[Sent] = []
        self.last = time.monotonic()  # when something was sent
        self.withheld = False  # what somebody waits for may never come
        self.signers: dict[str, object] = {}  # nodes' identity keys, for a node that forges
        self.another: Callable[[bytes], bytes] = bytes  # a manifest with another key of the coordinator
        self._dial = dial
        self._streams = 0
        self._counting = threading.Lock()

    def of(self, office: Process) -> "Nodes":
        """The network as one life of the coordinator sees it."""
        return Nodes(self, office)

    def open(self, office: Process, name: str) -> WorkStream:
        """Open a stream; dead already where nobody answers."""
        if office.dead:
            raise Killed(office.name)
        answered = self._dial(name)
        process, run = answered if answered is not None else (Process(name, office.folder, self.faults), None)
        with self._counting:
            self._streams += 1
            line = Line(self, self._streams, office, process)
        here = WorkStream(name, line.outward, line.inward.inbox, lambda: None)
        if run is None:
            line.die()
            return here
        there = WorkStream(COORDINATOR, line.inward, line.outward.inbox, lambda: None)

        def serve() -> None:
            try:
                run(there)
            except Killed:
                line.die()
                return
            there.close()
            line.outward.refuse(StreamEnded(f"{name} has ended the stream"))

        thread = threading.Thread(target=serve, name=f"{name} serves {line.number}")
        process.threads.append(thread)
        thread.start()
        office.at_death(line.die)
        process.at_death(line.die)
        return here

    def bodies(self, body: str, node: str | None = None) -> list[Sent]:
        """What was sent of one kind (on one node's streams), in order."""
        return [each for each in list(self.sent) if each.body == body and node in {None, each.node}]

    def task(self, office: Process, node: str, message: Message, wait: float = 1.0) -> list[Message]:
        """Begin a task once more on a stream of its own, and break it off when nothing more comes."""
        stream = self.open(office, node)
        answers = []
        try:
            stream.send(message)
            while True:
                answers.append(stream.receive(wait))
        except (TransportError, Killed):
            return answers
        finally:
            stream.cancel()

    def passing(self, line: "Line", from_node: bool, message: Message) -> tuple[list[Message], Fault | None]:
        """What arrives in a message's place, and the fault that happens to it."""
        sent = Sent(line.number, line.node.name, from_node, message)
        self.last = time.monotonic()
        fault = self.faults.take(sent.node, sent.body or "", faults.ON_MESSAGES)
        before = [each for each in self.bodies(sent.body or "") if each.from_node == from_node]
        self.sent.append(
            Sent(sent.stream, sent.node, from_node, type(message).FromString(message.SerializeToString()))
        )
        if fault is None:
            return [message], None
        self.withheld |= fault.kind in {*faults.CHANGES, faults.WITHHOLD}
        match fault.kind:
            case faults.LOSE:
                return [], fault
            case faults.WITHHOLD:
                return [], fault
            case faults.DELAY:
                time.sleep(_DELAY)
            case faults.REPEAT:
                return [message, message], fault
            case faults.TRUNCATE | faults.CORRUPT:
                return _garbled(message, fault), fault
            case faults.REPLAY:
                return [before[fault.at % len(before)].message if before else message], fault
            case faults.FORGE | faults.UNSIGNED if sent.body == "contribution":
                self._forge(sent, fault)
            case faults.ANOTHER if sent.body == "manifest":
                message.manifest.manifest = self.another(message.manifest.manifest)
            case faults.INTERJECT:
                self._interject(line, fault)
        return [message], fault

    def _forge(self, sent: Sent, fault: Fault) -> None:
        part = sent.content
        if fault.kind == faults.UNSIGNED:
            part.signature = bytes(64)
            return
        others = [
            each for each in self.bodies("contribution") if each.content.ciphertexts != part.ciphertexts
        ]
        if others and fault.at % 2:
            part.ciphertexts = others[fault.at % len(others)].content.ciphertexts  # another's, as its own
        else:
            # Never a ciphertext's first byte: what is above n**2 is refused before anybody opens it.
            place = fault.at % len(part.ciphertexts) | 1
            changed = bytearray(part.ciphertexts)
            changed[place] ^= 1
            part.ciphertexts = bytes(changed)
        digest = next(each for each in self.sent if each.stream == sent.stream).content.manifest_sha256
        part.signature = self.signers[sent.node].sign(
            signed_contribution(digest, part.outcome, part.chunk, part.ciphertexts)
        )

    def _interject(self, line: "Line", fault: Fault) -> None:
        """Begin a task of this job or the one before again, in the middle of another."""
        tasks = [each for each in list(self.sent) if not each.from_node and each.body in TASKS][-_RECENT:]
        if line.office.dead or not tasks:
            return
        chosen = tasks[fault.at % len(tasks)]
        thread = threading.Thread(
            target=self.task, args=(line.office, chosen.node, chosen.message, 0.1), name="interjected"
        )
        line.office.threads.append(thread)
        thread.start()
        thread.join(2.0)


class Nodes:
    """In the place of the coordinator's ``Nodes``, for one life of it."""

    def __init__(self, network: Network, office: Process) -> None:
        self._network = network
        self._office = office

    def conversation(self) -> Conversation:
        return Conversation(self)

    def open(self, name: str, *, within: float = 0.0) -> WorkStream:
        return self._network.open(self._office, name)

    def release(self, stream: WorkStream) -> None:
        """Nothing is held."""


class Line:
    """One work stream: two directions, one connection."""

    def __init__(self, network: Network, number: int, office: Process, node: Process) -> None:
        self.number = number
        self.office = office
        self.node = node
        self.outward = _Direction(network, self, office, node, from_node=False)
        self.inward = _Direction(network, self, node, office, from_node=True)

    def die(self) -> None:
        """The connection is found dead, at both ends."""
        for direction in (self.outward, self.inward):
            direction.lose()


class _Direction:
    """One direction, as its sender sees it: through the faults into the receiver's mailbox."""

    def __init__(self, network, line, sender: Process, receiver: Process, *, from_node: bool) -> None:
        self._network = network
        self._line = line
        self._sender = sender
        self._receiver = receiver
        self._from_node = from_node
        self._ended: Exception | None = None
        self._held: list[Message] = []
        self._holding = threading.Lock()
        self.inbox: Mailbox[Message] = Mailbox(limits.QUEUED_MESSAGES)

    def put(self, message: Message, timeout: float | None) -> None:
        if self._ended is not None:
            raise self._ended.with_traceback(None)
        body = message.WhichOneof("body") or ""
        self._sender.step(body)
        copy = type(message).FromString(message.SerializeToString())
        arriving, fault = self._network.passing(self._line, self._from_node, copy)
        kind = None if fault is None else fault.kind
        if self._receiver.arrive(body):
            return
        if kind == faults.REORDER:
            with self._holding:
                self._held += arriving
            timer = threading.Timer(_LATE, self._release)
            timer.daemon = True
            timer.start()
            return
        for each in arriving:
            self._deliver(each, timeout)
        self._release()
        if kind in {faults.LOSE, faults.CUT} or (not arriving and kind in {faults.TRUNCATE, faults.CORRUPT}):
            self._line.die()

    def refuse(self, reason: Exception) -> None:
        """Take no more messages: whoever received them has ended the call."""
        self._ended = self._ended or reason
        self.inbox.end(reason, discard=True)

    def lose(self) -> None:
        """The connection is dead: what has arrived can be read, then both ends hear of it."""
        self._ended = self._ended or _lost(self._receiver.name)
        self.inbox.end(_lost(self._sender.name), discard=self._receiver.dead)

    def end(self, reason: Exception, *, discard: bool = False) -> None:
        """The sender's end: clean, or broken off."""
        if not discard and not self._sender.dead:
            self._release()
        self._ended = self._ended or reason
        clean = not discard and not self._sender.dead
        self.inbox.end(
            StreamEnded(f"{self._sender.name} has ended the stream") if clean else _lost(self._sender.name),
            discard=discard,
        )

    def _release(self) -> None:
        with self._holding:
            held, self._held = self._held, []
        for each in held:
            try:
                self._deliver(each, 5.0)
            except TransportError:
                return

    def _deliver(self, message: Message, timeout: float | None) -> None:
        try:
            self.inbox.put(message, timeout)
        except TransportError:
            raise (self._ended or _lost(self._receiver.name)) from None


def _lost(peer: str) -> PeerUnavailableError:
    return PeerUnavailableError(peer, "broke the stream off, or its connection was lost", "look at its log")


def _garbled(message: Message, fault: Fault) -> list[Message]:
    """The message with its end or a bit of it wrong; nothing where it is no message any more."""
    data = bytearray(message.SerializeToString())
    if not data:
        return [message]
    place = fault.at % len(data)
    if fault.kind == faults.TRUNCATE:
        del data[place:]
    else:
        data[place] ^= 1 << fault.at % 8
    try:
        return [type(message).FromString(bytes(data))]
    except DecodeError:
        return []
