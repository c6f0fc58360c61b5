"""One message of a running linkage or job is another than was sent: it ends in a public line, or with the right result.

A wrong node and an active coordinator alike: the tap changes what either side sends, while the other is honest.
"""

import threading
from contextlib import contextmanager
from random import Random

import pytest
from federation.attacked_world import NAMES, POLICY, make
from fuzz.fuzzed_node import CIRCUIT
from fuzz.hostile_messages import Hostile
from fuzz.oracles import check_text, watched

from veilmatch_coordinator.errors import CoordinatorError
from veilmatch_evidence.errors import EvidenceError
from veilmatch_policy.errors import PolicyError

SEED = 20_260_728
SILENCE = 4.0  # seconds without a message after which a connection of the real network would be given up
# What no party can check (docs/security.md, "Not defended against"): bits of circuits, what a department says it has.
UNCHECKED = {"round", "corrections", "household_labels", "pseudonyms"}
ELIGIBLE = {
    "aid": sorted(f"p{number}" for number in range(240) if number % 10 < 8),
    "either": sorted(f"p{number}" for number in range(240) if number % 10 < 3),
}


class OneChanged:
    """A tap that changes one message among all that pass, and keeps what it was."""

    def __init__(self, random, at, hostile):
        self._random, self._left, self._hostile = random, at, hostile
        self.what = self.body = "none was reached"

    def __call__(self, passing):
        self._left -= 1
        if self._left != 0:
            return [passing.message]
        kind = self._random.randrange(6)
        self.body = passing.body
        sender = passing.node if passing.from_node else "office"
        self.what = f"{passing.body} by {sender} (with {passing.node}), changed in way {kind}"
        match kind:
            case 0 | 1:
                return [self._hostile.swapped(passing.message)]
            case 2:
                changed = self._hostile.changed_message(passing.message)
                return [] if changed is None else [changed]
            case 3:
                return [self._hostile.of_body(passing.message.DESCRIPTOR, passing.body)]
            case 4:
                return [self._hostile.message(passing.message.DESCRIPTOR), passing.message]
            case _:
                return [passing.message, passing.message]


@contextmanager
def given_up(network, nodes):
    """Cut all lines once nobody says anything: a message that never came leaves both sides waiting for it."""
    over = threading.Event()

    def watch():
        said = -1
        while not over.wait(SILENCE):
            if len(network.passed) == said:
                for name in nodes:
                    network.cut(name)
            said = len(network.passed)

    thread = threading.Thread(target=watch, name="silence")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def link(federation, mode="shared-key"):
    """Link a new epoch, with register slots where there is a register."""
    federation.link(*(("oprf", "register") if federation.directory.register else (mode,)))


def converse(federation, number, seed=SEED):
    """Run one linkage or job with one message changed; whether it was a job, and ended well."""
    random = Random(f"{seed}/{number}")
    hostile = Hostile(random, words=(*federation.directory.members, "memory"), documents=(POLICY.encode(),))
    kind = random.choice(("link", "oprf", "aid", "aid", "either", "either"))
    tap = OneChanged(random, random.randrange(1, 60 if kind in {"link", "aid"} else 110), hostile)
    federation.network.passed.clear()
    ended = True
    try:
        with watched(), federation.tapped(tap), given_up(federation.network, federation.nodes):
            try:
                if kind in {"link", "oprf"}:
                    link(federation, "oprf" if kind == "oprf" else "shared-key")
                else:
                    federation.run(POLICY if kind == "aid" else CIRCUIT)
            except (CoordinatorError, EvidenceError, PolicyError) as error:
                check_text(str(error))
                ended = False
            federation.network.wait()
        for refused in federation.network.sent("refused"):
            assert refused.content.code != "internal", refused.content
            check_text(refused.content.text)
        if ended and kind in ELIGIBLE and tap.body not in UNCHECKED:
            assert sorted(federation.eligible(kind)) == ELIGIBLE[kind]
    except BaseException as error:
        error.add_note(f"conversation {seed}/{number}: {kind}, {tap.what}")
        raise
    return ended and kind in ELIGIBLE


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    made = make(tmp_path_factory.mktemp("talking"), (*NAMES, "zz"))
    with made:
        yield made


def talk(federation, conversations, seed=SEED):
    """Hold conversations; after a linkage, or one that ended badly, the nodes link again."""
    link(federation)
    for number in range(conversations):
        if not converse(federation, number, seed):
            link(federation)
    link(federation)
    federation.run(POLICY)
    assert sorted(federation.eligible("aid")) == ELIGIBLE["aid"]


@pytest.mark.campaign
@pytest.mark.timeout(36_000)
def test_six_hundred_conversations(federation):
    talk(federation, 600, SEED + 1)


@pytest.mark.campaign
@pytest.mark.timeout(36_000)
def test_two_hundred_conversations_of_a_federation_with_a_register(tmp_path_factory):
    with make(tmp_path_factory.mktemp("register"), (*NAMES, "zz"), register="police") as federation:
        talk(federation, 200, SEED + 2)
