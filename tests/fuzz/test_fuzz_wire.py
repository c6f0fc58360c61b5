"""Bytes of every kind to every procedure over mutual TLS: answered or refused in a public line, and served on."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from random import Random

import grpc
import pytest
from federation.attacked_world import POLICY
from fuzz.fuzzed_node import script, world
from fuzz.hostile_messages import Hostile
from fuzz.oracles import check_text, watched
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from transport.transport_world import World

from veilmatch_coordinator import service as coordinator_service
from veilmatch_coordinator.attachments import Attachments
from veilmatch_coordinator.office import Office
from veilmatch_coordinator.queue import Limits
from veilmatch_crypto import fingerprint
from veilmatch_crypto.pool import InlineExecutor
from veilmatch_node import service as node_service
from veilmatch_transport import RoleGate, Server, open_channel, status
from veilmatch_wire.v1 import coordinator_pb2, node_pb2, status_pb2

SEED = 20_260_729
OPEN = {"Attach", "Watch", "Link", "Work"}  # may stay open until the caller leaves
LIMITS = Limits(
    jobs_at_once=1,
    queued_jobs=20,
    approval_retry=timedelta(minutes=1),
    approval_wait=timedelta(days=7),
    keep_jobs=timedelta(days=400),
)
SERVICES = (
    coordinator_pb2.DESCRIPTOR.services_by_name["Coordinator"],
    coordinator_pb2.DESCRIPTOR.services_by_name["Office"],
    node_pb2.DESCRIPTOR.services_by_name["Node"],
    status_pb2.DESCRIPTOR.services_by_name["Status"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
)
METHODS = [method for service in SERVICES for method in service.methods]
CALLERS = {"Coordinator": "tax", "Office": "operator"}  # who may call; everything else the office


class Wire:
    """A coordinator and a node that serve, and channels of everybody who may call them."""

    def __init__(self, home, stack):
        self.federation, self.recorded = world(home)
        stack.enter_context(self.federation)
        members = World()
        members.credentials["operator"] = members.issue("operator")
        certificate = fingerprint(members.credentials["operator"].certificate)
        members.listed["operator"] = (certificate, frozenset({"operator"}))
        self.stopping = threading.Event()
        federation = self.federation
        self.office = Office(
            identity=federation.identity,
            directory=federation.directory,
            store=federation.store,
            nodes=federation.network,
            executor=InlineExecutor(),
            evidence=federation.evidence,
            log=federation.log,
            limits=LIMITS,
            reconnect_wait=0.0,
        )
        stack.callback(self.office.stop)
        services = coordinator_service.register(self.office, Attachments(), self.stopping)
        tasks = federation.nodes["tax"].tasks
        at = {
            "office": (coordinator_service.ROLES, services),
            "tax": (
                node_service.ROLES,
                {node_service.SERVICE: lambda server: node_service.register(tasks, server)},
            ),
        }
        self.channels = {}
        for member, (roles, added) in at.items():
            gate = RoleGate("spree", members, roles | status.ROLES)
            server = stack.enter_context(Server(members.identity(member), gate, members=4))
            for service, add in added.items():
                server.add(service, add)
            server.add(status.SERVICE, status.register("node", federation.directory))
            port = server.start("127.0.0.1:0")
            for caller in ("office", "operator", "tax"):
                channel = open_channel(f"127.0.0.1:{port}", member, members.identity(caller))
                self.channels[member, caller] = stack.enter_context(channel)
        stack.callback(self.stopping.set)
        self.office.start(self.stopping)

    def call(self, method, messages, seconds):
        """Call a procedure with these bytes; the answers, and the status where it was refused."""
        service = method.containing_service
        member = "tax" if service.name == "Node" else "office"
        channel = self.channels[member, CALLERS.get(service.name, "office")]
        kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
        stub = getattr(channel, kind)(f"/{service.full_name}/{method.name}")
        answers = []
        try:
            got = stub(iter(messages) if method.client_streaming else messages[0], timeout=seconds)
            answers.extend(got if method.server_streaming else [got])
        except grpc.RpcError as refused:
            return answers, refused
        return answers, None


def check(method, answers, refused):
    """Hold what came back against the oracles."""
    answer = GetMessageClass(method.output_type)
    for data in answers:
        said = answer.FromString(data)
        for text in _texts(said):
            check_text(text)
    if refused is not None:
        stays = method.name in OPEN and refused.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert stays or refused.code() not in {
            grpc.StatusCode.INTERNAL,
            grpc.StatusCode.UNKNOWN,
            grpc.StatusCode.DEADLINE_EXCEEDED,
            grpc.StatusCode.UNAVAILABLE,
        }, f"{method.full_name}: {refused.code()}: {refused.details()}"
        if not stays:
            check_text(refused.details() or "refused")


def _texts(said) -> Iterator[str]:
    """What is told to people in an answer."""
    body = (
        getattr(said, "WhichOneof", lambda _: None)("body")
        if "body" in said.DESCRIPTOR.oneofs_by_name
        else None
    )
    if body in {"failed", "refused"}:
        yield getattr(said, body).text
    if body == "job":
        yield said.job.reason


def bytes_for(method, random, recorded):
    """Draw what to send: hostile values, changed bytes, no message at all, or a node's conversation."""
    hostile = Hostile(random, words=recorded.words, documents=recorded.documents)
    if method.name == "Work" and random.random() < 0.5:
        said = [message.SerializeToString() for message in script(recorded, random)[1]][:20]
        if random.random() < 0.5:
            at = random.randrange(len(said) or 1)
            said[at : at + 1] = [hostile.changed(b"".join(said[at : at + 1]))]
        return said or [b""]
    match random.randrange(4):
        case 0:
            return [random.randbytes(random.choice((0, 1, 2, 10, 1000)))]
        case 1:
            return [hostile.changed(hostile.message(method.input_type).SerializeToString())]
        case _:
            return [hostile.message(method.input_type).SerializeToString()]


def fuzz(wire, messages, seed=SEED):
    """Send at least this many messages; a failure names the call's number, which repeats it."""
    sent, number = 0, 0
    with watched():
        while sent < messages:
            random = Random(f"{seed}/{number}")
            method = METHODS[number % len(METHODS)]
            said = bytes_for(method, random, wire.recorded)
            try:
                check(method, *wire.call(method, said, 0.2 if method.name in OPEN - {"Work"} else 60.0))
            except BaseException as error:
                error.add_note(
                    f"call {seed}/{number}: {method.full_name} with {[each[:40] for each in said[:5]]}"
                )
                raise
            sent, number = sent + len(said), number + 1
        wire.federation.network.wait()


@pytest.fixture(scope="module")
def wire(tmp_path_factory):
    with ExitStack() as stack:
        yield Wire(tmp_path_factory.mktemp("wire"), stack)


def serves_an_honest_job(wire):
    """An operator links, submits and is told the end, over the wire."""
    office = {method.name: method for method in METHODS if method.containing_service.name == "Office"}
    link = coordinator_pb2.LinkRequest(
        linkage=coordinator_pb2.LINKAGE_SHARED_KEY,
        slots=coordinator_pb2.SLOT_MODE_UNION,
        reference_date="2025-12-31",
    )
    events, refused = wire.call(office["Link"], [link.SerializeToString()], 120.0)
    assert refused is None
    assert coordinator_pb2.Event.FromString(events[-1]).WhichOneof("body") == "linked"
    submit = coordinator_pb2.SubmitRequest(policies=[POLICY.encode()], key_bits=2048)
    [answer], _ = wire.call(office["Submit"], [submit.SerializeToString()], 30.0)
    job = coordinator_pb2.Answer.FromString(answer).job.job
    watch = coordinator_pb2.WatchRequest(job=job).SerializeToString()
    events, refused = wire.call(office["Watch"], [watch], 120.0)
    assert refused is None
    assert coordinator_pb2.Event.FromString(events[-1]).WhichOneof("body") == "completed"
    wire.federation.network.wait()


@pytest.mark.campaign
def test_every_procedure_is_called_with_every_kind_of_bytes(wire):
    fuzz(wire, 150)
    serves_an_honest_job(wire)


@pytest.mark.campaign
@pytest.mark.timeout(36_000)
def test_ten_thousand_messages_over_tls(wire):
    for turn in range(5):
        fuzz(wire, 2_000, SEED + turn + 1)
        serves_an_honest_job(wire)


@pytest.mark.campaign
@pytest.mark.parametrize(
    "name",
    [
        "Office.Show",
        "Office.Watch",
        "Coordinator.Attach",
        "ServerReflection.ServerReflectionInfo",
        "Health.Check",
    ],
)
def test_bytes_that_are_no_message_are_malformed(wire, name):
    [method] = [each for each in METHODS if each.full_name.endswith(f".{name}")]
    with pytest.raises(DecodeError):
        GetMessageClass(method.input_type).FromString(b"\x0a\x05no")
    answers, refused = wire.call(method, [b"\x0a\x05no"], 10.0)
    assert not answers
    assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.details() == "the message is malformed"
