"""Shows what a node asks for before it links: an agreed mode, its officer's quota, its own turn, one slot a person."""

import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
from fakes.federation import Federation, Given, csv_text, tap_on

from veilmatch_coordinator.errors import NodeFailedError
from veilmatch_crypto import Quota
from veilmatch_node import linkage as module
from veilmatch_node.people import SlotTable

CATALOG = """
department: {}
tables:
  people: {{source: p.csv, id: id, identifier: opaque, columns: {{}}}}
"""
NAMES = ("housing", "police", "tax")


@pytest.fixture
def federation(tmp_path):
    given = {
        name: Given(CATALOG.format(name), {"p.csv": csv_text(["id"], [[f"p{n}"] for n in range(20)])})
        for name in NAMES
    }
    with Federation(tmp_path, given) as federation:
        yield federation


@contextmanager
def keys_of(federation, name, **changed):
    node = federation.nodes[name]
    node.keys = node.linkage.keys = replace(node.keys, **changed)
    yield node


def officers_quota(federation, name, rows):
    return Quota.signed(federation.nodes[name].keys.officer, requester=name, rows=rows)


@pytest.mark.parametrize("mode", ["oprf", "shared-key"])
def test_a_mode_that_one_department_did_not_agree_to_links_nobody(federation, mode):
    other = {"oprf": "shared-key", "shared-key": "oprf"}[mode]
    federation.nodes["tax"].linkage._modes = (other,)
    with pytest.raises(NodeFailedError, match=f"tax does not take part in {mode} mode; link in {other} mode"):
        federation.link(mode)
    assert not federation.network.sent("pseudonyms")
    federation.link(other)


def test_without_a_quota_no_identity_is_blinded(federation):
    with (
        keys_of(federation, "tax", officer=None),
        pytest.raises(NodeFailedError, match=r"set keys\.quota in its configuration"),
    ):
        federation.link("oprf")
    assert not federation.network.sent("batch", node="tax")
    federation.link("shared-key")


def test_the_officers_quota_is_used_as_it_is(federation):
    quota = officers_quota(federation, "tax", 20)
    with keys_of(federation, "tax", officer=None, quota=quota):
        federation.link("oprf")
        sent = [each.content.quota for each in federation.network.sent("batch", node="tax") if each.from_node]
        assert {(each.rows, each.signature) for each in sent if each.requester == "tax"} == {
            (20, quota.signature)
        }
        federation.link("oprf")  # the same people: nothing is evaluated again


def test_past_the_officers_quota_nothing_is_blinded(federation):
    with (
        keys_of(federation, "tax", officer=None, quota=officers_quota(federation, "tax", 19)),
        pytest.raises(NodeFailedError, match="tax has more new identities than its officer signed"),
    ):
        federation.link("oprf")
    own = [each for each in federation.network.sent("batch", node="tax") if each.content.requester == "tax"]
    assert own == []


def test_two_linkages_at_once_are_one_after_the_other_or_refused(federation, monkeypatch):
    tax = federation.nodes["tax"].linkage
    with tax.turn():
        monkeypatch.setattr(module, "_TURN_SECONDS", 0.0)
        with pytest.raises(NodeFailedError, match="linkage: another one is under way at tax"):
            federation.link("oprf")
    monkeypatch.setattr(module, "_TURN_SECONDS", 10.0)
    waited = threading.Timer(0.2, tax._turn.release)
    tax._turn.acquire()
    waited.start()
    federation.link("oprf")  # waits until the one before has noticed that it is over


def test_a_trustees_scalar_is_one_also_when_two_linkages_ask_for_it_first(federation):
    epoch, _ = federation.statement("oprf")
    trustees = []
    threads = [
        threading.Thread(target=lambda: trustees.append(federation.nodes["housing"].linkage.trustee(epoch)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({trustee._key.to_bytes() for trustee in trustees}) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"slots": bytes(79)}, "not one slot came for each person"),
        ({"slots": b""}, "not one slot came for each person"),
        ({"slots": bytes(81)}, "more slots than there are people"),
        ({"padded": 2**31}, "is no number of slots"),
        ({"padded": 19}, "is no number of slots"),
        ({"slots": bytes(80)}, "slots came twice"),
    ],
)
def test_slots_that_are_not_one_a_person_are_refused_cleanly(federation, change, said):
    def forge(passing):
        for name, value in change.items():
            setattr(passing.content, name, value)

    with federation.tapped(tap_on("slots", forge, node="tax")), pytest.raises(NodeFailedError):
        federation.link()
    [refusal] = federation.network.sent("refused", node="tax")
    assert refusal.content.code in {"malformed", "out-of-order"}
    if refusal.content.code == "out-of-order":
        assert said in refusal.content.text


def test_slots_without_an_end_are_refused_at_the_first_that_is_too_many(federation):
    def endless(passing):
        passing.content.last = False
        return [passing.message] * 3

    with federation.tapped(tap_on("slots", endless, node="tax")), pytest.raises(NodeFailedError):
        federation.link()
    [refusal] = federation.network.sent("refused", node="tax")
    assert refusal.content.code == "malformed"


def test_a_new_epoch_erases_who_had_which_slot(federation):
    federation.link()
    store = federation.nodes["tax"].store
    with store._engine.connect() as connection:
        [(first,)] = connection.exec_driver_sql("SELECT context FROM epochs").all()
    assert len(SlotTable.decode(store.epoch(first).people).slots) == 20
    federation.link()
    assert store.epoch(first) is None
