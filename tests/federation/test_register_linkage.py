"""Shows that in register mode departments agree on slots, and that the coordinator learns nobody's membership."""

import json
from collections import Counter
from functools import partial

import numpy as np
import pytest
from attacked_world import fails, refused
from fakes.federation import Federation, Given, csv_text, tap_on, untouched

from veilmatch_coordinator.errors import JobError, LinkageError, StoreError
from veilmatch_coordinator.linking import link
from veilmatch_coordinator.slots import check_claims
from veilmatch_node.errors import JobRefusedError
from veilmatch_node.people import UNKNOWN, SlotTable
from veilmatch_policy.errors import ManifestError

REGISTER = "police"
TRUSTEES = ("housing", "police")
PEOPLE = {  # numbers by department; the register has the first forty
    "housing": range(5, 35),
    "police": range(40),
    "social": range(20),
    "tax": range(30, 70),
}
OUTSIDE = {name: sum(number >= 40 for number in numbers) for name, numbers in PEOPLE.items()}
CATALOG = """
department: {}
tables:
  people: {{source: p.csv, id: id, identifier: opaque, columns: {{}}}}
"""
VALUE = 32  # bytes


def make(home, people=PEOPLE):
    given = {
        name: Given(CATALOG.format(name), {"p.csv": csv_text(["id"], [[f"p{n}"] for n in numbers])})
        for name, numbers in people.items()
    }
    return Federation(home, given, register=REGISTER)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with make(tmp_path_factory.mktemp("register")) as federation:
        yield federation


@pytest.fixture
def federation(running):
    """One federation for all tests, since its people are evaluated once; each test links epochs of its own."""
    running.network.passed.clear()
    return running


def linked(federation):
    """The slots of a new epoch, by department and person; and the tables that hold them."""
    federation.network.passed.clear()
    epoch, signature = federation.statement("oprf", "register")
    link(epoch, signature, federation.network, federation.store, lambda *_: None)
    federation.network.wait()
    stored = {name: node.store.epoch(epoch.context) for name, node in federation.nodes.items()}
    assert len({each.padded for each in stored.values()}) == 1
    tables = {name: SlotTable.decode(each.people) for name, each in stored.items()}
    slots = {
        name: dict(zip(table.inputs.to_pylist(), table.slots.tolist(), strict=True))
        for name, table in tables.items()
    }
    return slots, tables


def test_departments_agree_on_the_slots_of_registered_people_and_the_others_drop_out(federation):
    slots, tables = linked(federation)
    order = slots[REGISTER]
    assert sorted(order.values()) == list(range(40))  # every registered person, and no dummy
    assert federation.store.newest_epoch().padded == 40
    assert federation.store.newest_epoch().people == {name: len(p) for name, p in PEOPLE.items()}
    for name, own in slots.items():
        assert own == {person: order.get(person, int(UNKNOWN)) for person in own}
        assert tables[name].outside == OUTSIDE[name]
        report = json.loads((federation.out / "reports" / name / "linkage.json").read_text())
        assert (report["people"], report["outside_register"]) == (len(PEOPLE[name]), OUTSIDE[name])
        assert (tables[name].find(tables[name].inputs) == tables[name].slots).all()
    again, _ = linked(federation)
    assert again[REGISTER] != order  # a fresh order each epoch


def test_attack_a_union_where_the_directory_names_a_register(federation):
    """It would show the coordinator, which picks the mode, who is in which table."""
    with pytest.raises(ManifestError, match="asks for union slots where the directory names a register"):
        federation.link("oprf")


def test_who_is_registered_changes_nothing_that_the_coordinator_sees(tmp_path):
    """Two worlds of departments of the same sizes: everybody is registered, or nobody but the register's own people."""
    views = []
    for case, first in (("inside", 0), ("outside", 1000)):
        people = {name: range(first, first + 20) for name in PEOPLE} | {REGISTER: range(40)}
        with make(tmp_path / case, people) as federation:
            _, tables = linked(federation)
            assert tables["tax"].outside == (0 if case == "inside" else 20)
            passed = federation.network.passed
            said = {each.body for each in passed if each.from_node and each.node not in {REGISTER, *TRUSTEES}}
            assert said == {"link_ready", "confirmation", "batch", "people_evaluated", "done"}
            stored = federation.store.newest_epoch()
            assert stored.slots == {}
            assert len(stored.claims) == VALUE * 40
            views.append(
                Counter((each.node, each.from_node, each.body, each.message.ByteSize()) for each in passed)
            )
    assert views[0] == views[1]


def test_list_values_claims_and_epochs_have_no_value_in_common(federation):
    seen = []
    for _ in range(2):
        linked(federation)
        values = b"".join(
            each.content.values for each in federation.network.sent("register_list", node="tax")
        )
        claims = federation.store.newest_epoch().claims
        seen += [{data[at : at + VALUE] for at in range(0, len(data), VALUE)} for data in (values, claims)]
    assert [len(each) for each in seen] == [40] * 4
    assert len(set.union(*seen)) == 160


def test_a_register_of_nobody(tmp_path):
    with make(tmp_path, {name: range(0) for name in PEOPLE} | {"social": range(20)}) as federation:
        slots, tables = linked(federation)
        assert federation.store.newest_epoch().padded == 1
        assert set(slots["social"].values()) == {int(UNKNOWN)}
        assert [tables[name].outside for name in ("social", "tax")] == [20, 0]


# Claims: what the coordinator holds against the slots that a node presents in a job.


@pytest.fixture(scope="module")
def asking(running):
    """A department's table after a crash, its registered slots in an order of its own, and the coordinator's check."""
    linked(running)
    epoch = running.store.newest_epoch()
    running.nodes["tax"].crash()
    table = newest_table(running.nodes["tax"])
    slots = table.slots[table.slots != UNKNOWN].astype(np.intp)[::-1]
    return table, slots, partial(check_claims, "tax", epoch.claims, people=epoch.people["tax"])


def contexts(node):
    with node.store._engine.connect() as connection:
        return connection.exec_driver_sql("SELECT context FROM epochs ORDER BY rowid").scalars().all()


def newest_table(node):
    return SlotTable.decode(node.store.epoch(contexts(node)[-1]).people)


def test_a_nodes_claims_are_those_of_its_own_slots(asking):
    table, slots, check = asking
    assert (len(slots), table.outside) == (10, 30)
    check(slots, table.claims_of(slots))
    check(slots[:3], table.claims_of(slots[:3]))
    check(slots[:0], b"")
    strangers = np.setdiff1d(np.arange(40), slots)
    union = SlotTable(table.inputs, table.slots)
    for own, wrong in (
        (table, strangers[:1]),
        (table, np.array([UNKNOWN])),
        (table, np.append(slots, 40)),
        (union, slots),
    ):
        with pytest.raises(JobRefusedError, match="a slot that this node has no claim for"):
            own.claims_of(wrong)


@pytest.mark.parametrize("forged", ["changed", "another's slot", "swapped", "too few", "beyond", "negative"])
def test_attack_a_claim_that_is_not_the_slots(asking, forged):
    table, slots, check = asking
    claims = table.claims_of(slots)
    if forged == "changed":
        claims = bytes([claims[0] ^ 1]) + claims[1:]
    elif forged == "another's slot":  # the slot of somebody whom it does not know, with a claim of its own
        slots = np.append(slots[:-1], np.setdiff1d(np.arange(40), slots)[0])
    elif forged == "swapped":
        slots = slots[::-1]
    elif forged == "too few":
        claims = claims[:-VALUE]
    else:
        slots = np.append(slots[1:], 40 if forged == "beyond" else -1)
    with pytest.raises(JobError, match=r"job: tax (presents|does not present) ") as caught:
        check(slots, claims)
    assert not any(value.hex() in str(caught.value) for value in (claims[:VALUE], claims[-VALUE:]))


def test_attack_more_claims_than_people(asking):
    """Who had others evaluated in an earlier epoch can still compute their claims: their number is bounded."""
    table, slots, check = asking
    with pytest.raises(JobError, match="does not present one claim for each of its people"):
        check(slots, table.claims_of(slots), people=len(slots) - 1)


def test_in_register_mode_the_coordinator_cannot_say_whose_a_slot_is(federation):
    linked(federation)
    with pytest.raises(StoreError, match="epoch: whose slots are tax's is not known"):
        federation.store.newest_epoch().own_slots("tax")


# An active coordinator, which carries the list.


def refuses(federation, tap, said):
    """One node refuses what the tap gives it, with these words, and keeps nothing of the epoch."""
    epoch, signature = federation.statement("oprf", "register")
    run = partial(link, epoch, signature, federation.network, federation.store, lambda *_: None)
    fails(federation, tap, run)
    [(_, text)] = refused(federation, "tax")
    assert said in text
    assert federation.nodes["tax"].store.epoch(epoch.context) is None


def swap(values):
    return values[VALUE : 2 * VALUE] + values[:VALUE] + values[2 * VALUE :]


def test_attack_another_order_for_one_node(federation):
    def forge(passing):
        passing.content.values = swap(passing.content.values)

    refuses(federation, tap_on("register_list", forge, node="tax"), "is not the one that the register signed")


def test_attack_a_list_without_an_end(federation):
    def endless(passing):
        passing.content.last = False
        return [passing.message] * 3

    refuses(federation, tap_on("register_list", endless, node="tax"), "the message is malformed")


def test_attack_another_epochs_list(federation):
    linked(federation)
    old = {
        body: federation.network.sent(body, node="tax")[0].content
        for body in ("register_statement", "register_list")
    }

    def forge(passing):
        if passing.node == "tax" and passing.body in old:
            passing.content.CopyFrom(old[passing.body])
        return [passing.message]

    refuses(federation, forge, "the register's list is not police's own for this epoch")


def test_attack_a_second_list_for_one_epoch(federation):
    """The coordinator leads one epoch's linkage twice, to give two departments two orders."""
    epoch, signature = federation.statement("oprf", "register")
    run = partial(link, epoch, signature, federation.network, federation.store, lambda *_: None)

    def keep_from_all(passing):
        if not passing.from_node:
            passing.content.values = b""

    fails(federation, tap_on("register_list", keep_from_all), run)
    kept = federation.nodes[REGISTER].store.epoch(epoch.context)
    federation.nodes[REGISTER].crash()
    fails(federation, untouched, run)
    [(_, text)] = refused(federation, REGISTER)
    assert "epoch: is already linked at this node" in text
    assert not federation.network.sent("register_statement")
    assert federation.nodes[REGISTER].store.epoch(epoch.context) == kept


# A register whose release is wrong (more of them: coordinator/test_register_lists.py).


def test_claims_that_stand_in_the_list_are_refused(federation):
    values = []

    def keep(passing):
        if passing.from_node and passing.body == "register_list":
            values.append(passing.content.values)
        elif passing.from_node and passing.body == "register_claims":
            passing.content.claims = values[0]
        return [passing.message]

    before = federation.store.newest_epoch()
    error, _ = fails(federation, keep, partial(federation.link, "oprf", "register"))
    assert isinstance(error, LinkageError)
    assert "police gave one value to two people" in str(error)
    assert not federation.network.sent("register_list", node="tax")
    assert federation.store.newest_epoch() == before


def test_a_register_that_does_not_stop_is_cut_off(federation):
    def longer(passing):
        if passing.from_node:
            passing.content.values *= 2

    error, _ = fails(
        federation, tap_on("register_list", longer), partial(federation.link, "oprf", "register")
    )
    assert "police: sent more than was asked for" in str(error)
