"""Shows what a node asks for before it links: an agreed mode, its officer's quota, its own turn, one slot a person."""

import threading
from contextlib import contextmanager
from dataclasses import replace

import pyarrow as pa
import pytest
from fakes.federation import Federation, Given, csv_text, tap_on

from veilmatch_coordinator.errors import NodeFailedError
from veilmatch_crypto import Quota
from veilmatch_node import linkage as module
from veilmatch_node.linked import is_linked
from veilmatch_node.people import SlotTable, value_array, write_stream
from veilmatch_node.store import OUTPUTS

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


# An epoch evaluates, keeps and sends what is new.


def now_has(federation, name, numbers):
    (federation.nodes[name].folder / "p.csv").write_text(csv_text(["id"], [[f"p{n}"] for n in numbers]))


def asked(federation, name):
    """How many elements a node has sent to be evaluated."""
    sent = [each.content for each in federation.network.sent("batch", node=name) if each.from_node]
    return sum(len(each.elements) // 32 for each in sent if each.requester == name and not each.replies)


def slots_of(federation, name):
    """A node's people of the newest epoch, and their slots."""
    store = federation.nodes[name].store
    table = SlotTable.decode(store.epoch(store.desk.newest_epoch()).people)
    people = [bytes(each).partition(b"\0")[2] for each in table.inputs.to_pylist()]
    return dict(zip(people, table.slots.tolist(), strict=True))


def test_an_epoch_evaluates_and_keeps_new_identities_alone(federation):
    federation.link("oprf")
    store = federation.nodes["tax"].store
    [first] = store.outputs()
    for name in NAMES:
        now_has(federation, name, range(5, 23))  # five are gone, three are new
    federation.network.passed.clear()
    federation.link("oprf")
    assert [asked(federation, name) for name in NAMES] == [3, 3, 3]
    kept, added = store.outputs()
    assert kept == first
    assert len(added) < len(first)
    assert slots_of(federation, "tax") == slots_of(federation, "police")
    assert set(slots_of(federation, "tax")) == {b"p%d" % n for n in range(5, 23)}
    # Who was gone is known when she comes back, and nothing is written for nobody.
    now_has(federation, "tax", range(23))
    federation.network.passed.clear()
    federation.link("oprf")
    assert not federation.network.sent("batch")
    assert list(store.outputs()) == [kept, added]
    tags, key = store.linked(store.desk.newest_epoch()), store.setting(module.TAG_KEY)
    assert [is_linked(tags, key, [b"opaque\0p%d" % n]) for n in (0, 22, 23)] == [True, True, False]


def test_outputs_of_an_earlier_release_are_used_and_divided(federation):
    federation.link("oprf")
    store = federation.nodes["tax"].store
    outputs = federation.nodes["tax"].linkage.outputs()
    with store._engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM outputs")
    old = pa.table({"input": outputs.inputs, "output": value_array(outputs.values.tobytes())})
    store.set_setting(OUTPUTS, write_stream(old))
    federation.network.passed.clear()
    federation.link("oprf")
    assert not federation.network.sent("batch")
    assert store.setting(OUTPUTS) is None
    divided = federation.nodes["tax"].linkage.outputs()
    assert divided.inputs == outputs.inputs
    assert divided.tags.tolist() == outputs.tags.tolist()


def test_a_node_of_another_release_is_refused(federation, monkeypatch):
    """What the keys are for is in what is confirmed: pseudonyms by another function would match nobody's."""
    keys = module.epoch_keys
    opened = keys.open_secret

    def of_before(sealed, name, **options):
        found = opened(sealed, name, **options)
        return replace(found, digest=bytes(32)) if name == "tax" else found

    monkeypatch.setattr(keys, "open_secret", of_before)
    with pytest.raises(NodeFailedError, match="received other keys than this node"):
        federation.link("oprf")
    assert not federation.network.sent("pseudonyms")
