"""Shows that no node takes part in a job other than the one its own policy, directory and epoch give."""

import hashlib
import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from attacked_world import (
    CONTRIBUTORS,
    NAMES,
    POLICY,
    RECIPIENT,
    ActiveCoordinator,
    fails,
    later,
    led,
    make,
    refusal,
    refused,
    signed_again,
)
from fakes.federation import COORDINATOR, KEY_BITS

from veilmatch_crypto import AgreementKey, IdentityKey, generate
from veilmatch_policy import canonical
from veilmatch_policy.manifest import signed_keys


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """Linked once; nothing that is refused here changes it."""
    with make(tmp_path_factory.mktemp("manifests")) as federation:
        federation.link()
        yield federation


def without(*names):
    return [name for name in NAMES if name not in names]


def outcome(*contributors, index=0, opened="answer"):
    return {"index": index, "contributors": list(contributors), "opened": opened}


def amount(question):
    return {"question": question, "scale": 0, "largest": 9, "optional": False}


WEAKER = POLICY.replace("v_tax < 8", "v_tax < 800000")
FEWER = POLICY.replace('  wage: {department: tax, where: "v_tax < 8"}\n', "")
OTHER_RECIPIENT = POLICY.replace("policy: aid", "policy: more").replace("recipient: social", "recipient: tax")

FORGED = {
    "fewer contributors": {"outcomes": [outcome("housing", "police")]},
    "one contributor": {"outcomes": [outcome("tax")]},
    "the recipient contributes": {"outcomes": [outcome(*NAMES)]},
    "a contributor twice": {"outcomes": [outcome("housing", "police", "tax", "tax")]},
    "contributors in another order": {"outcomes": [outcome("tax", "police", "housing")]},
    "another outcome": {"outcomes": [outcome(*CONTRIBUTORS, index=1)]},
    "a second outcome": {"outcomes": [outcome(*CONTRIBUTORS), outcome(*CONTRIBUTORS, index=1)]},
    "another recipient": {"recipient": "tax"},
    "the coordinator as recipient": {"recipient": COORDINATOR},
    "fewer participants": {"participants": without("police")},
    "the coordinator takes part": {"participants": sorted([*NAMES, COORDINATOR])},
    "a policy with other contributors": {"policies": [FEWER]},
    "a policy that asks the coordinator": {
        "policies": [POLICY + f'  there: {{department: {COORDINATOR}, where: "v_tax < 8"}}\n'],
        "outcomes": [outcome("housing", COORDINATOR, "police", "tax")],
        "participants": sorted([*NAMES, COORDINATOR]),
    },
    "a policy that the coordinator receives": {
        "policies": [POLICY.replace("recipient: social", f"recipient: {COORDINATOR}")],
        "recipient": COORDINATOR,
        "outcomes": [outcome(*CONTRIBUTORS)],
        "participants": sorted([*CONTRIBUTORS, COORDINATOR]),
    },
    "no policy": {"policies": []},
    "something that is no policy": {"policies": ["policy: nothing"]},
    "the policy twice": {"policies": [POLICY, POLICY]},
    "a second policy": {"policies": [POLICY, WEAKER.replace("policy: aid", "policy: more")]},
    "a second policy of another recipient": {"policies": [POLICY, OTHER_RECIPIENT]},
    "more policies than a job has": {"policies": [POLICY] * 65},
    "the sum opened into shares": {"outcomes": [outcome(*CONTRIBUTORS, opened="shares")]},
    "a registrar that nobody needs": {"registrar": "police"},
    "a dealer that nobody needs": {"dealer": "police"},
    "a declaration of what nobody is asked": {
        "declarations": [{"department": "tax", "amounts": [amount(question=0)], "household_at_most": None}]
    },
    "expired": {"expires": later(-1).isoformat()},
    "never expires": {"expires": later(900).isoformat()},
    "expires without a time zone": {"expires": "2099-01-01T00:00:00"},
    "another epoch": {"epoch": "00" * 32},
    "another linkage mode": {"linkage": "oprf"},
    "another directory": {"directory": "00" * 32},
    "another federation": {"federation": "elsewhere"},
    "another reference date": {"reference_date": "2020-01-01"},
    "a short key": {"key_bits": 1024},
    "huge chunks": {"chunk_ciphertexts": 100000},
    "a field that nobody knows": {"mask": "none"},
}


def taken_by_each(office, forged, names=NAMES):
    for name in names:
        with refusal() as caught:
            office.ask(name, forged)
        # Refused on purpose, in words for the coordinator, and not by something that broke.
        assert "internal error" not in str(caught.value), (name, caught.value)


@pytest.mark.parametrize("case", FORGED)
def test_attack_a_draft_that_is_not_the_policys_plan(federation, case):
    with led(federation) as office:
        taken_by_each(office, canonical.encode(office.draft | FORGED[case]))
        assert not federation.network.sent("job_keys")


@pytest.mark.parametrize("slots", [-1, 1])
def test_attack_a_draft_with_fewer_or_more_slots(federation, slots):
    with led(federation) as office:
        taken_by_each(office, canonical.encode(office.draft | {"padded": office.draft["padded"] + slots}))


def test_attack_a_draft_with_another_number_of_the_recipients_rows(federation):
    with led(federation) as office:
        rows = office.draft["recipient_rows"] + 1
        taken_by_each(office, canonical.encode(office.draft | {"recipient_rows": rows}), [RECIPIENT])


def test_attack_a_draft_with_a_second_spelling(federation):
    with led(federation) as office:
        taken_by_each(office, json.dumps(office.draft, indent=1).encode())
        taken_by_each(office, office.drafted() + b"\n")


CHANGED_AFTER_SIGNING = {
    "another policy": {"policies": [WEAKER]},
    "a second policy": {"policies": [POLICY, WEAKER.replace("policy: aid", "policy: more")]},
    "a policy with other contributors": {"policies": [FEWER], "outcomes": [outcome("housing", "police")]},
    "other contributors": {"outcomes": [outcome("housing", "police")]},
    "another recipient": {"recipient": "tax"},
    "a later expiry": {"expires": later(900).isoformat()},
    "smaller chunks": {"chunk_ciphertexts": 1},
    "another job": {"job": "00" * 16},
}


@pytest.mark.parametrize("case", CHANGED_AFTER_SIGNING)
def test_attack_a_draft_changed_after_it_was_signed(federation, case):
    with led(federation) as office:
        office.ask_all()
        forged = office.manifest(draft=canonical.encode(office.draft | CHANGED_AFTER_SIGNING[case]))
        refused_by_all(
            office, forged, "not made from the draft that this node signed|not signed for this job"
        )


def refused_by_all(office, manifest, match, names=NAMES):
    """Every node refuses, and none has recorded the manifest as started."""
    for name in names:
        with refusal(match):
            office.tasks[name].accept(manifest)
        assert office.federation.nodes[name].store.job(hashlib.sha256(manifest).digest()) is None


# Keys (protocol.md, 7 steps 2 and 3).


def test_attack_keys_that_were_signed_for_another_job(federation):
    """A key of an older draft, with its good signature: whose secret the attacker has learned since."""
    with led(federation) as office:
        older = ActiveCoordinator(federation, office.conversation, POLICY)
        older.ask_all()
        for victim in NAMES:
            office.ask_all()
            forged = office.manifest({victim: older.keys[victim]})
            refused_by_all(office, forged, f"the keys of {victim} are not signed for this job")


def keys_of_the_coordinator(office, victim, signer):
    """Keys in a party's name whose secrets the coordinator has."""
    paillier = generate(KEY_BITS).public.to_bytes() if victim == RECIPIENT else b""
    agreement = AgreementKey.generate().public
    signature = signer.sign(signed_keys(office.drafted(), victim, agreement, paillier)) if signer else None
    return office.keys[victim].model_copy(
        update={
            "agreement": agreement.hex(),
            "paillier": paillier.hex(),
            "signature": signature.hex() if signature else office.keys[victim].signature,
        }
    )


@pytest.mark.parametrize("signed_by", ["nobody", "the coordinator", "a stranger"])
def test_attack_keys_of_one_party_replaced_by_the_coordinator(federation, signed_by):
    signer = {"nobody": None, "the coordinator": federation.identity, "a stranger": IdentityKey.generate()}
    with led(federation) as office:
        for victim in ("police", RECIPIENT):
            office.ask_all()
            forged = office.manifest({victim: keys_of_the_coordinator(office, victim, signer[signed_by])})
            refused_by_all(office, forged, f"the keys of {victim} are not signed for this job")


def test_attack_one_party_in_anothers_place(federation):
    with led(federation) as office:
        office.ask_all()
        forged = office.manifest({"police": office.keys["tax"].model_copy(update={"name": "police"})})
        refused_by_all(office, forged, "the keys of police are not signed for this job")


def test_attack_a_newer_key_of_the_same_node_and_draft(federation):
    """Signed for this very job, by the victim itself, on another stream: only the victim can tell."""
    with led(federation) as office:
        office.ask_all()
        newer = ActiveCoordinator(federation, office.conversation, POLICY)
        newer.draft = office.draft
        newer.ask("tax")
        refused_by_all(office, office.manifest({"tax": newer.keys["tax"]}), "own keys were changed", ["tax"])


def test_attack_a_manifest_without_a_party_or_with_one_more(federation):
    for change in ("missing", "more", "twice"):
        with led(federation) as office:
            office.ask_all()
            file = canonical.decode(office.manifest())
            if change == "missing":
                file["keys"] = [party for party in file["keys"] if party["name"] != "police"]
            elif change == "twice":
                file["keys"].insert(1, file["keys"][1])
            else:
                stranger = {**file["keys"][0], "name": "a-stranger"}
                file["keys"].insert(0, stranger)
            refused_by_all(office, canonical.encode(file), "the keys of exactly its parties")


def test_attack_a_contributor_that_brings_a_paillier_key(federation):
    with led(federation) as office:
        office.ask_all()
        recipients = office.keys[RECIPIENT]
        both = office.keys["tax"].model_copy(update={"paillier": recipients.paillier})
        signature = federation.nodes["tax"].keys.identity.sign(both.signed(office.drafted()))
        both = both.model_copy(update={"signature": signature.hex()})
        refused_by_all(office, office.manifest({"tax": both}), "exactly the recipient", ["police", RECIPIENT])


def test_attack_a_key_of_small_order(federation):
    """Agreement with it gives the same all-zero secret to everybody (protocol.md, 7)."""
    with led(federation) as office:
        office.ask_all()
        point = bytes(32)
        signature = federation.identity.sign(signed_keys(office.drafted(), COORDINATOR, point, b""))
        zero = office.own_keys().model_copy(update={"agreement": point.hex(), "signature": signature.hex()})
        data = office.manifest({COORDINATOR: zero})
        digest = office.tasks["tax"].accept(data)
        with refusal("small order"):
            office.contributed("tax", digest)


def test_attack_two_nodes_are_given_different_manifests(federation):
    """Both manifests are good; only their masks do not belong together, and the check says so."""
    other = {}

    def manifest_for_tax(passing):
        own = AgreementKey.generate()
        file = canonical.decode(passing.content.manifest)
        draft = canonical.encode(file["draft"])
        signature = federation.identity.sign(signed_keys(draft, COORDINATOR, own.public, b""))
        for party in file["keys"]:
            if party["name"] == COORDINATOR:
                party |= {"agreement": own.public.hex(), "signature": signature.hex()}
        other["manifest"] = canonical.encode(file)
        other["honest"] = hashlib.sha256(passing.content.manifest).digest()
        passing.content.manifest = other["manifest"]

    def tap(passing):
        """What goes to the tax bureau and comes from it is translated between the two manifests."""
        if passing.node == "tax":
            if passing.body == "manifest":
                manifest_for_tax(passing)
            elif passing.body == "accepted":
                assert passing.content.manifest_sha256 == hashlib.sha256(other["manifest"]).digest()
                passing.content.manifest_sha256 = other["honest"]
            elif passing.body in {"contribute", "close"}:
                passing.content.manifest_sha256 = hashlib.sha256(other["manifest"]).digest()
            elif passing.body == "contribution":
                signed_again(federation, passing, passing.content.ciphertexts)
        return [passing.message]

    error, _ = fails(federation, tap)
    assert [code for code, _ in refused(federation)] == ["check-failed"]
    assert error.exit_code == 5


def test_attack_a_contribution_asked_for_without_a_manifest(federation):
    with led(federation) as office:
        office.ask_all()
        digest = hashlib.sha256(office.manifest()).digest()
        for name in CONTRIBUTORS:
            with refusal("never started at this node"):
                office.contributed(name, digest)
        with refusal("is closed"):
            office.presented(digest)


def test_attack_an_epoch_that_is_not_the_nodes_newest(federation):
    with led(federation) as office:
        office.epoch = bytes(32)
        for name in NAMES:
            with refusal("names an epoch that is not the newest linked"):
                office.prepare(name).declaration()


def test_attack_a_manifest_that_expired_since_it_started(federation):
    with led(federation) as office:
        office.draft["expires"] = (
            (datetime.now(UTC) + timedelta(seconds=2)).isoformat().replace("+00:00", "Z")
        )
        office.ask_all()
        digest = office.accept_all()
        time.sleep(2)
        with refusal("its manifest has expired"):
            office.contributed("tax", digest)
        with refusal("its manifest has expired"):
            office.presented(digest)
