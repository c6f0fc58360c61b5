"""The server's own life: its address, its health, its limits, its end."""

import socket
import threading
import time

import pytest
from transport_world import SERVICE, echo, message, procedure, work

from veilmatch_transport import limits
from veilmatch_transport.channel import call, wait_until_serving
from veilmatch_transport.errors import ListenError, PeerRefusedError, PeerUnavailableError
from veilmatch_transport.streams import open_stream


@pytest.mark.parametrize("address", ["taken", "192.0.2.1:0", "no-such-host.invalid:1", "junk"])
def test_an_address_that_cannot_be_had_is_one_line(world, address):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        if address == "taken":
            address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = world.server(world.identity("tax"), echo)
        with server, pytest.raises(ListenError, match=f"^{address}: cannot listen there; .*choose another$"):
            server.start(address)


def test_a_port_reserved_by_a_bound_socket_can_be_served(world):
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        with world.server(world.identity("tax"), echo) as server:
            assert server.start(f"127.0.0.1:{port}") == port
            with world.dialling(port) as channel:
                wait_until_serving(channel, "tax", SERVICE, 3)


def test_a_peer_that_starts_late_is_waited_for(world):
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        with world.server(world.identity("tax"), echo) as server, world.dialling(port) as channel:
            threading.Timer(0.5, server.start, [f"127.0.0.1:{port}"]).start()
            wait_until_serving(channel, "tax", SERVICE, 5)


def test_waiting_for_a_service_that_nobody_has_ends_at_once(world):
    with world.serving() as port, world.dialling(port) as channel:
        began = time.monotonic()
        with pytest.raises(PeerRefusedError):
            wait_until_serving(channel, "tax", "veilmatch.test.Other", 10)
        assert time.monotonic() - began < 3


def test_stopping(world):
    began, go_on = threading.Event(), threading.Event()

    def task(stream):
        began.set()
        go_on.wait(5)
        stream.send(message(b"done"))

    server = world.server(world.identity("tax"), task)
    port = server.start("127.0.0.1:0")
    with world.dialling(port) as channel, world.dialling(port) as later:
        stream = open_stream(work(channel), "tax")
        stream.send(message())
        assert began.wait(10)
        stopper = threading.Thread(target=server.stop)
        assert not server.stopping.is_set()
        stopper.start()
        assert server.stopping.wait(1)
        with pytest.raises(PeerUnavailableError):
            call(procedure(later, "Ask"), "tax", message(), timeout=1)
        go_on.set()
        with stream:
            assert stream.receive(3).value == b"done"
        stopper.join(3)
        assert not stopper.is_alive()


def test_what_runs_beyond_the_grace_period_is_cut(world):
    ended = threading.Event()

    def task(stream):
        try:
            stream.receive()
        finally:
            ended.set()

    server = world.server(world.identity("tax"), task)
    with world.dialling(server.start("127.0.0.1:0")) as channel:
        stream = open_stream(work(channel), "tax")
        stream.send(message())
        stream = open_stream(work(channel), "tax")
        with pytest.raises(PeerUnavailableError):
            stream.receive(0.2)
        began = time.monotonic()
        server.stop(0.3)
        assert time.monotonic() - began < 2
        with pytest.raises(PeerUnavailableError):
            stream.receive(3)
        assert ended.wait(3)


def test_calls_beyond_the_limit_are_refused_and_do_not_wait(world, monkeypatch):
    monkeypatch.setattr(limits, "WORKERS", 2)
    with world.serving() as port, world.dialling(port) as channel:
        streams = [open_stream(work(channel), "tax") for _ in range(2)]
        for stream in streams:
            stream.send(message())
            stream.receive(3)
        with pytest.raises(PeerRefusedError, match="tax: Concurrent RPC limit exceeded"):
            call(procedure(channel, "Ask"), "tax", message(), timeout=3)
        for stream in streams:
            stream.finish(3)
