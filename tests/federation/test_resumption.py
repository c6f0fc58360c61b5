"""A party whose line is lost is asked again, and everything that comes again is the same; each step is done once."""

from collections import Counter
from types import SimpleNamespace

import pytest
from fakes.federation import COORDINATOR, Federation, Given, csv_text, tap_on

from veilmatch_coordinator import drafting
from veilmatch_coordinator import slots as slots_module
from veilmatch_coordinator.errors import CoordinatorError, NodeFailedError
from veilmatch_evidence.actions import Contributed, Delivered, Opened, Presented, Received
from veilmatch_evidence.replay import replay
from veilmatch_node.states import State
from veilmatch_transport import limits

CATALOG = """
department: {name}
tables:
  people:
    source: people.csv
    id: number
    identifier: opaque
    columns:
      v_{name}: {{type: integer, range: [0, 100], release: open, missing: 0}}
"""
LINEAR = """
policy: aid
recipient: tax
conditions:
  rent: {department: housing, where: "v_housing < 8"}
  here: {department: police, where: "v_police < 8"}
"""
CIRCUIT = """
policy: sums
recipient: tax
conditions:
  little: {total: {housing: v_housing, police: v_police}, below: 16}
"""
ROWS = [(f"p{number}", str(number)) for number in range(20)]
ELIGIBLE = sorted(f"p{number}" for number in range(8))
CHUNKS = 12


@pytest.fixture
def federation(tmp_path, monkeypatch):
    """Chunks of one ciphertext of 40 people, so that there are several; whoever is lost has a minute to come back."""
    dummies = SimpleNamespace(randbelow=lambda _bound: 40 * CHUNKS - len(ROWS))
    monkeypatch.setattr(slots_module, "secrets", dummies)
    monkeypatch.setattr(drafting, "CHUNK_CIPHERTEXTS", 1)
    departments = {
        name: Given(CATALOG.format(name=name), {"people.csv": csv_text(("number", f"v_{name}"), ROWS)})
        for name in ("housing", "police", "tax")
    }
    with Federation(tmp_path, departments, dealer=True, reconnect_wait=60) as made:
        made.link()
        yield made


def once(action):
    """A tap's change that is made at the first message it is asked of."""
    done = []

    def change(passing):
        if done:
            return None
        answer = action(passing)
        if answer is not None:
            done.append(True)
        return answer

    return change


def cut_at(federation, body, node, wanted=lambda _content: True, *, crash=False, deliver=False):
    """The line of a node is lost, once, at a message; with ``crash`` its process too."""

    def cut(passing):
        if not wanted(passing.content):
            return None
        if crash:
            federation.network.away.add(node)
        federation.network.cut(node)
        if crash:
            federation.nodes[node].crash()
            federation.network.away.clear()
        return [passing.message] if deliver else []

    return tap_on(body, once(cut), node=node)


def said(federation, name, kind):
    """What a party recorded of one kind."""
    log = federation.log if name == COORDINATOR else federation.nodes[name].log
    records = (record.read() for record in log.records())
    return [read[1] for read in records if read is not None and isinstance(read[1], kind)]


def finished(federation, policy="aid"):
    """The right answer, everything recorded once, and evidence that holds."""
    assert federation.eligible(policy) == ELIGIBLE
    places = [(0, chunk) for chunk in range(CHUNKS)]
    for name in ("housing", "police"):
        assert sorted((each.outcome, each.chunk) for each in said(federation, name, Contributed)) == places
    assert Counter(each.department for each in said(federation, COORDINATOR, Received)) == {
        "housing": CHUNKS,
        "police": CHUNKS,
    }
    assert [(each.outcome, each.chunk) for each in said(federation, "tax", Opened)] == places
    assert len(said(federation, "tax", Presented)) == len(said(federation, "tax", Delivered)) == 1
    [job] = replay(federation.evidence)
    assert job.status == "complete"


@pytest.mark.parametrize("crash", [False, True], ids=["line lost", "killed"])
@pytest.mark.parametrize("chunk", [0, 5, CHUNKS - 1])
def test_a_contributor_goes_on_where_its_line_was_lost(federation, chunk, crash):
    tap = cut_at(federation, "contribution", "police", lambda part: part.chunk == chunk, crash=crash)
    with federation.tapped(tap):
        federation.run(LINEAR)
    finished(federation)
    first, again = (task.content.have for task in federation.network.sent("contribute", node="police"))
    assert first == 0
    assert max(0, chunk - limits.QUEUED_MESSAGES) <= again <= chunk  # what was under way is lost
    sent = {}
    for passing in federation.network.sent("contribution", node="police"):
        part = passing.content
        assert sent.setdefault(part.chunk, part.ciphertexts) == part.ciphertexts


@pytest.mark.parametrize("crash", [False, True], ids=["line lost", "killed"])
@pytest.mark.parametrize("chunk", [0, 6, CHUNKS - 1])
def test_a_recipient_opens_the_same_products_again(federation, chunk, crash):
    tap = cut_at(federation, "opened", "tax", lambda part: part.chunk == chunk, crash=crash)
    with federation.tapped(tap):
        federation.run(LINEAR)
    finished(federation)
    sent = {}
    for passing in federation.network.sent("combined"):
        part = passing.content
        assert sent.setdefault(part.chunk, part.ciphertexts) == part.ciphertexts


def test_a_recipient_that_delivered_is_not_asked_for_anything_again(federation):
    with federation.tapped(
        cut_at(federation, "done", "tax", lambda _: bool(said(federation, "tax", Delivered)))
    ):
        federation.run(LINEAR)
    finished(federation)
    assert len(federation.network.sent("open")) == 2
    assert len(federation.network.sent("combined")) == CHUNKS


def test_another_product_at_an_opened_place_is_refused(federation):
    honest = []

    def swap(passing):
        honest.append(passing.content.ciphertexts)
        if len(honest) <= CHUNKS:
            return
        passing.content.ciphertexts = honest[1]
        return

    cut = cut_at(federation, "opened", "tax", lambda part: part.chunk == CHUNKS - 1)
    swapped = tap_on("combined", swap)
    with (
        federation.tapped(
            lambda passing: [
                each for kept in cut(passing) for each in swapped(passing._replace(message=kept))
            ]
        ),
        pytest.raises(CoordinatorError, match="a product came that is not the one of before"),
    ):
        federation.run(LINEAR)
    assert not (federation.out / "aid").exists()


def test_a_wrong_check_slot_ends_the_opening_for_good(federation):
    states = []
    first = []

    def replace(passing):
        first.append(passing.content.ciphertexts)
        if passing.content.chunk == 1:
            # What the coordinator made of another chunk: its check slot is another one.
            passing.content.ciphertexts = first[0][:-1] + bytes([first[0][-1] ^ 1])

    def look(passing):
        states.append(federation.nodes["tax"].store.state(passing.content.manifest_sha256))

    changed, closing = tap_on("combined", replace), tap_on("close", look, node="tax")
    with (
        federation.tapped(lambda passing: (changed if passing.body == "combined" else closing)(passing)),
        pytest.raises(CoordinatorError, match=r"^tax: "),
    ):
        federation.run(LINEAR)
    assert states == [State.FAILED]
    assert not (federation.out / "aid").exists()


def test_circuits_that_break_off_end_the_job_and_deliver_nothing(federation):
    tap = cut_at(federation, "round", "tax")
    with federation.tapped(tap), pytest.raises(NodeFailedError, match=r"^tax: the connection was lost"):
        federation.run(CIRCUIT)
    assert not (federation.out / "sums").exists()
    federation.run(CIRCUIT)
    assert federation.eligible("sums") == ELIGIBLE


def test_circuits_are_not_taken_up_again(federation):
    tap = cut_at(federation, "conclude", "tax")
    with federation.tapped(tap), pytest.raises(NodeFailedError, match="is deciding here"):
        federation.run(CIRCUIT)
    assert not (federation.out / "sums").exists()


def test_a_party_that_cannot_be_told_of_the_end_is_told_later(federation):
    with federation.tapped(tap_on("conclude", lambda _passing: federation.network.away.add("police"))):
        federation.run(LINEAR)
    assert federation.eligible("aid") == ELIGIBLE
    assert not federation.evidence.exists()  # what is not whole is not where auditors look
    digest = federation.network.sent("open")[-1].content.manifest_sha256
    assert federation.nodes["police"].store.state(digest) is State.STARTED
    federation.jobs.closing.close_others()
    assert not federation.evidence.exists()
    federation.network.away.clear()
    federation.jobs.closing.close_others()
    assert federation.nodes["police"].store.state(digest) is State.CLOSED
    finished(federation)
    federation.jobs.closing.close_others()  # nothing is left to do
