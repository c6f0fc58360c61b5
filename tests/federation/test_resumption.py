"""A party whose line is lost is asked again, and everything that comes again is the same; each step is done once."""

import time

import pytest
from fakes.federation import tap_on
from federation.resumed_world import (
    CHUNKS,
    CIRCUIT,
    ELIGIBLE,
    LINEAR,
    cut_at,
    finished,
    once,
    said,
    several_chunks,
)

from veilmatch_coordinator.errors import CoordinatorError, NodeFailedError
from veilmatch_evidence.actions import Closed, Delivered, Opened
from veilmatch_node.states import State
from veilmatch_transport import limits
from veilmatch_transport.errors import StoreFailedError

CAMPAIGN = pytest.mark.campaign  # what is like another case


@pytest.fixture
def federation(tmp_path, monkeypatch):
    with several_chunks(tmp_path, monkeypatch) as made:
        yield made


@pytest.mark.parametrize(
    ("chunk", "crash"),
    [
        pytest.param(0, False, marks=CAMPAIGN),
        (5, True),
        (CHUNKS - 1, False),
        pytest.param(CHUNKS - 1, True, marks=CAMPAIGN),
    ],
)
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


@pytest.mark.parametrize(
    ("chunk", "crash"), [pytest.param(0, True, marks=CAMPAIGN), (6, False), (CHUNKS - 1, True)]
)
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


def test_a_recipient_that_catches_up_is_waited_for_again(federation):
    federation.jobs._reconnect_wait = 0.6  # less than it takes to open again what was opened
    passes = []

    def cut_twice(passing):
        passes.extend([0] if passing.content.chunk == 0 else [])
        if len(passes) == 2:
            time.sleep(0.1)
        if (len(passes), passing.content.chunk) in {(1, 10), (2, 8)}:
            federation.network.cut("tax")
            return []
        return None

    with federation.tapped(tap_on("opened", cut_twice, node="tax")):
        federation.run(LINEAR)
    finished(federation)


@pytest.mark.parametrize("call", ["keep_chunk", "deliver"])
def test_a_store_that_fails_for_a_moment_is_waited_for(federation, call):
    store = federation.nodes["tax" if call == "deliver" else "police"].store
    real, calls = getattr(store, call), []

    def failing(*parts):
        calls.append(parts)
        if len(calls) == 1:
            raise StoreFailedError("store: its database does not answer; start it")
        return real(*parts)

    setattr(store, call, failing)
    federation.run(LINEAR)
    finished(federation)


def test_a_store_that_fails_at_the_end_of_circuits_delivers_nothing(federation):
    def failing(*_):
        raise StoreFailedError("store: its database does not answer; start it")

    federation.nodes["tax"].store.deliver = failing
    with pytest.raises(NodeFailedError, match="is deciding here"):
        federation.run(CIRCUIT)
    assert not (federation.out / "sums").exists()


def test_results_that_a_crash_left_out_of_their_files_are_written(federation, monkeypatch):
    node = federation.nodes["tax"]
    monkeypatch.setattr("veilmatch_node.opening.write_files", lambda *_: federation.network.cut("tax"))
    monkeypatch.setattr(node.store, "written", lambda _digest: None)
    federation.run(LINEAR)
    finished(federation)  # when it was asked again
    assert len(federation.network.sent("open")) == 2


@pytest.mark.parametrize("body", [pytest.param("head", marks=CAMPAIGN), "log"])
def test_a_closing_whose_answer_is_lost_is_asked_for_again(federation, body):
    with federation.tapped(cut_at(federation, body, "police")):
        federation.run(LINEAR)
    federation.jobs.closing.close_others()
    federation.network.wait()
    finished(federation)
    assert len(said(federation, "police", Closed)) == 1


# A coordinator that uses it.


def test_what_is_closed_is_not_delivered(federation):
    digests = []

    def close_first(passing):
        with federation.network.conversation() as conversation:
            conversation.close_job("tax", digests[0], [])
        return [passing.message]

    opening = tap_on("open", lambda passing: digests.append(passing.content.manifest_sha256))
    concluding = tap_on("conclude", once(close_first), node="tax")
    with (
        federation.tapped(lambda passing: (opening if passing.body == "open" else concluding)(passing)),
        pytest.raises(CoordinatorError),
    ):
        federation.run(LINEAR)
    assert not (federation.out / "aid").exists()
    assert not said(federation, "tax", Delivered)


def test_a_second_opening_does_not_end_circuits_that_run(federation):
    digests, refused = [], []

    def open_again(passing):
        with federation.network.conversation() as conversation, pytest.raises(NodeFailedError) as caught:
            conversation.open("tax", digests[0]).presented(0, 1 << 20, 0)
        refused.append(str(caught.value))
        return [passing.message]

    opening = tap_on("open", lambda passing: digests.append(passing.content.manifest_sha256))
    concluding = tap_on("conclude", once(open_again), node="tax")
    with federation.tapped(lambda passing: (opening if passing.body == "open" else concluding)(passing)):
        federation.run(CIRCUIT)
    assert federation.eligible("sums") == ELIGIBLE
    assert ["is deciding here" in text for text in refused] == [True]


def test_a_revocation_before_the_delivery_stops_it(federation):
    store = federation.nodes["tax"].store.desk

    def revoke(_passing):
        store.revoked = lambda _manifest: True

    with (
        federation.tapped(tap_on("conclude", revoke)),
        pytest.raises(CoordinatorError, match="revoked while the job ran"),
    ):
        federation.run(LINEAR)
    assert not (federation.out / "aid").exists()


def test_a_jobs_name_is_used_once(federation):
    name = "ab" * 16
    federation.run(LINEAR, job=name)
    federation.evidence.rename(federation.home / "earlier")
    with pytest.raises(CoordinatorError, match="another manifest of its name ran here"):
        federation.run(LINEAR, job=name)
    assert len(said(federation, "tax", Opened)) == CHUNKS
