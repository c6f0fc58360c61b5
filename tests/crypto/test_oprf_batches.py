"""Bound batches: the honest way through, and every way of slipping something in."""

import hashlib
from dataclasses import replace

import pytest

from veilmatch_crypto.batches import BoundBatch, Quota, Reply, Requester, Trustee
from veilmatch_crypto.errors import BatchError, ElementError, QuotaError, SignatureRefusedError
from veilmatch_crypto.identity import IdentityKey
from veilmatch_crypto.oprf import OprfKey, blind

EPOCH = hashlib.sha256(b"directory, 2026-01").digest()
NEXT_EPOCH = hashlib.sha256(b"directory, 2026-02").digest()
TRUSTEES = ("health", "police")
ROWS = 10


class MemoryLedger:
    """The ledger's contract, without the disk."""

    def __init__(self):
        self.indices = {}
        self.charged = {}

    def charge(self, *, requester, epoch, index, digest, count, limit):
        if self.indices.get((requester, epoch, index), digest) != digest:
            raise BatchError(f"batch {index} of {requester} was another one before")
        if (requester, digest) not in self.charged:
            if self.used(requester) + count > limit:
                raise QuotaError(f"{requester} has used {self.used(requester)} of {limit} rows")
            self.charged[requester, digest] = count
        self.indices[requester, epoch, index] = digest

    def used(self, requester):
        return sum(count for (name, _), count in self.charged.items() if name == requester)


class Federation:
    """Two requesters, two trustees, one coordinator that the tests play."""

    def __init__(self):
        members = ("tax", "housing", *TRUSTEES)
        self.keys = {name: IdentityKey.generate() for name in members}
        self.officer_keys = {name: IdentityKey.generate() for name in members}
        self.oprf_keys = {name: OprfKey.generate() for name in TRUSTEES}
        self.ledgers = {name: MemoryLedger() for name in TRUSTEES}
        self.identities = {name: key.public for name, key in self.keys.items()}
        self.officers = {name: key.public for name, key in self.officer_keys.items()}

    def quota(self, name, rows=ROWS):
        return Quota.signed(self.officer_keys[name], requester=name, rows=rows)

    def requester(self, name, *, epoch=EPOCH, rows=ROWS):
        return Requester(
            name,
            self.keys[name],
            self.quota(name, rows),
            epoch=epoch,
            trustees=TRUSTEES,
            identities=self.identities,
        )

    def trustee(self, name, *, epoch=EPOCH, key=None):
        return Trustee(
            name,
            self.keys[name],
            key or self.oprf_keys[name],
            epoch=epoch,
            trustees=TRUSTEES,
            identities=self.identities,
            officers=self.officers,
            ledger=self.ledgers[name],
        )

    def through(self, batch, names=TRUSTEES, *, epoch=EPOCH):
        for name in names:
            batch = self.trustee(name, epoch=epoch).evaluate(batch)
        return batch


@pytest.fixture
def federation():
    return Federation()


@pytest.fixture
def tax(federation):
    return federation.requester("tax")


def elements_for(*inputs):
    return blind(list(inputs))[1]


def inserted(elements):
    return elements + elements_for(b"a stranger")


def removed(elements):
    return elements[32:]


def swapped(elements):
    return elements[32:64] + elements[:32] + elements[64:]


def replaced(elements):
    return elements_for(b"a stranger") + elements[32:]


TAMPERINGS = [inserted, removed, swapped, replaced]


def test_a_batch_goes_through_and_comes_back(federation, tax):
    state, elements = blind([b"a", b"b", b"c"])
    request = tax.request(0, elements)
    answer = federation.through(request)
    expected = elements
    for name in TRUSTEES:
        expected = federation.oprf_keys[name].evaluate(expected)
    assert request.count == 3
    assert tax.accept(request, answer) == expected
    assert state.finalize(expected).shape == (3, 64)


@pytest.mark.parametrize("tamper", TAMPERINGS)
@pytest.mark.parametrize("hop", range(3), ids=["to the first", "to the second", "on the way back"])
def test_attack_an_element_is_inserted_removed_or_swapped_on_the_way(federation, tax, tamper, hop):
    request = tax.request(0, elements_for(b"a", b"b", b"c"))
    batch = federation.through(request, TRUSTEES[:hop])
    touched = replace(batch, elements=tamper(batch.elements))
    before = {name: dict(ledger.charged) for name, ledger in federation.ledgers.items()}
    with pytest.raises((BatchError, SignatureRefusedError)):
        tax.accept(request, touched) if hop == 2 else federation.trustee(TRUSTEES[hop]).evaluate(touched)
    assert before == {name: ledger.charged for name, ledger in federation.ledgers.items()}


@pytest.mark.parametrize("tamper", TAMPERINGS)
def test_attack_elements_and_digest_are_exchanged_together(federation, tax, tamper):
    request = tax.request(0, elements_for(b"a", b"b", b"c"))
    elements = tamper(request.elements)
    touched = replace(request, elements=elements, digest=hashlib.sha256(elements).digest())
    with pytest.raises(SignatureRefusedError):
        federation.trustee("health").evaluate(touched)


def test_attack_a_first_trustee_feeds_the_second_new_elements_under_an_answered_request(federation, tax):
    # In league with the requester it can sign whatever it likes; the second trustee still counts.
    request = tax.request(0, elements_for(b"a"))
    federation.through(request)
    other = federation.trustee("health", key=OprfKey.generate())
    other._ledger = MemoryLedger()
    with pytest.raises(BatchError, match="was another one before"):
        federation.trustee("police").evaluate(other.evaluate(request))
    assert federation.ledgers["police"].used("tax") == 1


def test_attack_a_batch_of_another_epoch(federation, tax):
    request = tax.request(0, elements_for(b"a"))
    with pytest.raises(BatchError, match="another epoch"):
        federation.through(request, epoch=NEXT_EPOCH)
    with pytest.raises(SignatureRefusedError):
        federation.through(replace(request, epoch=NEXT_EPOCH), epoch=NEXT_EPOCH)
    assert federation.ledgers["health"].used("tax") == 0


def test_attack_another_requesters_batch(federation, tax):
    request = tax.request(0, elements_for(b"a"))
    stolen = replace(request, requester="housing", quota=federation.quota("housing"))
    with pytest.raises(SignatureRefusedError):
        federation.through(stolen)
    with pytest.raises(BatchError, match="not in the directory"):
        federation.through(replace(request, requester="nobody"))


def test_attack_another_members_quota(federation, tax):
    request = tax.request(0, elements_for(b"a"))
    with pytest.raises(BatchError, match="another member's quota"):
        federation.through(replace(request, quota=federation.quota("housing", 10**6)))


@pytest.mark.parametrize(
    "signer", [lambda f: f.officer_keys["housing"], lambda f: f.keys["tax"]], ids=["other officer", "itself"]
)
def test_attack_a_quota_that_the_officer_did_not_sign(federation, tax, signer):
    request = tax.request(0, elements_for(b"a"))
    forged = Quota.signed(signer(federation), requester="tax", rows=10**6)
    for quota in (forged, replace(request.quota, rows=10**6)):
        with pytest.raises(SignatureRefusedError):
            federation.through(replace(request, quota=quota))
    assert federation.ledgers["health"].used("tax") == 0


def test_attack_index_and_count_are_signed(federation, tax):
    request = tax.request(0, elements_for(b"a"))
    with pytest.raises(SignatureRefusedError):
        federation.through(replace(request, index=1))


def test_attack_a_replayed_batch_is_answered_alike_and_counted_once(federation, tax):
    request = tax.request(0, elements_for(b"a", b"b"))
    first = federation.through(request)
    assert federation.through(request) == first
    assert [federation.ledgers[name].used("tax") for name in TRUSTEES] == [2, 2]


def test_attack_a_different_batch_under_the_same_index(federation, tax):
    federation.through(tax.request(0, elements_for(b"a")))
    with pytest.raises(BatchError, match="was another one before"):
        federation.through(tax.request(0, elements_for(b"a")))
    assert federation.ledgers["health"].used("tax") == 1


def test_attack_the_quota_is_used_up(federation, tax):
    federation.through(tax.request(0, elements_for(*[bytes([i]) for i in range(ROWS)])))
    with pytest.raises(QuotaError):
        federation.through(tax.request(1, elements_for(b"one more")))
    # An unused index stays unused: the refusal left nothing behind.
    assert (("tax", EPOCH, 1)) not in federation.ledgers["health"].indices
    # Another requester is not affected.
    federation.through(federation.requester("housing").request(0, elements_for(b"one more")))


def test_the_quota_never_resets(federation, tax):
    federation.through(tax.request(0, elements_for(*[bytes([i]) for i in range(ROWS)])))
    later = federation.requester("tax", epoch=NEXT_EPOCH)
    with pytest.raises(QuotaError):
        federation.through(later.request(0, elements_for(b"one more")), epoch=NEXT_EPOCH)
    # A larger table needs the officer's signature, and then counts from what was used before.
    grown = federation.requester("tax", epoch=NEXT_EPOCH, rows=ROWS + 1)
    federation.through(grown.request(0, elements_for(b"one more")), epoch=NEXT_EPOCH)
    with pytest.raises(QuotaError):
        federation.through(grown.request(1, elements_for(b"and more")), epoch=NEXT_EPOCH)


def test_attack_a_trustee_is_left_out_or_asked_twice_or_out_of_order(federation, tax):
    request = tax.request(0, elements_for(b"a"))
    once = federation.trustee("health").evaluate(request)
    with pytest.raises(BatchError, match="not at police yet"):
        federation.trustee("police").evaluate(request)
    with pytest.raises(BatchError, match="not at health yet"):
        federation.trustee("health").evaluate(once)
    with pytest.raises(BatchError, match="not every trustee"):
        tax.accept(request, once)
    with pytest.raises(BatchError, match="not every trustee"):
        tax.accept(request, request)
    done = federation.trustee("police").evaluate(once)
    with pytest.raises(BatchError, match="not every trustee"):
        tax.accept(request, replace(done, replies=done.replies[::-1]))
    with pytest.raises(BatchError, match="not every trustee"):
        tax.accept(request, replace(done, replies=(*done.replies, done.replies[-1])))


@pytest.mark.parametrize("place", [0, 1])
def test_attack_a_reply_is_changed_or_made_by_another_key(federation, tax, place):
    request = tax.request(0, elements_for(b"a"))
    done = federation.through(request)
    reply = done.replies[place]
    stranger = IdentityKey.generate()
    for bad in (
        replace(reply, digest=bytes(32)),
        replace(reply, signature=bytes(64)),
        replace(reply, signature=stranger.sign(b"anything")),
    ):
        replies = [*done.replies]
        replies[place] = bad
        with pytest.raises(SignatureRefusedError):
            tax.accept(request, replace(done, replies=tuple(replies)))


def test_attack_a_coordinator_skips_the_trustees_and_answers_itself(federation, tax):
    request = tax.request(0, elements_for(b"a"))
    elements = OprfKey.generate().evaluate(request.elements)
    digest = hashlib.sha256(elements).digest()
    replies = tuple(Reply(name, digest, bytes(64)) for name in TRUSTEES)
    with pytest.raises(SignatureRefusedError):
        tax.accept(request, replace(request, elements=elements, replies=replies))


def test_attack_a_reply_to_another_request_of_the_same_node(federation, tax):
    one, two = (tax.request(index, elements_for(b"a")) for index in (0, 1))
    answer = federation.through(one)
    with pytest.raises(BatchError, match="another request"):
        tax.accept(two, answer)
    # Nor can the replies be moved over.
    with pytest.raises(SignatureRefusedError):
        tax.accept(two, replace(two, elements=answer.elements, replies=answer.replies))


def test_a_bad_element_is_refused_and_counted(federation, tax):
    with pytest.raises(ElementError):
        federation.through(tax.request(0, elements_for(b"a") + bytes(32)))
    assert federation.ledgers["health"].used("tax") == 2


@pytest.mark.parametrize("elements", [b"", bytes(31), bytes(33)], ids=["none", "short", "long"])
def test_a_batch_of_no_whole_elements_is_refused(federation, tax, elements):
    with pytest.raises(BatchError, match="at least one element"):
        tax.request(0, elements)
    request = tax.request(0, elements_for(b"a"))
    with pytest.raises(BatchError, match="at least one element"):
        federation.through(replace(request, elements=elements))


def test_only_a_trustee_of_the_directory_evaluates(federation):
    with pytest.raises(BatchError, match="tax is not a trustee"):
        Trustee(
            "tax",
            federation.keys["tax"],
            OprfKey.generate(),
            epoch=EPOCH,
            trustees=TRUSTEES,
            identities=federation.identities,
            officers=federation.officers,
            ledger=MemoryLedger(),
        )


def test_no_message_prints_its_elements(tax):
    request = tax.request(0, elements_for(b"a"))
    assert isinstance(request, BoundBatch)
    assert repr(request.elements) not in repr(request)
