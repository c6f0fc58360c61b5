"""Work streams end to end over mutual TLS: order, back-pressure, and that no end of a peer is a hang."""

import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes.relay import Relay
from structlog.testing import capture_logs
from transport_world import Wire, echo, message, work

from veilmatch.processes import reserved_ports
from veilmatch_transport import limits
from veilmatch_transport._mailbox import Mailbox
from veilmatch_transport.errors import (
    Code,
    MessageTooLargeError,
    PeerRefusedError,
    PeerTimeoutError,
    PeerUnavailableError,
    RefusalError,
    StreamEnded,
    TransportError,
)
from veilmatch_transport.streams import WorkStream, open_stream

SOON = 3.0  # seconds in which every end must be noticed
LARGE = 256 * 1024
# What may be under way when nobody reads: our queues, HTTP/2's window, the kernel's buffers.  Of 50 MiB.
HELD = 24 * 1024 * 1024


class Recorder:
    """A task whose end the test can wait for."""

    def __init__(self, task):
        self._task = task
        self._ends = SimpleQueue()

    def __call__(self, stream):
        try:
            self._task(stream)
        except Exception as error:
            self._ends.put(error)
            raise
        self._ends.put(None)

    def end(self):
        return self._ends.get(timeout=4 * SOON)  # also on a machine that runs other tests


@pytest.fixture(autouse=True)
def no_thread_stays():
    """Whatever way a stream ended, its threads end too."""
    yield
    until = time.monotonic() + SOON
    while left := [t.name for t in threading.enumerate() if t.name.startswith(("task for", "messages of"))]:
        assert time.monotonic() < until, left
        time.sleep(0.01)


@contextmanager
def stream_to(world, task, **options):
    with world.serving(task) as port, world.dialling(port) as channel:
        yield open_stream(work(channel), "tax", **options)


@contextmanager
def soon():
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SOON


def collect(stream):
    for _ in stream:
        pass


def listen(stream):
    stream.send(message(b"I am here"))
    collect(stream)


def push(stream, data=bytes(LARGE)):
    while True:
        stream.send(message(data))


def push_until_held(stream, sent):
    for i in range(200):
        stream.send(message(bytes(LARGE)), 0.3)
        sent.append(i)


def greet_and_use(stream, operation):
    stream.send(message(b"I am here"))
    use(stream, operation)


def use(stream, operation):
    if operation == "send":
        push(stream)
    stream.receive()


def test_messages_go_both_ways_in_order_and_are_counted(world):
    ends = []

    def task(stream):
        for item in stream:
            stream.send(item)
        ends.append((stream.peer, stream.bytes_received, stream.bytes_sent))

    with stream_to(world, task) as stream:
        for i in range(20):
            stream.send(message(b"%d" % i))
            assert stream.receive(SOON).value == b"%d" % i
        stream.close()
        assert list(stream) == []
    size = sum(message(b"%d" % i).ByteSize() for i in range(20))
    assert (stream.bytes_sent, stream.bytes_received) == (size, size)
    assert ends == [("office", size, size)]


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(sizes=st.lists(st.integers(0, LARGE), max_size=12))
def test_whatever_is_sent_arrives(world, sizes):
    items = [bytes([i]) * size for i, size in enumerate(sizes)]
    with stream_to(world, echo) as stream:

        def send():
            for item in items:
                stream.send(message(item))
            stream.close()

        sender = threading.Thread(target=send)
        sender.start()
        assert [item.value for item in stream] == items
        sender.join()


def test_the_server_side_may_speak_first_and_last(world):
    def task(stream):
        stream.send(message(b"first"))
        assert list(stream) == []
        stream.send(message(b"last"))

    with stream_to(world, task) as stream:
        assert stream.receive(SOON).value == b"first"
        stream.close()
        assert [item.value for item in stream] == [b"last"]


def test_leaving_a_stream_well_waits_for_the_peers_word(world):
    with stream_to(world, collect) as stream, stream:
        stream.send(message())

    def complain(stream):
        collect(stream)
        raise RefusalError(Code.CHECK_FAILED, "slot 61")

    with (
        stream_to(world, complain) as stream,
        pytest.raises(PeerRefusedError, match="check slot") as caught,
        stream,
    ):
        stream.send(message())
    assert caught.value.code is Code.CHECK_FAILED


def test_leaving_a_stream_whose_peer_never_ends_breaks_it_off(world):
    leave = threading.Event()
    with stream_to(world, lambda _stream: leave.wait(SOON)) as stream:
        with pytest.raises(PeerTimeoutError):
            stream.finish(0.2)
        with pytest.raises(TransportError, match="broken off on this side"):
            stream.receive(SOON)
        leave.set()


def test_leaving_a_stream_by_an_exception_stops_the_peer(world):
    task = Recorder(listen)
    with stream_to(world, task) as stream:
        stream.receive(SOON)
        with pytest.raises(KeyError), stream:
            raise KeyError
        assert isinstance(task.end(), PeerUnavailableError)


def test_the_peers_end_ends_sending_too(world):
    with stream_to(world, lambda stream: None) as stream, soon(), pytest.raises(StreamEnded):
        push(stream, b"")


def test_after_closing_nothing_can_be_sent(world):
    with stream_to(world, echo) as stream, stream:
        stream.close()
        with pytest.raises(TransportError, match="already closed"):
            stream.send(message())


@pytest.mark.parametrize("operation", ["send", "receive"])
def test_a_task_that_refuses(world, operation):
    def task(stream):
        stream.receive()
        raise RefusalError(Code.ALREADY_USED, "manifest 3f")

    with stream_to(world, task) as stream, capture_logs() as logs:
        stream.send(message())
        with (
            soon(),
            pytest.raises(PeerRefusedError, match="tax: this manifest was already started") as caught,
        ):
            use(stream, operation)
    assert caught.value.code is Code.ALREADY_USED
    assert [log["reason"] for log in logs] == ["manifest 3f"]


def test_what_was_sent_before_a_refusal_still_arrives(world):
    def task(stream):
        stream.send(message(b"1"))
        stream.send(message(b"2"))
        raise RefusalError(Code.DATA_REFUSED)

    with stream_to(world, task) as stream:
        assert [stream.receive(SOON).value, stream.receive(SOON).value] == [b"1", b"2"]
        with pytest.raises(PeerRefusedError):
            stream.receive(SOON)


def test_a_task_that_fails_unforeseen(world):
    def task(_stream):
        raise ValueError("11010519491231002X")

    with (
        stream_to(world, task) as stream,
        capture_logs() as logs,
        pytest.raises(PeerRefusedError, match=r"^tax: internal error, see the local log$"),
    ):
        stream.receive(SOON)
    assert "11010519491231002X" not in str(logs)


def test_a_peer_that_ends_before_its_task_is_done(world):
    with (
        stream_to(world, lambda stream: stream.receive()) as stream,
        capture_logs() as logs,
        pytest.raises(PeerRefusedError, match="does not belong at this step"),
    ):
        stream.finish(SOON)
    assert logs[0]["reason"] == "office has ended the stream before its task was done"


def test_silence_is_noticed_and_the_stream_goes_on(world):
    with stream_to(world, echo) as stream, stream:
        with pytest.raises(PeerTimeoutError, match=r"tax: said nothing for 0.1 seconds"):
            stream.receive(0.1)
        stream.send(message(b"x"))
        assert stream.receive(SOON).value == b"x"


def test_a_peer_that_does_not_read_holds_the_sender_and_loses_nothing(world):
    read_on = threading.Event()
    counts, sent = [], []

    def task(stream):
        read_on.wait(SOON)
        counts.append(sum(1 for _ in stream))

    with stream_to(world, task) as stream, stream:
        with pytest.raises(PeerTimeoutError, match=r"tax: took no message for 0.3 seconds"):
            push_until_held(stream, sent)
        assert len(sent) * LARGE < HELD
        read_on.set()
        stream.send(message(bytes(LARGE)), SOON)
    assert counts == [len(sent) + 1]


def test_a_caller_that_does_not_read_holds_the_server(world):
    sent = []

    def task(stream):
        with suppress(PeerTimeoutError):
            push_until_held(stream, sent)
        stream.receive()

    with stream_to(world, task) as stream, stream:
        time.sleep(1.0)
        assert len(sent) * LARGE < HELD
        stream.send(message())
        assert sum(1 for _ in stream) == len(sent)


def test_a_caller_that_stops_reading_does_not_hold_a_finished_task(world, monkeypatch):
    monkeypatch.setattr(limits, "STALL", 0.3)

    def task(stream):
        with suppress(PeerTimeoutError):
            while True:
                stream.send(message(bytes(LARGE)), 0.2)

    with stream_to(world, task) as stream:
        time.sleep(1.0)
        with soon(), pytest.raises(PeerUnavailableError):
            collect(stream)


def test_a_message_over_the_limit_is_ours_to_split(world):
    with (
        stream_to(world, echo) as stream,
        stream,
        pytest.raises(MessageTooLargeError, match=r"2097155 bytes .* over the limit of 2097152"),
    ):
        stream.send(message(bytes(limits.MESSAGE_BYTES - 1)))


def test_a_message_over_the_limit_is_not_accepted(world):
    task = Recorder(echo)
    with world.serving(task) as port:
        identity = world.identity("office")
        options = [("grpc.ssl_target_name_override", "localhost")]
        with grpc.secure_channel(
            f"127.0.0.1:{port}", identity.channel_credentials(), options=options
        ) as channel:
            stream = open_stream(work(channel), "tax")
            big = message(bytes(limits.MESSAGE_BYTES))
            stream._outbox.put(big, SOON)
            with soon(), pytest.raises(PeerRefusedError):
                stream.receive(SOON)


def test_cancelling_wakes_our_own_threads_and_the_peer(world):
    task = Recorder(listen)
    with stream_to(world, task) as stream:
        stream.receive(SOON)
        threading.Timer(0.1, stream.cancel).start()
        with soon(), pytest.raises(TransportError):
            stream.receive()
        assert isinstance(task.end(), PeerUnavailableError)


def test_breaking_off_does_not_first_say_that_all_went_well():
    outbox, inbox = Mailbox(1), Mailbox(1)
    # The outbox's end half-closes the call, which a peer takes for a clean end: the call must go first.
    stream = WorkStream("tax", outbox, inbox, break_off=lambda: outbox.put(message(), 0))
    stream.cancel()
    with pytest.raises(TransportError, match="broken off on this side"):
        stream.send(message())


def test_a_deadline_ends_both_sides(world):
    task = Recorder(listen)
    with stream_to(world, task, timeout=0.6) as stream:
        stream.receive(SOON)
        with soon(), pytest.raises(PeerUnavailableError, match="in the time allowed"):
            stream.receive()
        assert isinstance(task.end(), PeerUnavailableError)


def test_a_closed_channel_is_said_in_our_words(world):
    with world.serving() as port, world.dialling(port) as channel:
        stream = open_stream(work(channel), "tax")
        threading.Timer(0.1, channel.close).start()
        with soon(), pytest.raises(PeerUnavailableError):
            stream.receive()
        with pytest.raises(PeerUnavailableError, match="our channel to it is closed"):
            open_stream(work(channel), "tax")


def test_a_caller_that_goes_away_never_looks_done(world):
    task = Recorder(echo)
    with world.serving(task) as port:
        for _ in range(40):  # the two reports of a lost connection race in about one of ten
            with Wire(port) as wire, world.dialling(wire.port) as channel:
                stream = open_stream(work(channel), "tax")
                stream.send(message())
                stream.receive(SOON)
                wire.cut()
                assert isinstance(task.end(), PeerUnavailableError)


@pytest.mark.parametrize("operation", ["send", "receive"])
def test_a_connection_cut_is_noticed_by_both_sides(world, operation):
    task = Recorder(partial(greet_and_use, operation=operation))
    with world.serving(task) as port, Wire(port) as wire, world.dialling(wire.port) as channel:
        stream = open_stream(work(channel), "tax")
        stream.receive(SOON)
        threading.Timer(0.2, wire.cut).start()
        with soon(), pytest.raises(PeerUnavailableError):
            use(stream, operation)
        assert isinstance(task.end(), PeerUnavailableError)
        stream.cancel()


@pytest.mark.parametrize("operation", ["send", "receive"])
def test_a_peer_that_falls_silent_is_noticed_by_both_sides(world, operation, monkeypatch):
    monkeypatch.setattr(limits, "KEEPALIVE_TIME", 0.4)
    monkeypatch.setattr(limits, "PING_ANSWER", 0.4)
    # Who sends may have filled the sockets before its ping: then it is TCP that notices, by this time.
    monkeypatch.setattr(limits, "KEEPALIVE_TIMEOUT", 0.4)
    task = Recorder(partial(greet_and_use, operation=operation))
    with world.serving(task) as port, Wire(port) as wire, world.dialling(wire.port) as channel:
        stream = open_stream(work(channel), "tax")
        stream.receive(SOON)
        wire.freeze()
        with soon(), pytest.raises(PeerUnavailableError, match="the connection was lost"):
            use(stream, operation)
        assert isinstance(task.end(), PeerUnavailableError)
        stream.cancel()


def test_a_message_that_takes_longer_than_the_keepalive_arrives(world, monkeypatch):
    """The answer to a ping waits behind it: that must not look like a dead peer (as it did with one time for both)."""
    monkeypatch.setattr(limits, "KEEPALIVE_TIME", 0.3)
    monkeypatch.setattr(limits, "KEEPALIVE_TIMEOUT", 0.3)
    size = 512 * 1024
    with world.serving(echo) as port, reserved_ports(1) as [free]:
        relay = Relay(f"127.0.0.1:{free}", f"127.0.0.1:{port}")
        relay.slow(bytes_a_second=size / 1.5)
        with world.dialling(free) as channel, open_stream(work(channel), "tax") as stream:
            stream.send(message(bytes(size)))
            assert len(stream.receive(10 * SOON).value) == size
        relay.close()


def test_an_idle_stream_stays(world, monkeypatch):
    monkeypatch.setattr(limits, "KEEPALIVE_TIME", 0.2)
    with stream_to(world, echo) as stream, stream:
        with pytest.raises(PeerTimeoutError):
            stream.receive(4.8)  # gRPC by default takes the fourth ping for an attack
        stream.send(message(b"x"))
        assert stream.receive(SOON).value == b"x"


@pytest.fixture
def peer_process(world, tmp_path):
    processes = []

    def start(member, mode, *arguments):
        files = {"root": world.root.certificate, **world.credentials[member]._asdict()}
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        script = Path(__file__).with_name("transport_peer.py")
        process = subprocess.Popen(
            [sys.executable, script, mode, tmp_path, *map(str, arguments)], stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_a_server_that_is_killed_is_noticed(world, peer_process):
    process = peer_process("tax", "serve")
    with world.dialling(int(process.stdout.readline())) as channel:
        stream = open_stream(work(channel), "tax")
        stream.send(message(b"x"))
        assert stream.receive(SOON).value == b"x"
        process.kill()
        with soon(), pytest.raises(PeerUnavailableError):
            stream.receive()


def test_a_caller_that_is_killed_is_noticed(world, peer_process):
    started = threading.Event()

    def count(stream):
        for _ in stream:
            started.set()

    task = Recorder(count)
    with world.serving(task) as port:
        process = peer_process("office", "dial", port)
        assert started.wait(20)
        process.kill()
        assert isinstance(task.end(), PeerUnavailableError)


def test_a_stopped_server_lets_streams_finish_and_exits_well(world, peer_process):
    process = peer_process("tax", "serve")
    with world.dialling(int(process.stdout.readline())) as channel:
        stream = open_stream(work(channel), "tax")
        stream.send(message(b"x"))
        assert stream.receive(SOON).value == b"x"
        process.terminate()
        time.sleep(0.3)
        with stream:
            stream.send(message(b"y"))
            assert stream.receive(SOON).value == b"y"
    assert process.wait(SOON) == 0
    assert process.stdout.read().endswith("stopped\n")


def test_a_second_signal_cuts(world, peer_process):
    process = peer_process("tax", "serve")
    with world.dialling(int(process.stdout.readline())) as channel:
        stream = open_stream(work(channel), "tax")
        stream.send(message(b"x"))
        stream.receive(SOON)
        process.terminate()
        time.sleep(0.3)
        assert process.poll() is None
        process.terminate()
        with soon(), pytest.raises(PeerUnavailableError):
            stream.receive()
    assert process.wait(SOON) == 0
