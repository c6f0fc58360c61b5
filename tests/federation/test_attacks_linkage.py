"""Shows that the coordinator can neither make nor split an epoch's keys, nor slip identities past the trustees."""

from functools import partial

import numpy as np
import pytest
from attacked_world import PEOPLE, POLICY, fails, make, refused
from fakes.federation import COORDINATOR, tap_on, untouched

from veilmatch_coordinator.errors import NodeFailedError
from veilmatch_coordinator.linking import link
from veilmatch_crypto import IdentityKey, Quota
from veilmatch_policy.epoch import signed_statement

THREE = ("housing", "police", "tax")
TRUSTEES = THREE[:2]  # the first two by name
ELEMENT = 32  # bytes


@pytest.fixture
def federation(tmp_path):
    with make(tmp_path) as federation:
        yield federation


# The epoch's keys (protocol.md, 3 steps 3 and 5).


def linked(federation, epoch, signature):
    return link(epoch, signature, federation.network, federation.store, lambda *_: None)


def test_attack_two_nodes_are_given_different_keys(federation):
    """The coordinator has the first trustee draw twice for one epoch: both are sealed and signed well."""
    epoch, signature = federation.statement()
    with federation.network.conversation() as conversation:
        other = conversation.draw_keys("housing", epoch.statement, signature)
    federation.network.wait()

    def split(passing):
        if passing.node == "tax":
            passing.content.sealed.sealed = other["tax"]

    def run():
        linked(federation, epoch, signature)

    fails(federation, tap_on("epoch_keys", split), run)
    said = [text for name in federation.nodes for _, text in refused(federation, name)]
    assert said
    assert all("received other keys than this node" in text for text in said)
    assert not federation.network.sent("pseudonyms")


@pytest.mark.parametrize("when", ["used", "withheld"])
def test_attack_an_old_epochs_sealed_keys(federation, when):
    """The coordinator learned an old epoch's secret and has a node work under it again.

    Used, the keys have an old number as well; withheld until now, nothing but their epoch is wrong.
    """
    if when == "used":
        federation.link()
        old = federation.network.sent("epoch_keys", node="tax")[0].content.sealed.sealed
    else:
        epoch, signature = federation.statement()
        with federation.network.conversation() as conversation:
            old = conversation.draw_keys("housing", epoch.statement, signature)["tax"]
        federation.network.wait()

    def replay(passing):
        passing.content.sealed.sealed = old

    fails(federation, tap_on("epoch_keys", replay, node="tax"), federation.link)
    [(_, text)] = refused(federation, "tax")
    assert "the epoch's keys do not come from housing" in text
    assert not federation.network.sent("pseudonyms")


def test_attack_the_same_epochs_sealed_keys_again(federation):
    """What was opened once is not opened again, also not after a crash."""
    epoch, signature = federation.statement()
    linked(federation, epoch, signature)
    federation.network.wait()
    kept = {each.node: each.content.sealed.sealed for each in federation.network.sent("epoch_keys")}
    federation.nodes["tax"].crash()

    def replay(passing):
        passing.content.sealed.sealed = kept[passing.node]

    fails(
        federation,
        tap_on("epoch_keys", replay, node="tax"),
        partial(linked, federation, epoch, signature),
    )
    [(_, text)] = refused(federation, "tax")
    assert "comes after" in text
    assert not federation.network.sent("pseudonyms")


def test_attack_anothers_sealed_keys(federation):
    sealed = {}

    def another(passing):
        sealed[passing.content.sealed[0].receiver] = passing.content.sealed[0].sealed
        for message in passing.content.sealed:
            if message.receiver == "tax":
                message.sealed = sealed["housing"]

    fails(federation, tap_on("epoch_keys_drawn", another), federation.link)
    [(_, text)] = refused(federation, "tax")
    assert "the epoch's keys do not come from housing" in text


@pytest.mark.parametrize("change", ["left out", "repeated", "of another digest", "of another node"])
def test_attack_the_confirmations(federation, change):
    """A node goes on only if every node of the directory signed the keys that it received itself."""

    def forge(passing):
        confirmations = passing.content.confirmations
        if change == "left out":
            del confirmations[1]
        elif change == "repeated":
            confirmations.append(confirmations[0])
        elif change == "of another digest":
            confirmations[1].digest = bytes(32)
        else:
            confirmations[1].signature = confirmations[0].signature

    fails(federation, tap_on("confirmations", forge, node="tax"), federation.link)
    [(_, text)] = refused(federation, "tax")
    assert "not every node confirmed" in text or "is not its own" in text
    assert not federation.network.sent("pseudonyms", node="tax")


def test_attack_an_epoch_that_the_coordinator_did_not_sign_or_of_other_members(federation):
    epoch, signature = federation.statement()
    stranger = IdentityKey.generate().sign(epoch.statement)
    with pytest.raises(Exception, match="not signed by the coordinator"):
        linked(federation, epoch, stranger)
    federation.network.wait()  # until every node has refused that one
    changed = epoch.statement.replace(b'"housing",', b"", 1)

    def fewer(passing):
        passing.content.statement = changed
        passing.content.signature = federation.identity.sign(signed_statement(changed))

    fails(federation, tap_on("link", fewer), partial(linked, federation, epoch, signature))
    said = [text for name in federation.nodes for _, text in refused(federation, name)]
    assert said
    assert all("states other members than this node's directory" in text for text in said)
    assert not federation.network.sent("link_ready")


@pytest.mark.parametrize("change", ["twice", "beyond", "fewer", "more"])
def test_attack_slots_that_are_not_one_a_person(federation, change):
    def forge(passing):
        slots = np.frombuffer(passing.content.slots, "<u4").copy()
        if change == "twice":
            slots[0] = slots[1]
        elif change == "beyond":
            slots[0] = passing.content.padded
        else:
            slots = slots[1:] if change == "fewer" else np.append(slots, slots[:1])
        passing.content.slots = slots.tobytes()

    epoch, signature = federation.statement()
    fails(federation, tap_on("slots", forge, node="tax"), partial(linked, federation, epoch, signature))
    assert len(refused(federation, "tax")) == 1
    assert federation.nodes["tax"].store.epoch(epoch.context) is None


# Batches between a node and the trustees (protocol.md, 3 step 2).


def inserted(elements):
    return elements + elements[:ELEMENT]


def removed(elements):
    return elements[ELEMENT:]


def swapped(elements):
    return elements[ELEMENT : 2 * ELEMENT] + elements[:ELEMENT] + elements[2 * ELEMENT :]


def another(elements):
    """An element of the attacker's choice: here one that another evaluation gave."""
    return elements[:ELEMENT] * 2 + elements[2 * ELEMENT :]


TAMPERS = (inserted, removed, swapped, another)


@pytest.mark.parametrize(
    ("hop", "refuser"),
    [(0, "housing"), (1, "police"), (2, "tax")],
    ids=["to the first trustee", "between the trustees", "back to the node"],
)
def test_attack_a_batch_element_inserted_removed_or_swapped(tmp_path, hop, refuser):
    with make(tmp_path, names=THREE) as federation:
        for tamper in TAMPERS:

            def change(passing, tamper=tamper):
                batch = passing.content
                if not passing.from_node and batch.requester == "tax" and len(batch.replies) == hop:
                    batch.elements = tamper(batch.elements)

            error, _ = fails(federation, tap_on("batch", change), partial(federation.link, "oprf"))
            assert [code for code, _ in refused(federation, refuser)] == ["malformed"], tamper.__name__
            assert error.exit_code == 5
            assert not federation.network.sent("slots")
        # The same batch goes through unchanged, and was counted once.
        federation.link("oprf")
        assert counted(federation, "tax") == dict.fromkeys(TRUSTEES, PEOPLE)


def counted(federation, requester):
    """How many evaluations each trustee has counted against a node."""
    found = {}
    for name in TRUSTEES:
        with federation.nodes[name].store._engine.connect() as connection:
            found[name] = connection.exec_driver_sql(
                "SELECT sum(count) FROM evaluations WHERE requester = ?", (requester,)
            ).scalar_one()
    return found


def with_quota(quota):
    def change(passing):
        if passing.from_node and not passing.content.replies:
            passing.content.quota.requester = quota.requester
            passing.content.quota.rows = quota.rows
            passing.content.quota.signature = quota.signature

    return tap_on("batch", change, node="tax")


def test_attack_a_trustees_quota(tmp_path):
    """An OPRF without a quota is a dictionary: nobody has more evaluated than its officer signed."""
    with make(tmp_path, names=THREE) as federation:
        keys = {name: node.keys for name, node in federation.nodes.items()}
        signed = partial(Quota.signed, requester="tax")
        oprf = partial(federation.link, "oprf")
        for quota, said in (
            (signed(keys["tax"].officer, rows=PEOPLE - 1), "asks for more evaluations than the 239"),
            (signed(keys["tax"].identity, rows=10**9), "the signature is not by the key"),
            (signed(keys["police"].officer, rows=10**9), "the signature is not by the key"),
            (
                Quota.signed(keys["police"].officer, requester="police", rows=10**9),
                "comes with another member's quota",
            ),
        ):
            fails(federation, with_quota(quota), oprf)
            [(_, text)] = refused(federation, "housing")
            assert said in text
            assert not federation.network.sent("pseudonyms", node="tax")
        federation.link("oprf")
        # An epoch later there is nothing to ask: outputs are kept, the quota is not touched.
        federation.network.passed.clear()
        federation.link("oprf")
        assert not federation.network.sent("batch")
        # A node that asks about all of its people again has used its quota up, in every epoch.
        with federation.nodes["tax"].store._engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM outputs")
        for _ in range(2):
            fails(federation, untouched, oprf)
            [(_, text)] = refused(federation, "housing")
            assert "asks for more evaluations than the 240" in text
        assert counted(federation, "tax") == dict.fromkeys(TRUSTEES, PEOPLE)


def test_attack_a_coordinator_asks_a_trustee_itself(tmp_path):
    """With a node's quota, under the node's name, but without its key."""
    with make(tmp_path, names=THREE) as federation:
        federation.link("oprf")
        made = next(each.content for each in federation.network.sent("batch", node="tax") if each.from_node)
        epoch, signature = federation.statement("oprf")
        for change in ("epoch", "signature", "name"):
            batch = type(made).FromString(made.SerializeToString())
            batch.epoch = epoch.context
            if change == "signature":
                batch.signature = federation.identity.sign(batch.digest)
            elif change == "name":
                batch.requester = COORDINATOR
            with federation.network.conversation() as conversation, pytest.raises(NodeFailedError):
                conversation.trustee("housing", epoch.statement, signature).evaluate(batch)
            federation.network.wait()
        assert counted(federation, "tax") == dict.fromkeys(TRUSTEES, PEOPLE)


def test_after_all_attacks_on_a_linkage_the_next_one_goes_through(federation):
    def nonsense(passing):
        passing.content.pseudonyms = passing.content.pseudonyms[::-1]

    error, _ = fails(federation, tap_on("pseudonyms", nonsense, node="tax"), federation.link)
    assert "tax sent pseudonyms that are not ascending" in str(error)
    federation.link()
    federation.run(POLICY)
    assert len(federation.eligible("aid")) == PEOPLE * 8 // 10
