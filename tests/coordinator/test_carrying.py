"""Shows that batches of one node are under way at several trustees at once, and come back in order, or fail as one."""

import threading
from types import SimpleNamespace

import pytest

from veilmatch_coordinator.carrying import carry
from veilmatch_coordinator.client import LinkTask
from veilmatch_coordinator.client.line import Line as NodeLine
from veilmatch_coordinator.client.linkage import TrusteeTask
from veilmatch_coordinator.errors import NodeFailedError
from veilmatch_transport import PeerUnavailableError, WorkStream
from veilmatch_transport._mailbox import Mailbox
from veilmatch_wire.v1 import linkage_pb2, node_pb2

WAIT = 5.0  # seconds: what is not there by then never comes


def batch(index):
    return linkage_pb2.OprfBatch(index=index, elements=bytes(32 * (index + 1)))


class Node:
    """A node with so many batches; it ends when it has ``answers`` answers, and is woken when it is broken off."""

    def __init__(self, batches, *, failure=None):
        self.answered = []
        self._batches = batches
        self._failure = failure
        self._done = threading.Event()
        self.broken = False

    def batches(self, *, last):
        assert last == "pseudonyms"
        for index in range(self._batches):
            yield batch(index)
        if self._failure is not None:
            raise self._failure
        assert self._done.wait(WAIT)
        if self.broken:
            raise NodeFailedError("tax: the stream was broken off")

    def answer(self, evaluated):
        self.answered.append((evaluated.index, len(evaluated.replies)))
        if len(self.answered) == self._batches:
            self._done.set()

    def break_off(self):
        self.broken = True
        self._done.set()


class Line:
    """A trustee's line: answers wait for ``allowed``; ``sent`` is what it was given."""

    def __init__(self, fails_at=None):
        self.sent = []
        self.allowed = threading.Semaphore(0)
        self.came = threading.Semaphore(0)
        self._fails_at = fails_at
        self._answered = 0

    def send_unless_ended(self, message):
        self.sent.append(message.batch)
        self.came.release()

    def receive(self, expected):
        assert self.allowed.acquire(timeout=WAIT)
        found = self.sent[self._answered]
        if self._fails_at is not None and self._answered >= self._fails_at:
            raise NodeFailedError(f"housing: refused batch {self._answered}")
        self._answered += 1
        found.replies.add(trustee="housing")
        return node_pb2.NodeMessage(batch=found)


def begun(node, lines):
    found = SimpleNamespace(error=None, told=[])

    def run():
        try:
            carry(node, [TrusteeTask(line) for line in lines], last="pseudonyms", told=found.told.append)
        except NodeFailedError as error:
            found.error = error

    found.thread = threading.Thread(target=run)
    found.thread.start()
    return found


def test_both_trustees_have_batches_of_one_node_at_once():
    node, lines = Node(3), (Line(), Line())
    run = begun(node, lines)
    for _ in range(3):  # the first trustee has all three before it has answered one
        assert lines[0].came.acquire(timeout=WAIT)
    lines[0].allowed.release()
    assert lines[1].came.acquire(timeout=WAIT)
    assert not node.answered
    for line in lines:
        line.allowed.release(3)
    run.thread.join(WAIT)
    assert run.error is None
    assert node.answered == [(0, 2), (1, 2), (2, 2)]
    assert run.told == [1, 2, 3]


def test_no_more_batches_are_taken_than_are_in_memory():
    node, line = Node(9), Line()
    run = begun(node, [line])
    for _ in range(4):
        assert line.came.acquire(timeout=WAIT)
    assert not line.came.acquire(timeout=0.05)
    line.allowed.release(9)
    run.thread.join(WAIT)
    assert [index for index, _ in node.answered] == list(range(9))


def test_a_trustees_first_failure_is_what_everybody_gets():
    nodes, line = (Node(3), Node(3)), Line(fails_at=0)
    task = TrusteeTask(line)
    errors = []

    def run(node):
        with pytest.raises(NodeFailedError) as caught:
            carry(node, [task], last="pseudonyms", told=lambda _: None)
        errors.append(str(caught.value))

    threads = [threading.Thread(target=run, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for _ in range(6):
        assert line.came.acquire(timeout=WAIT)
    line.allowed.release(6)
    for thread in threads:
        thread.join(WAIT)
    assert errors == ["housing: refused batch 0"] * 2
    assert all(node.broken and not node.answered for node in nodes)


def test_a_node_that_fails_does_not_wait_for_the_trustees():
    node, line = Node(2, failure=NodeFailedError("tax: refused")), Line()
    run = begun(node, [line])
    run.thread.join(WAIT)
    assert str(run.error) == "tax: refused"
    line.allowed.release(2)  # its threads end with the conversation
    for thread in threading.enumerate():
        if thread.name.startswith("batches"):
            thread.join(WAIT)
    assert not run.told  # whoever asked has its failure already


def test_a_line_that_is_lost_does_not_hide_why():
    lost = PeerUnavailableError("tax", "broke the stream off")
    outbox, inbox = Mailbox(2), Mailbox(6)
    for index in range(5):  # one more than there is room for: the refusal behind it is not read yet
        inbox.put(node_pb2.NodeMessage(batch=batch(index)), None)
    inbox.put(node_pb2.NodeMessage(refused=node_pb2.Refused(text="no more identities are signed")), None)
    inbox.end(lost)
    outbox.end(lost, discard=True)
    line, released = Line(), SimpleNamespace(release=lambda _stream: None)
    run = begun(LinkTask(NodeLine(WorkStream("tax", outbox, inbox, lambda: None), released)), [line])
    line.allowed.release(5)
    run.thread.join(WAIT)
    assert str(run.error) == "tax: no more identities are signed"
