"""Every procedure of every proto, called at real members by every kind of caller: refused within seconds, or served."""

import importlib
import pkgutil
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from processes.real_federation import COORDINATOR, wait_until_serving

import veilmatch_wire.v1
from veilmatch.client import NODE, OFFICE
from veilmatch_coordinator import service as coordinator_service
from veilmatch_crypto import LOOPBACK, Validity, issue, make_root
from veilmatch_node import service as node_service
from veilmatch_transport import PeerError, PeerUntrustedError, TlsIdentity, open_channel, server_name, status
from veilmatch_transport.errors import peer_error

PROTOS = Path(veilmatch_wire.v1.__file__).parents[3] / "veilmatch_wire" / "v1"


def methods():
    """Every procedure of every stub, from the descriptors."""
    for module in pkgutil.iter_modules(veilmatch_wire.v1.__path__):
        if module.name.endswith("_pb2"):
            descriptor = importlib.import_module(f"veilmatch_wire.v1.{module.name}").DESCRIPTOR
            for service in descriptor.services_by_name.values():
                yield from service.methods


METHODS = {f"/{method.containing_service.full_name}/{method.name}": method for method in methods()}
TABLES = {  # the members that are called
    "tax": node_service.ROLES | status.ROLES,
    COORDINATOR: coordinator_service.ROLES | status.ROLES,
}
ROLES = ("node", "coordinator", "operator")


def member_of(role, at):
    """A member of a role; not police at the coordinator, whose own Attach call must stay the newest."""
    return ("police" if at == "tax" else "tax") if role == "node" else role


def test_every_procedure_says_in_its_proto_who_may_call_it_and_the_tables_agree():
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(PROTOS.glob("*.proto")))
    said = {}
    for service, body in re.findall(r"^service (\w+) \{(.*?)^\}", text, re.DOTALL | re.MULTILINE):
        for comment, name in re.findall(r"((?:^ *//[^\n]*\n)+) *rpc (\w+)\(", body, re.MULTILINE):
            [roles] = re.findall(r"May be called by: ([\w, ]+)\.$", comment.strip())
            said[f"/veilmatch_wire.v1.{service}/{name}"] = frozenset(roles.split(", "))
    assert said.keys() == METHODS.keys()
    tables = {method: roles for table in TABLES.values() for method, roles in table.items()}
    assert tables == said
    served = [name for table in TABLES.values() for name in table if name not in status.ROLES]
    assert len(served) == len(set(served))  # each but the status is served in one place
    assert set().union(*said.values()) == set(ROLES)


def call(channel, method, seconds):
    """Call a procedure with empty messages, of its own kind; the status that comes back."""
    request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    stub = getattr(channel, kind)(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    try:
        answers = stub(iter([request()]) if method.client_streaming else request(), timeout=seconds)
        if method.server_streaming:
            list(answers)
    except grpc.RpcError as failure:
        return failure
    return None


@pytest.mark.parametrize("at", TABLES)
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("role", ROLES)
def test_roles(federation, at, name, role):
    identity = federation.identity(member_of(role, at))
    with open_channel(federation.address(at), at, identity) as channel:
        began = time.monotonic()
        if role in TABLES[at].get(name, ()):
            failure = call(channel, METHODS[name], seconds=0.5)  # an Attach stays open
            assert failure is None or failure.code() is not grpc.StatusCode.PERMISSION_DENIED
            return
        failure = call(channel, METHODS[name], seconds=10.0)
        assert time.monotonic() - began < 3
        assert failure.code() is grpc.StatusCode.PERMISSION_DENIED
        line = str(peer_error(at, failure))
        assert line == f"{at}: not permitted; this certificate may not call this procedure here"


@pytest.fixture(scope="module")
def strangers(federation):
    """Callers that no member may serve: what is wrong with each, and its side of TLS."""

    class Unchecked(TlsIdentity):
        def __post_init__(self):
            """Take a certificate that a careful party would not start with."""

    def certified(root, name, validity=None):
        credential = issue(
            root, name, hosts=[*LOOPBACK, server_name(name)], validity=validity or Validity.for_days(1)
        )
        return Unchecked(federation.root.certificate, *credential)

    past = datetime.now(UTC) - timedelta(hours=1)
    return {
        "foreign root": certified(make_root("local", Validity.for_days(2)), COORDINATOR),
        "expired": certified(federation.root, COORDINATOR, Validity(past - timedelta(days=1), past)),
        "not in the directory": certified(federation.root, "housing"),
        "another certificate of a member": certified(federation.root, COORDINATOR),
    }


@pytest.mark.parametrize("at", TABLES)
@pytest.mark.parametrize(
    "wrong", ["foreign root", "expired", "not in the directory", "another certificate of a member"]
)
def test_wrong_certificates(federation, strangers, at, wrong):
    with open_channel(federation.address(at), at, strangers[wrong]) as channel:
        for method in METHODS.values():
            began = time.monotonic()
            failure = call(channel, method, seconds=10.0)
            assert time.monotonic() - began < 3
            line = str(peer_error(at, failure))
            assert line.startswith(f"{at}: ")
            assert line.isprintable()
            if wrong in {"foreign root", "expired"}:
                assert failure.code() is grpc.StatusCode.UNAVAILABLE
                assert "check that our certificate is valid" in line
            else:
                assert failure.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("at", TABLES)
def test_another_members_certificate_at_the_address(federation, at):
    with open_channel(federation.address(at), "police", federation.identity("operator")) as channel:
        began = time.monotonic()
        with pytest.raises(PeerUntrustedError, match=r"^police: the certificate at its address is another"):
            wait_until_serving(channel, "police", NODE, 10.0)
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("at", TABLES)
@pytest.mark.parametrize("kind", ["no certificate", "no TLS"])
def test_a_caller_without_a_certificate(federation, at, kind):
    root = grpc.ssl_channel_credentials(federation.root.certificate)
    options = [("grpc.ssl_target_name_override", server_name(at))]
    address = federation.address(at)
    channel = (
        grpc.insecure_channel(address) if kind == "no TLS" else grpc.secure_channel(address, root, options)
    )
    with channel:
        for method in METHODS.values():
            assert call(channel, method, seconds=3.0).code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("at", TABLES)
@pytest.mark.parametrize("role", ROLES)
def test_every_member_may_ask_for_health_and_the_office_for_the_services(federation, at, role):
    services = {name.split("/")[1] for name in TABLES[at]}
    with open_channel(federation.address(at), at, federation.identity(member_of(role, at))) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in services:
            status = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=3).status
            assert status == health_pb2.HealthCheckResponse.SERVING
        reflection = ProtoReflectionDescriptorDatabase(channel)
        if role == "node":
            with pytest.raises(grpc.RpcError, match="PERMISSION_DENIED"):
                reflection.get_services()
            return
        assert set(reflection.get_services()) == services | {
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }


@pytest.mark.parametrize(
    ("at", "service", "wrong", "line"),
    [
        ("tax", NODE, "not in the directory", "not permitted"),
        (COORDINATOR, OFFICE, "expired", "check that our certificate"),
    ],
)
def test_health_is_for_members_only(federation, strangers, at, service, wrong, line):
    with (
        open_channel(federation.address(at), at, strangers[wrong]) as channel,
        pytest.raises(PeerError, match=line),
    ):
        wait_until_serving(channel, at, service, 1.0)
