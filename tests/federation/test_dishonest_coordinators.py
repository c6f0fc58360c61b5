"""Builds of the coordinator that cheat: caught by the check slots while the job runs, or by replay afterwards."""

import time
from dataclasses import replace

import gmpy2
import pytest
from fakes.federation import COORDINATOR, tap_on
from federation.attacked_world import POLICY, make

from veilmatch_coordinator import pipeline
from veilmatch_coordinator.errors import CoordinatorError
from veilmatch_crypto import AgreementKey
from veilmatch_evidence.errors import EvidenceRefusedError
from veilmatch_evidence.replay import replay
from veilmatch_evidence.verify import verify
from veilmatch_policy import canonical
from veilmatch_policy.manifest import PartyKeys, signed_keys


@pytest.fixture
def federation(tmp_path):
    with make(tmp_path) as made:
        made.link()
        yield made


def combining(monkeypatch, change):
    """A coordinator whose combination is another one."""
    honest = pipeline.combine
    monkeypatch.setattr(pipeline, "combine", lambda *parts: change(honest, *parts))


def test_one_added_to_an_answer_slot_shows_in_the_replay(federation, monkeypatch):
    def add(honest, key, contributions, words, ciphertexts):
        made = honest(key, contributions, words, ciphertexts)
        size = 2 * key.bits // 8
        square = gmpy2.mpz(key.n) ** 2
        first = gmpy2.mpz(int.from_bytes(made.product[:size], "big"))
        changed = (
            first * (1 + gmpy2.mpz(key.n)) % square
        )  # 1 more in the lowest slot, whose answer it turns round
        return replace(made, product=int(changed).to_bytes(size, "big") + made.product[size:])

    combining(monkeypatch, add)
    federation.run(POLICY)  # the check slot is untouched: nobody can know yet
    verify(federation.evidence)
    with pytest.raises(EvidenceRefusedError, match=r"product/0-0\.bin") as caught:
        replay(federation.evidence)
    assert caught.value.exit_code == 6


def test_a_contribution_left_out_meets_the_check_slots_and_the_replay(federation, monkeypatch):
    def leave_out(honest, key, contributions, words, ciphertexts):
        return honest(key, dict(list(contributions.items())[1:]), words, ciphertexts)

    combining(monkeypatch, leave_out)
    with pytest.raises(CoordinatorError, match="check slot is wrong"):
        federation.run(POLICY)
    with pytest.raises(EvidenceRefusedError, match=r"product/0-0\.bin"):
        replay(federation.evidence)


def test_two_nodes_shown_two_manifests_meet_the_check_slots_and_the_verification(federation, monkeypatch):
    digests = {}

    def another(passing):
        shown = canonical.decode(passing.content.manifest)
        key = AgreementKey.generate().public
        signature = federation.identity.sign(
            signed_keys(canonical.encode(shown["draft"]), COORDINATOR, key, b"")
        )
        own = PartyKeys(name=COORDINATOR, agreement=key.hex(), signature=signature.hex())
        shown["keys"] = [own.model_dump() if each["name"] == COORDINATOR else each for each in shown["keys"]]
        passing.content.manifest = canonical.encode(shown)

    def accepted(passing):
        digests["other"] = passing.content.manifest_sha256
        [first] = [
            each.content.manifest_sha256 for each in federation.network.sent("accepted", node="police")
        ]
        passing.content.manifest_sha256 = first

    def translated(passing):
        passing.content.manifest_sha256 = digests["other"]

    taps = {"manifest": another, "accepted": accepted, "contribute": translated, "close": translated}

    def tap(passing):
        if passing.body == "accepted" and passing.node == "tax":
            federation_waits(federation)
        for body, change in taps.items():
            if passing.body == body:
                return tap_on(body, change, node="tax")(passing)
        return [passing.message]

    monkeypatch.setattr(pipeline, "verify", lambda *_: None)  # tax signs for the manifest that it was shown
    with federation.tapped(tap), pytest.raises(CoordinatorError, match="check slot is wrong"):
        federation.run(POLICY)
    with pytest.raises(EvidenceRefusedError, match=r"contributions/tax/0-0\.bin|logs/tax\.jsonl"):
        verify(federation.evidence)


def federation_waits(federation):
    """Wait until police has accepted, whose digest tax's answer is to repeat."""
    while not federation.network.sent("accepted", node="police"):
        time.sleep(0.01)


def test_a_node_that_rewrites_its_log_shows_in_the_heads_that_others_wrote_down(federation):
    heads = federation.jobs.heads
    heads.exchange(federation.network)
    federation.network.wait()
    tax = federation.nodes["tax"]
    known = next(head for head in heads.known() if head.party == "tax")
    with pytest.raises(EvidenceRefusedError, match="its log was rewritten"):
        heads.take("tax", type(known).make("tax", known.sequence, bytes(32), tax.keys.identity))
    with pytest.raises(EvidenceRefusedError, match="not signed by tax"):
        heads.take("tax", replace(known, sequence=known.sequence + 1))
    heads.exchange(federation.network)  # now every node hears of the others
    federation.network.wait()
    seen = {record.body["party"] for record in tax.log.records() if record.body["action"] == "head-seen"}
    assert seen == {"housing", "police", "social", COORDINATOR}
