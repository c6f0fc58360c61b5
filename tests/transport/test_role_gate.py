"""Which member may call what; and that a caller learns nothing else from a refusal."""

import logging
from functools import partial

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs
from transport_world import SERVICE, World, each, message, procedure, work

from veilmatch_transport.channel import call, responses
from veilmatch_transport.errors import PUBLIC, Code, PeerRefusedError, PeerUnavailableError, RefusalError
from veilmatch_transport.roles import caller
from veilmatch_transport.streams import open_stream
from veilmatch_transport.tls import TlsIdentity

DENIED = f"tax: {PUBLIC[Code.NOT_PERMITTED][1]}"


def assert_denied(invoke):
    with capture_logs() as logs, pytest.raises(PeerRefusedError) as caught:
        invoke()
    assert str(caught.value) == DENIED
    assert caught.value.code is Code.NOT_PERMITTED
    return logs[0]["reason"]


def ask(channel, name="Ask", service=SERVICE):
    return call(procedure(channel, name, service=service), "tax", message(b"x"), timeout=3)


def listed(channel):
    return each(responses(procedure(channel, "List", "unary_stream"), "tax", message(b"y")))


def test_each_kind_of_call_passes_the_gate(world):
    with world.serving() as port, world.dialling(port) as channel:
        assert ask(channel).value == b"x"
        assert procedure(channel, "Tell", "stream_unary")(iter([message()] * 3), timeout=3).value == b"3"
        assert each(responses(procedure(channel, "List", "unary_stream"), "tax", message(b"y"))) == [
            b"y",
            b"y",
        ]
        with open_stream(work(channel), "tax") as stream:
            stream.send(message(b"z"))
            assert stream.receive(3).value == b"z"


def test_a_role_that_may_not_call_is_refused_each_kind(world):
    with world.serving() as port, world.dialling(port, identity=world.identity("housing")) as channel:
        assert assert_denied(lambda: ask(channel)) == "housing is node; this is for coordinator"
        assert_denied(lambda: listed(channel))
        assert_denied(lambda: open_stream(work(channel), "tax").receive(3))
        tell = procedure(channel, "Tell", "stream_unary")
        assert_denied(lambda: call(tell, "tax", iter([message()]), timeout=3))


@pytest.mark.parametrize("name", ["Hidden", "Absent", "NoSuch"])
def test_what_is_not_in_the_table_or_not_served_is_refused_for_everyone(world, name):
    with world.serving() as port, world.dialling(port) as channel:
        assert_denied(lambda: ask(channel, name))


def test_a_service_that_does_not_exist_is_refused(world):
    with world.serving() as port, world.dialling(port) as channel:
        assert_denied(lambda: ask(channel, service="veilmatch.test.Other"))


def test_a_certificate_from_the_root_that_the_directory_does_not_list(world):
    stranger = TlsIdentity(world.root.certificate, *world.issue("justice"))
    with world.serving() as port, world.dialling(port, identity=stranger) as channel:
        assert "lists no justice" in assert_denied(lambda: ask(channel))


def test_a_member_with_another_certificate_than_the_listed_one(world):
    renewed = TlsIdentity(world.root.certificate, *world.issue("office"))
    with world.serving() as port, world.dialling(port, identity=renewed) as channel:
        assert "lists no office" in assert_denied(lambda: ask(channel))


def test_a_certificate_of_another_federation(world):
    other = World("havel")
    other.listed = world.listed
    with other.serving(identity=other.identity("tax")) as port, other.dialling(port) as channel:
        assert "no member of the federation spree" in assert_denied(lambda: ask(channel))


def healthy(channel):
    health = health_pb2_grpc.HealthStub(channel)
    return call(health.Check, "tax", health_pb2.HealthCheckRequest(service=SERVICE))


def test_health_is_open_to_members_and_closed_to_strangers(world):
    with world.serving() as port:
        with world.dialling(port, identity=world.identity("housing")) as channel:
            assert healthy(channel).status == health_pb2.HealthCheckResponse.SERVING
        stranger = TlsIdentity(world.root.certificate, *world.issue("justice"))
        with world.dialling(port, identity=stranger) as channel:
            assert_denied(lambda: healthy(channel))


def test_nobody_can_hold_the_servers_threads_by_watching_its_health(world):
    with world.serving() as port, world.dialling(port) as channel:
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        for _ in range(3):
            assert_denied(lambda: each(responses(health_pb2_grpc.HealthStub(channel).Watch, "tax", request)))
        assert healthy(channel).status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_is_for_the_coordinator_and_not_for_nodes(world):
    def services(channel):
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        [answer] = responses(stream, "tax", iter([request]))
        return {service.name for service in answer.list_services_response.service}

    with world.serving() as port:
        with world.dialling(port) as channel:
            assert SERVICE in services(channel)
        with world.dialling(port, identity=world.identity("housing")) as channel:
            assert_denied(lambda: services(channel))


def test_a_servicer_knows_its_caller(world):
    with (
        world.serving(Ask=lambda _request, context: message(caller(context).encode())) as port,
        world.dialling(port) as channel,
    ):
        assert ask(channel).value == b"office"


def test_a_call_that_came_past_no_gate_has_no_caller():
    class Context:
        pass

    with pytest.raises(RefusalError):
        caller(Context())


SECRET = "11010519491231002X is 80 years old"


@pytest.mark.parametrize("kind", ["Ask", "List"])
def test_an_exception_nobody_foresaw_reaches_neither_the_caller_nor_the_log(world, kind, caplog, capfd):
    def fail(_request, _context):
        raise ValueError(SECRET)

    def fail_later(_request, _context):
        yield message()
        raise ValueError(SECRET)

    behaviours = {"Ask": fail, "List": fail_later}
    with caplog.at_level(logging.DEBUG), world.serving(**behaviours) as port, world.dialling(port) as channel:
        fetch = partial(ask, channel) if kind == "Ask" else partial(listed, channel)
        with capture_logs() as logs, pytest.raises(PeerRefusedError) as caught:
            fetch()
    assert str(caught.value) == "tax: internal error, see the local log"
    assert logs[0]["reason"].startswith("ValueError at ")
    assert "test_role_gate.py:" in logs[0]["reason"]
    everything = str(logs) + caplog.text + "".join(capfd.readouterr())
    assert SECRET not in everything
    assert "Traceback" not in everything


def test_a_refusal_reaches_the_caller_as_its_public_text(world):
    def refuse(_request, _context):
        raise RefusalError(Code.POLICY_REFUSED, "private", detail="column wage_year is never released")

    with (
        world.serving(Ask=refuse) as port,
        world.dialling(port) as channel,
        capture_logs() as logs,
        pytest.raises(PeerRefusedError) as caught,
    ):
        ask(channel)
    assert str(caught.value) == "tax: the policy is refused: column wage_year is never released"
    assert caught.value.code is Code.POLICY_REFUSED
    assert [log["reason"] for log in logs] == ["private"]


def test_a_third_partys_failure_is_passed_on(world):
    def fail(_request, _context):
        raise PeerUnavailableError("housing", "the connection was lost", "look at its log")

    with (
        world.serving(Ask=fail) as port,
        world.dialling(port) as channel,
        pytest.raises(PeerRefusedError, match="another party of the job failed: housing: the conn") as caught,
    ):
        ask(channel)
    assert caught.value.code is Code.PEER_FAILED


def test_a_servicers_own_abort_is_left_alone(world):
    def abort(_request, context):
        context.abort(grpc.StatusCode.OUT_OF_RANGE, "as I said")

    with (
        world.serving(Ask=abort) as port,
        world.dialling(port) as channel,
        pytest.raises(PeerRefusedError, match="tax: as I said") as caught,
    ):
        ask(channel)
    assert caught.value.code is None
