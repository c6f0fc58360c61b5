"""No member can take a server from the others: calls at once, messages that inflate, and peers that do not read."""

import threading
import time
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from structlog.testing import capture_logs
from transport_world import SERVICE, TABLE, message, procedure, work

from veilmatch_transport import limits
from veilmatch_transport.channel import call
from veilmatch_transport.errors import Code, PeerRefusedError
from veilmatch_transport.streams import open_stream
from veilmatch_transport.tls import server_name

OPEN_TO_ALL = frozenset({"coordinator", "node"})


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@contextmanager
def holding(channel, count):
    """Hold so many work streams open."""
    streams = [open_stream(work(channel), "tax") for _ in range(count)]
    try:
        for stream in streams:
            stream.send(message())
            stream.receive(10)
        yield streams
    finally:
        for stream in streams:
            stream.cancel()


@pytest.fixture
def open_to_all(monkeypatch):
    monkeypatch.setitem(TABLE, f"/{SERVICE}/Work", OPEN_TO_ALL)
    monkeypatch.setitem(TABLE, f"/{SERVICE}/Ask", OPEN_TO_ALL)


def test_a_member_that_floods_is_refused_and_another_is_served(world, open_to_all, monkeypatch):
    monkeypatch.setattr(limits, "CALLS_A_MEMBER", 4)
    with (
        capture_logs() as logs,
        world.serving() as port,
        world.dialling(port, identity=world.identity("housing")) as flooding,
        world.dialling(port) as honest,
        holding(flooding, 4),
    ):
        for _ in range(50):
            with pytest.raises(
                PeerRefusedError, match=r"^tax: this member has too many calls open here;"
            ) as refused:
                call(procedure(flooding, "Ask"), "tax", message(), timeout=5)
            assert refused.value.code is Code.TOO_MANY
        for _ in range(5):
            assert call(procedure(honest, "Ask"), "tax", message(b"y"), timeout=5).value == b"y"
        with holding(honest, 2):
            pass
    assert {"housing has 4 calls open"} == {each["reason"] for each in logs if each.get("code") == "too-many"}


def test_calls_that_ended_are_not_counted(world, open_to_all, monkeypatch):
    monkeypatch.setattr(limits, "CALLS_A_MEMBER", 2)
    with world.serving() as port, world.dialling(port, identity=world.identity("housing")) as channel:
        for _ in range(3):
            with holding(channel, 2):
                pass
            deadline = time.monotonic() + 5
            while True:  # the server learns of a call that was broken off a moment later
                try:
                    call(procedure(channel, "Ask"), "tax", message(), timeout=5)
                    break
                except PeerRefusedError:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)


def test_one_member_cannot_take_all_the_threads():
    assert 2 * limits.CALLS_A_MEMBER <= limits.WORKERS


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_messages_are_refused(world, compression):
    """A message of some kilobytes that would inflate to 64 MiB is refused before anything inflates it."""
    options = [
        ("grpc.ssl_target_name_override", server_name("tax")),
        ("grpc.max_send_message_length", -1),
    ]
    credentials = world.identity("office").channel_credentials()
    with world.serving() as port, grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        ask = channel.unary_unary(f"/{SERVICE}/Ask")
        for size in (10, 64 << 20):
            before = resident()
            with pytest.raises(grpc.RpcError) as refused:
                ask(bytes(size), compression=compression, timeout=30)
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
            assert resident() - before < 256 << 20  # the sender's own message, and its compression
        assert ask(message(b"x").SerializeToString(), timeout=5)


def test_a_compressed_answer_is_refused_by_whoever_asked(world):
    def inflating(request, context):
        context.set_compression(grpc.Compression.Gzip)
        return request

    with world.serving(Ask=inflating) as port, world.dialling(port) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            procedure(channel, "Ask")(message(bytes(1 << 20)), timeout=10)
        assert refused.value.code() in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL}


def test_a_peer_that_does_not_read_costs_a_few_messages(world):
    """A task that sends without end to a caller that takes nothing: it waits, and memory stays where it is."""
    sent = []

    def endless(stream):
        while len(sent) < 2000:
            stream.send(message(bytes(1 << 20)), timeout=2.0)
            sent.append(1)

    with world.serving(endless) as port, world.dialling(port) as channel:
        before = resident()
        taking = threading.Event()

        def never_reads():
            got = work(channel)(iter(()), timeout=30)
            taking.wait(20)
            got.cancel()

        reader = threading.Thread(target=never_reads)
        reader.start()
        deadline = time.monotonic() + 3.0
        while time.monotonic() < deadline:
            assert resident() - before < 128 << 20
            time.sleep(0.05)
        assert len(sent) < 32  # messages of a MiB: two queued here, the rest in HTTP/2's window
        taking.set()
        reader.join()
