"""A node of the four departments under fuzz: scripts of messages run against its real ``Tasks``, in this thread."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from fakes.federation import Federation, Passing
from federation.attacked_world import CONTRIBUTORS, NAMES, PEOPLE, POLICY, RECIPIENT, led, make
from fuzz.hostile_messages import Hostile
from fuzz.oracles import check_text
from google.protobuf.message import Message

from veilmatch_transport import StreamEnded, WorkStream
from veilmatch_transport._mailbox import Mailbox
from veilmatch_wire.v1 import job_pb2, node_pb2

TASKS = (
    "link",
    "epoch_keys_task",
    "trustee",
    "prepare",
    "households",
    "contribute",
    "deal",
    "open",
    "close",
    "heads",
)
BODIES = tuple(node_pb2.CoordinatorMessage.DESCRIPTOR.fields_by_name)
# Policies whose jobs need a dealer and circuits, households, counts: what else the messages are for.
CIRCUIT = """
policy: either
recipient: social
among: "v_social >= 0"
among_at_most: 240
conditions:
  rent: {department: housing, where: "v_housing < 3"}
  wage: {department: tax, where: "v_tax < 2"}
eligible: rent OR wage
"""
_ENVELOPE = node_pb2.CoordinatorMessage.DESCRIPTOR


class _Answers:
    """In the place of an outbox: keeps what the node sends."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def put(self, message: Message, _timeout: float | None) -> None:
        self.sent.append(type(message).FromString(message.SerializeToString()))

    def end(self, reason: Exception, *, discard: bool = False) -> None:
        """Nothing waits."""


def run_script(federation: Federation, node: str, messages: Sequence[Message]) -> list[Message]:
    """What a node answers to these messages, sent at once and ended; every answer is held against the oracle."""
    inbox: Mailbox[Message] = Mailbox(len(messages) + 1)
    for message in messages:
        inbox.put(type(message).FromString(message.SerializeToString()), 0.0)
    inbox.end(StreamEnded("office has ended the stream"))
    answers = _Answers()
    with federation.network.keys.in_use():
        federation.nodes[node].tasks.run(WorkStream("office", answers, inbox, lambda: None))
    for answer in answers.sent:
        if answer.WhichOneof("body") == "refused":
            assert answer.refused.code != "internal", answer
            check_text(answer.refused.text)
    return answers.sent


@dataclass
class Recorded:
    """Honest conversations: what the coordinator sent to each node, task by task.

    ``begun`` are those that belong to manifests that are started and not closed.
    """

    scripts: list[tuple[str, list[Message]]] = field(default_factory=list)
    begun: list[tuple[str, list[Message]]] = field(default_factory=list)
    words: tuple[str, ...] = ()
    documents: tuple[bytes, ...] = ()
    seen: tuple[bytes, ...] = ()  # of the manifests that are started


def world(home: Path) -> tuple[Federation, Recorded]:
    """A federation that has linked both ways and run jobs, and what was said; a manifest is started and not run."""
    federation = make(home, (*NAMES, "zz"))
    recorded = Recorded()
    for say in (
        federation.link,
        lambda: federation.link("oprf"),
        lambda: federation.run(POLICY),
        lambda: federation.run(CIRCUIT),
    ):
        federation.network.passed.clear()
        say()
        recorded.scripts += _scripts(federation.network.passed)
    recorded.words = (*federation.directory.members, "memory")
    recorded.documents = (
        POLICY.encode(),
        CIRCUIT.encode(),
        *(script[0].link.statement for _, script in recorded.scripts if script[0].HasField("link")),
    )
    begin_jobs(federation, recorded)
    return federation, recorded


def begin_jobs(federation: Federation, recorded: Recorded) -> None:
    """Have the nodes start manifests that nobody runs, so that scripts can reach what comes after the start."""
    recorded.begun.clear()
    seen: list[bytes] = []
    for policy in (POLICY, CIRCUIT):
        with led(federation, policy) as office:
            office.ask_all()
            digest = office.accept_all()
            seen += [digest, office.drafted(), office.manifest(), office.epoch]
            dealer = office.draft["dealer"]
        recorded.begun += _scripts(federation.network.passed)
        say = node_pb2.CoordinatorMessage
        openings = [say(open=job_pb2.OpenTask(manifest_sha256=digest))]
        openings += [say(combined=job_pb2.CombinedChunk(chunk=chunk)) for chunk in range(2)]
        recorded.begun += [
            *(
                (name, [say(contribute=job_pb2.ContributeTask(manifest_sha256=digest))])
                for name in CONTRIBUTORS
            ),
            (RECIPIENT, openings),
            (RECIPIENT, [*openings, say(begin_circuits=job_pb2.BeginCircuits()), say(round=job_pb2.Round())]),
        ]
    recorded.begun += [
        (dealer, [say(deal=job_pb2.DealTask(manifest_sha256=digest, presented=[PEOPLE]))]),
        (dealer, [say(households=job_pb2.HouseholdsTask(manifest_sha256=digest))]),
    ]
    recorded.seen = tuple(seen)
    federation.network.passed.clear()


def _scripts(passed: Sequence[Passing]) -> Iterator[tuple[str, list[Message]]]:
    """Cut what was sent to each node into conversations: a task's first message begins one."""
    of_node: dict[str, list[list[Message]]] = {}
    for passing in passed:
        if passing.from_node:
            continue
        if passing.body in TASKS:
            of_node.setdefault(passing.node, []).append([])
        of_node[passing.node][-1].append(passing.message)
    for node, scripts in of_node.items():
        for script in scripts:
            yield node, script


def script(recorded: Recorded, random: Random) -> tuple[str, list[Message]]:
    """Draw a node and what to send to it."""
    hostile = Hostile(random, words=recorded.words, documents=recorded.documents + recorded.seen)
    node, honest = random.choice(random.choice((recorded.scripts, recorded.begun)))
    messages = [_as_of_now(message) for message in honest]
    match random.randrange(8):
        case 0:  # a hostile task
            messages = [hostile.of_body(_ENVELOPE, random.choice(TASKS))]
        case 1:  # anything at all
            messages = [hostile.message(_ENVELOPE) for _ in range(random.randrange(1, 4))]
        case 2:  # an honest beginning, and then hostile messages
            kept = random.randrange(1, len(messages) + 1)
            after = [hostile.of_body(_ENVELOPE, random.choice(BODIES)) for _ in range(3)]
            messages = messages[:kept] + after
        case 3:  # a field swapped
            at = random.randrange(len(messages))
            messages[at] = hostile.swapped(messages[at])
        case 4:  # bytes changed
            at = random.randrange(len(messages))
            changed = hostile.changed_message(messages[at])
            messages[at : at + 1] = [] if changed is None else [changed]
        case 5:  # out of order, lost, repeated
            random.shuffle(messages)
        case 6:
            at = random.randrange(len(messages))
            messages[at:at] = [messages[random.randrange(len(messages))]] * random.choice((1, 2, 50))
        case _:  # another conversation's messages
            messages = messages[:1] + random.choice(recorded.scripts)[1]
    return node, messages


def _as_of_now(message: Message) -> Message:
    """The message as if it were sent now: parties whose clocks differ refuse each other before anything else."""
    said = type(message).FromString(message.SerializeToString())
    body = getattr(said, said.WhichOneof("body"))
    if "sent" in body.DESCRIPTOR.fields_by_name:
        body.sent = int(time.time() * 1000)
    return said
