"""Conversations with nodes: they end on both sides, hold no more than was asked for, and blame whoever failed first."""

import threading
import time
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from veilmatch_coordinator import attachments as attachments_module
from veilmatch_coordinator.attachments import Attachments
from veilmatch_coordinator.client import Conversation, LinkTask, OpenTask, PrepareTask
from veilmatch_coordinator.client.line import Line
from veilmatch_coordinator.errors import NodeFailedError, NodeLostError
from veilmatch_coordinator.parallel import in_parallel
from veilmatch_policy.declarations import DepartmentEntry
from veilmatch_transport import PeerTimeoutError, limits
from veilmatch_wire.v1 import job_pb2, linkage_pb2, node_pb2


def test_the_first_failure_in_time_is_raised_and_ends_the_others():
    woken, seen = threading.Event(), []

    def waits(name):
        woken.wait(5)
        raise ValueError(f"{name} was broken off")

    def fails():
        time.sleep(0.05)
        raise KeyError("the cause")

    def on_failure(error):
        seen.append(error)
        woken.set()

    calls = {"a": lambda: waits("a"), "b": lambda: waits("b"), "c": fails, "d": lambda: waits("d")}
    for _ in range(5):
        woken.clear()
        seen.clear()
        with pytest.raises(KeyError, match="the cause") as caught:
            in_parallel(calls, on_failure=on_failure)
        assert seen == [caught.value]


def test_results_come_by_name():
    assert in_parallel({"a": lambda: 1, "b": lambda: 2}, on_failure=pytest.fail) == {"a": 1, "b": 2}
    assert in_parallel({}, on_failure=pytest.fail) == {}


class Stream:
    """Records how it is ended."""

    peer = "tax"

    def __init__(self, failure=None):
        self.ended = []
        self.failure = failure

    def send(self, _message):
        self.ended.clear()

    def close(self):
        self.ended.append("close")

    def cancel(self):
        self.ended.append("cancel")

    def finish(self, _timeout):
        self.ended.append("finish")
        if self.failure is not None:
            raise self.failure


def conversation_with(stream):
    nodes = SimpleNamespace(open=lambda _name, **_: stream, release=lambda _: stream.ended.append("release"))
    return Conversation(nodes)


@pytest.mark.parametrize("failure", [None, PeerTimeoutError("tax", "said nothing for 10 seconds")])
def test_streams_are_finished_and_a_node_that_does_not_end_is_only_logged(failure):
    stream = Stream(failure)
    with capture_logs() as logs, conversation_with(stream) as conversation:
        conversation.contribute("tax", b"digest", 0)
    assert stream.ended == ["close", "release", "finish"]
    assert [log["node"] for log in logs] == ["tax"] * (failure is not None)


def test_streams_of_a_failed_conversation_are_cancelled():
    stream = Stream()

    def failing():
        with conversation_with(stream) as conversation:
            conversation.contribute("tax", b"digest", 0)
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert stream.ended == ["cancel", "release"]


def test_a_stream_that_is_opened_once_all_are_broken_off_is_broken_off_too():
    class Recording(Stream):
        def send(self, _message):
            """Leave what is recorded."""

    stream = Recording()
    conversation = conversation_with(stream)
    conversation.abort()
    conversation.contribute("tax", b"digest", 0)
    assert stream.ended == ["cancel"]


class EndlessLine:
    """A node that sends one message again and again and is never done."""

    name = "tax"

    def __init__(self, message):
        self.message = message
        self.received = 0

    def receive(self, *_expected):
        self.received += 1
        assert self.received < 20, "the coordinator keeps what it did not ask for"
        return self.message


def households_of(line, size):
    """What the coordinator takes of a registrar's labels."""
    conversation = Conversation(None)
    conversation._begin = lambda *_: line
    line.send = lambda _message: None
    return conversation.households("tax", b"digest", size)


@pytest.mark.parametrize("size", [0, 32, 320])
def test_no_more_is_kept_than_was_asked_for(size):
    part = linkage_pb2.Pseudonyms(pseudonyms=b"p" * 32)
    with pytest.raises(NodeFailedError, match=r"^tax: sent more than was asked for"):
        LinkTask(EndlessLine(node_pb2.NodeMessage(pseudonyms=part))).pseudonyms(size)
    bitmap = job_pb2.PresentedSlots(bitmap=b"b" * 32)
    with pytest.raises(NodeFailedError, match=r"^tax: sent more than was asked for"):
        OpenTask(EndlessLine(node_pb2.NodeMessage(presented=bitmap))).presented(0, size, 0)
    claims = job_pb2.PresentedSlots(claims=b"c" * 32)
    with pytest.raises(NodeFailedError, match=r"^tax: sent more than was asked for"):
        OpenTask(EndlessLine(node_pb2.NodeMessage(presented=claims))).presented(0, 0, size)
    labels = job_pb2.HouseholdLabels(labels=b"l" * 32)
    with pytest.raises(NodeFailedError, match=r"^tax: sent more than was asked for"):
        households_of(EndlessLine(node_pb2.NodeMessage(household_labels=labels)), size)


def test_slots_presented_for_another_policy():
    other = node_pb2.NodeMessage(presented=job_pb2.PresentedSlots(bitmap=b"b", policy=1, last=True))
    with pytest.raises(NodeFailedError, match=r"^tax: presents another policy's slots"):
        OpenTask(EndlessLine(other)).presented(0, 32, 0)
    assert OpenTask(EndlessLine(other)).presented(1, 32, 0) == (b"b", b"")


def test_a_declaration_for_another_department():
    declared = DepartmentEntry(department="housing").encode()
    message = node_pb2.NodeMessage(declared=job_pb2.Declared(declaration=declared))
    with pytest.raises(NodeFailedError, match=r"^tax: declares for another department"):
        PrepareTask(EndlessLine(message)).declaration()


def test_more_people_than_an_epoch_has_slots():
    ready = node_pb2.NodeMessage(link_ready=linkage_pb2.LinkReady(people=2**31))
    with pytest.raises(NodeFailedError, match=r"^tax: says that it has 2147483648 people"):
        LinkTask(EndlessLine(ready)).ready()


# Nodes that dial in.


def test_a_newer_call_of_a_node_ends_the_older_one():
    attachments = Attachments()
    older = attachments.attach("tax", lambda: True)
    ended = threading.Event()

    def follow():
        assert list(older) == []
        ended.set()

    threading.Thread(target=follow, daemon=True).start()
    while "tax" not in attachments._offers:
        time.sleep(0.01)
    newer = attachments.attach("tax", lambda: not ended.is_set())
    assert list(newer) == []
    assert ended.wait(0.3)  # at once, not at the next look


def test_a_stream_that_comes_as_its_offer_expires_is_used_and_released(monkeypatch):
    class Late(attachments_module.Future):
        """Time is up at the moment in which the stream comes."""

        def result(self, timeout=None):
            value = super().result(5)
            if timeout is not None:
                raise TimeoutError
            return value

    monkeypatch.setattr(attachments_module, "Future", Late)
    attachments, stream = Attachments(), Stream()
    offers = attachments.attach("tax", lambda: True)
    released = threading.Event()

    def accept():
        attachments.accept(next(offers), stream)
        released.set()

    threading.Thread(target=accept, daemon=True).start()
    assert attachments.open("tax", 1.0) is stream
    assert not released.is_set()
    attachments.release(stream)
    assert released.wait(3)


def test_a_node_that_is_silent_for_too_long_is_lost():
    asked = []

    class Silent:
        peer = "tax"

        def receive(self, timeout):
            asked.append(timeout)
            raise PeerTimeoutError(self.peer, "said nothing for an hour", "look at its log")

    with pytest.raises(NodeLostError, match="tax: said nothing for an hour"):
        Line(Silent(), None).receive("done")
    assert asked == [limits.SILENCE]
