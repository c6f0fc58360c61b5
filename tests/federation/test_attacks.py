"""Shows that an active coordinator that touches ciphertexts, or asks twice, is refused or found out by its check."""

import re
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import gmpy2
import numpy as np
import pytest
from attacked_world import (
    CONTRIBUTORS,
    PEOPLE,
    POLICY,
    RECIPIENT,
    fails,
    job_key,
    join,
    later,
    led,
    make,
    refusal,
    refused,
    rewrite,
    signed_again,
    split,
    table,
)
from fakes.federation import KEY_BITS, Federation, tap_on, untouched

from veilmatch_coordinator.errors import JobError
from veilmatch_coordinator.store import CoordinatorStore
from veilmatch_crypto import make_executor
from veilmatch_crypto.ciphertexts import encrypt
from veilmatch_crypto.packing import SLOT_BITS, Layout
from veilmatch_node.errors import JobRefusedError, StoreError
from veilmatch_node.store import StoredJob
from veilmatch_wire.v1 import job_pb2, node_pb2

LAYOUT = Layout(KEY_BITS)
CHECK_FAILED = "check-failed"


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """Linked once; every test runs jobs of its own in it."""
    with make(tmp_path_factory.mktemp("attacked")) as federation:
        federation.link()
        federation.run(POLICY)
        assert federation.eligible("aid") == sorted(
            f"p{number}" for number in range(PEOPLE) if number % 10 < 8
        )
        yield federation


# Ciphertexts on their way from the combination to the recipient (protocol.md, 4.5).


def dropped(products, parts, key):
    """One contributor's ciphertext is not in the product."""
    products[2] = products[2] * gmpy2.invert(parts["tax"][2], key.n**2) % key.n**2


def duplicated(products, parts, key):
    products[2] = products[2] * parts["tax"][2] % key.n**2


def swapped(products, _parts, _key):
    products[2], products[4] = products[4], products[2]


def swapped_between_places(products, parts, key):
    """One contributor's ciphertexts of two places are exchanged before they are multiplied in."""
    square = key.n**2
    for here, there in ((2, 4), (4, 2)):
        without = products[here] * gmpy2.invert(parts["tax"][here], square)
        products[here] = without * parts["tax"][there] % square


def scaled(products, _parts, key):
    products[2] = products[2] ** 2 % key.n**2


def negated(products, _parts, key):
    products[2] = gmpy2.invert(products[2], key.n**2)


def replaced_by_zero(products, _parts, key):
    [products[2]] = encrypt(key, [gmpy2.mpz(0)], 1)


def contribution_replaced_by_zero(products, parts, key):
    dropped(products, parts, key)
    replaced = encrypt(key, [gmpy2.mpz(0)], 1)[0]
    products[2] = products[2] * replaced % key.n**2


def repeated_afresh(products, _parts, key):
    """Another place's product, with fresh randomness so that no residue repeats."""
    products[2] = products[4] * encrypt(key, [gmpy2.mpz(0)], 1)[0] % key.n**2


def shifted_by_a_slot(products, _parts, key):
    products[2] = gmpy2.powmod(products[2], 1 << SLOT_BITS, key.n**2)


ATTACKS = (
    dropped,
    duplicated,
    swapped,
    swapped_between_places,
    scaled,
    replaced_by_zero,
    contribution_replaced_by_zero,
    repeated_afresh,
)


def on_products(federation, attack):
    """A coordinator that combines honestly, then does this to what it sends to the recipient."""

    def change(passing):
        parts = {
            each.node: split(each.content.ciphertexts) for each in federation.network.sent("contribution")
        }
        products = split(passing.content.ciphertexts)
        attack(products, parts, job_key(federation))
        passing.content.ciphertexts = join(products)

    return tap_on("combined", change)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_attack_on_a_ciphertext_ends_the_job_with_the_checks_code(federation, attack):
    result = federation.out / "aid" / "result.json"
    result.unlink(missing_ok=True)
    error, logs = fails(federation, on_products(federation, attack))

    [(code, text)] = refused(federation)
    assert (code, error.exit_code) == (CHECK_FAILED, 5)
    # The number of the ciphertext is for the recipient's own log, nobody is told.
    assert not re.search(r"\d", text)
    assert not re.search(r"\d", str(error))
    [record] = [each for each in logs if each.get("code") == CHECK_FAILED]
    assert re.search(r"outcome 0, chunk 0, ciphertexts \[2(, 4)?\]", record["reason"])
    # No result, nothing opened, nothing left.
    assert not result.exists()
    assert not federation.network.sent("opened")
    assert all(node.jobs._store.job(_digest(federation)) is None for node in federation.nodes.values())


def _digest(federation):
    return federation.network.sent("open")[-1].content.manifest_sha256


def test_attack_a_ciphertext_taken_from_another_job(federation):
    """Every job has its own key, so that it does not even open."""
    federation.network.passed.clear()
    federation.run(POLICY)
    [old] = [split(each.content.ciphertexts) for each in federation.network.sent("combined")]

    def from_another_job(products, _parts, key):
        products[2] = old[2] % key.n**2

    error, _ = fails(federation, on_products(federation, from_another_job))
    assert refused(federation) == [("malformed", str(error).removeprefix(f"{RECIPIENT}: "))]
    assert error.exit_code == 5
    assert not re.search(r"\d", str(error))


@pytest.mark.parametrize("attack", [shifted_by_a_slot, negated])
def test_attack_a_ciphertext_scaled_out_of_its_slots(federation, attack):
    """Such a plaintext is malformed, or its check fails: whichever is noticed first."""
    error, _ = fails(federation, on_products(federation, attack))
    [(code, _)] = refused(federation)
    assert code in {CHECK_FAILED, "malformed"}
    assert error.exit_code == 5


@pytest.mark.parametrize(
    "change",
    [
        lambda chunk: chunk[: -LAYOUT.ciphertext_bytes],
        lambda chunk: chunk + chunk[-LAYOUT.ciphertext_bytes :],
        lambda _: b"",
        lambda chunk: b"\xff" * len(chunk),
    ],
    ids=["one fewer", "one more", "empty", "out of range"],
)
def test_attack_a_chunk_of_another_size_or_out_of_range(federation, change):
    def spoil(passing):
        passing.content.ciphertexts = change(passing.content.ciphertexts)

    error, _ = fails(federation, tap_on("combined", spoil))
    assert [code for code, _ in refused(federation)] == ["malformed"]
    assert error.exit_code == 5


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of two ciphertexts: a job has several."""
    monkeypatch.setattr("veilmatch_coordinator.drafting.CHUNK_CIPHERTEXTS", 2)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("chunks", ["repeated", "exchanged", "left out"])
def test_attack_a_whole_chunk_repeated_exchanged_or_left_out(federation, chunks):
    def change(passing):
        number = passing.content.chunk
        if chunks == "repeated" and number == 1:
            return [passing.message, passing.message]
        if chunks == "left out" and number == 1:
            return []
        if chunks == "exchanged":
            passing.content.chunk = {0: 1, 1: 0}.get(number, number)
        return None

    fails(federation, tap_on("combined", change))
    assert [code for code, _ in refused(federation)] == ["malformed"]


@pytest.mark.usefixtures("small_chunks")
def test_attack_a_coordinator_that_concludes_before_the_last_chunk(federation):
    def conclude(passing):
        return [node_pb2.CoordinatorMessage(conclude=job_pb2.Conclude())] if passing.content.chunk else None

    fails(federation, tap_on("combined", conclude))
    assert [code for code, _ in refused(federation)] == ["out-of-order"]


def test_attack_subtraction_from_the_slot_below_the_check_slot(tmp_path):
    """A borrow out of the slot below the check slot shows as a failed check: it must not say an answer.

    The coordinator subtracts 2**41 there, in every ciphertext.  With three contributors and its own
    word, the slot's integer is the sum of four uniform 40-bit words, so that every second one
    borrows, whether everybody or nobody is eligible.
    """
    counts = {}
    for case, value in (("everybody", 1), ("nobody", 9)):
        given = {
            name: table(name, rows=4000, value=lambda _, value=value: value)
            for name in (*CONTRIBUTORS, RECIPIENT)
        }
        with Federation(tmp_path / case, given) as federation:
            federation.link()

            def subtract(products, _parts, key):
                amount = 1 << SLOT_BITS * LAYOUT.padding_index + 41
                products[:] = [product * (1 - amount * key.n) % key.n**2 for product in products]

            policy = POLICY.replace("among_at_most: 240\n", "")
            _, logs = fails(federation, on_products(federation, subtract), partial(federation.run, policy))
            [record] = [each for each in logs if each.get("code") == CHECK_FAILED]
            borrowed = record["reason"].partition("[")[2].count(",") + 1
            total = len(split(federation.network.sent("combined")[0].content.ciphertexts))
            counts[case] = (borrowed, total)
    for borrowed, total in counts.values():
        expected, deviation = total / 2, np.sqrt(total) / 2
        assert abs(borrowed - expected) < 5 * deviation, counts


@pytest.mark.parametrize("value", [1, 9], ids=["everybody", "nobody"])
def test_attack_subtraction_from_the_last_persons_slot(tmp_path, value):
    """The padding slot takes the borrow: the check passes, whatever that person's answer is."""
    given = {name: table(name, value=lambda _: value) for name in (*CONTRIBUTORS, RECIPIENT)}
    with Federation(tmp_path, given) as federation:
        federation.link()

        def subtract(products, _parts, key):
            amount = 1 << SLOT_BITS * (LAYOUT.padding_index - 1) + 41
            products[:] = [product * (1 - amount * key.n) % key.n**2 for product in products]

        with federation.tapped(on_products(federation, subtract)):
            federation.run(POLICY)
        assert len(federation.eligible("aid")) == (PEOPLE if value == 1 else 0)


# Randomness that repeats (protocol.md, 4.2).


def test_attack_equal_residues_within_a_contribution_are_refused_by_the_coordinator(federation):
    def repeat(passing):
        ciphertexts = split(passing.content.ciphertexts)
        key = job_key(federation)
        # The same randomness under another plaintext.
        ciphertexts[3] = ciphertexts[1] * (1 + 12345 * key.n) % key.n**2
        signed_again(federation, passing, join(ciphertexts))

    error, _ = fails(federation, tap_on("contribution", repeat, node="tax"))
    assert isinstance(error, JobError)
    assert "tax sent ciphertexts that are malformed or repeat randomness" in str(error)
    assert error.__notes__ == ["ciphertext 3 of the chunk"]
    assert not federation.network.sent("combined")


def test_attack_equal_residues_of_two_contributors_are_refused_by_the_coordinator(federation):
    first = {}

    def repeat(passing):
        part = passing.content.ciphertexts
        other = first.setdefault("ciphertexts", part)
        if other != part:
            signed_again(federation, passing, join([split(other)[0], *split(part)[1:]]))

    error, _ = fails(federation, tap_on("contribution", repeat))
    assert "repeat randomness" in str(error)
    assert not federation.network.sent("combined")


def test_attack_equal_residues_are_refused_by_the_recipient(federation):
    def repeat(products, _parts, key):
        products[3] = products[1] * (1 + 12345 * key.n) % key.n**2

    error, logs = fails(federation, on_products(federation, repeat))
    [(code, text)] = refused(federation)
    assert code == "malformed"
    assert "the same randomness" in text
    assert not re.search(r"\d", text + str(error))
    assert any("ciphertext 3 of the chunk" in each.get("reason", "") for each in logs)


def test_attack_a_contribution_that_its_maker_did_not_sign(federation):
    def change(passing):
        passing.content.ciphertexts = join(split(passing.content.ciphertexts)[::-1])

    error, _ = fails(federation, tap_on("contribution", change, node="tax"))
    assert "a contribution of tax is not signed by it" in str(error)


@pytest.mark.usefixtures("small_chunks")
def test_attack_a_contributor_that_sends_a_chunk_twice(federation):
    def twice(passing):
        return [passing.message, passing.message]

    error, _ = fails(federation, tap_on("contribution", twice, node="tax"))
    assert isinstance(error, JobError)  # seen as repeated randomness
    assert "tax" in str(error)


# Never twice (protocol.md, 4.7).


def bytes_of(contributions):
    return [(each.outcome, each.chunk, each.ciphertexts, each.signature) for each in contributions]


@pytest.mark.usefixtures("small_chunks")
def test_a_node_asked_twice_resends_the_same_bytes(tmp_path):
    with make(tmp_path) as federation, make_executor(2) as other_workers:
        federation.link()
        tax = federation.nodes["tax"]
        with led(federation) as office:
            office.ask_all()
            digest = office.accept_all()
            first = bytes_of(office.contributed("tax", digest))
            assert len(first) >= 3
            assert bytes_of(office.contributed("tax", digest)) == first
            # After SIGKILL.
            tax.crash()
            assert bytes_of(office.contributed("tax", digest)) == first
            # With other data and other workers.
            rewrite(tax, 9)
            tax.executor = other_workers
            tax.crash()
            assert bytes_of(office.contributed("tax", digest)) == first
            # And never again.
            office.conversation.close_job("tax", digest, ())
            for _ in range(2):
                with refusal("never started at this node, or is closed"):
                    office.contributed("tax", digest)
                tax.crash()


@pytest.mark.usefixtures("small_chunks")
def test_a_node_killed_around_every_send_resends_what_it_had_sent(tmp_path):
    """At the moment a chunk is on the wire, the disk alone is enough to send it again."""
    with make(tmp_path) as federation:
        federation.link()
        tax = federation.nodes["tax"]
        killed = []

        def kill(_passing):
            left = tmp_path / f"killed-{len(killed)}.sqlite"
            for suffix in ("", "-wal"):
                left.with_name(left.name + suffix).write_bytes(
                    tax.disk.with_name(tax.disk.name + suffix).read_bytes()
                )
            killed.append(left)

        with led(federation) as office:
            office.ask_all()
            digest = office.accept_all()
            with federation.tapped(tap_on("contribution", kill, node="tax")):
                sent = bytes_of(office.contributed("tax", digest))
        assert len(killed) == len(sent) >= 3
        rewrite(tax, 9)
        for count, disk in enumerate(killed, start=1):
            again = replace(tax, disk=disk)
            made = [
                (each.outcome, each.chunk, each.ciphertexts, each.signature)
                for each in again.jobs.contribute(digest)
            ]
            assert made[:count] == sent[:count]
            again.store.close()


@pytest.mark.usefixtures("small_chunks")
def test_attack_closing_a_job_while_a_node_contributes(federation):
    """A second stream under way must not have a chunk made afresh that was sent and erased."""
    tax = federation.nodes["tax"]
    with led(federation) as office:
        office.ask_all()
        digest = office.accept_all()
        slow = tax.jobs.contribute(digest)
        next(slow)
        office.contributed("tax", digest)
        office.conversation.close_job("tax", digest, ())
        with pytest.raises((JobRefusedError, StoreError)):
            list(slow)


def test_attack_a_retry_with_fresh_noise(federation):
    """One manifest starts once, whoever asks and however often; new keys make it another node's manifest."""
    with led(federation) as office:
        office.ask_all()
        prepared = (
            federation.nodes["tax"]
            .jobs.ask(office.sources, office.epoch, round(time.time() * 1000))
            .prepare(office.drafted())
        )
        keys = {**office.keys, "tax": prepared.keys}
        data = office.manifest(keys)
        digest = prepared.start(data, lambda _report: None).digest
        with pytest.raises(JobRefusedError, match="used here before"):
            prepared.start(data, lambda _report: None)
        federation.nodes["tax"].jobs.close(digest)
        with pytest.raises(JobRefusedError, match="used here before"):
            prepared.start(data, lambda _report: None)
        # The same draft and manifest on a new stream: the node has drawn other keys.
        office.ask("tax")
        with refusal("this node's own keys were changed"):
            office.tasks["tax"].accept(data)


def test_attack_a_paillier_key_used_again(federation):
    """Two manifests under one key: each would open what the other made."""
    store = federation.nodes["tax"].store
    job, expires = StoredJob(b"{}", b"secrets", b"answers"), later(1)
    store.start_job(b"1" * 32, job, key=b"k" * 32, expires=expires)
    with pytest.raises(JobRefusedError, match="Paillier key was used here before"):
        store.start_job(b"2" * 32, job, key=b"k" * 32, expires=expires)
    store.close_job(b"1" * 32)
    with pytest.raises(JobRefusedError, match="used here before"):
        store.start_job(b"1" * 32, job, key=b"l" * 32, expires=expires)


def test_attack_a_recipient_asked_to_open_twice(federation):
    with led(federation) as office:
        office.ask_all()
        digest = office.accept_all()
        presented = office.presented(digest)
        for _ in range(2):  # the same people, to be opened by the same products (test_resumption.py)
            assert office.presented(digest) == presented
            federation.nodes[RECIPIENT].crash()
        for name in CONTRIBUTORS:
            with refusal("is not its recipient|no part"):
                office.presented(digest, name)


def test_both_stores_commit_to_disk_before_they_return(federation):
    """Read on the stores' own connections: another connection has settings of its own."""
    stores = [federation.store, *(node.store for node in federation.nodes.values())]
    for store in stores:
        for _ in range(2):
            with store._engine.connect() as connection:
                asked = {
                    name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                    for name in ("synchronous", "journal_mode", "secure_delete")
                }
            assert asked == {"synchronous": 2, "journal_mode": "wal", "secure_delete": 1}  # 2 is FULL


def test_closing_a_job_erases_its_keys_and_ciphertexts(federation):
    with led(federation) as office:
        office.ask_all()
        digest = office.accept_all()
        tax = federation.nodes["tax"]
        [sent, *_] = office.contributed("tax", digest)
        with tax.store._engine.connect() as connection:
            sealed = connection.exec_driver_sql(
                "SELECT secrets FROM jobs WHERE manifest_sha256 = ?", (digest,)
            ).scalar_one()
        office.conversation.close_job("tax", digest, ())
    with tax.store._engine.connect() as connection:
        row = connection.exec_driver_sql(
            "SELECT secrets, answers, state FROM jobs WHERE manifest_sha256 = ?", (digest,)
        ).one()
    assert tuple(row) == (None, None, "closed")
    left = b"".join(tax.disk.with_name(tax.disk.name + suffix).read_bytes() for suffix in ("", "-wal"))
    assert sent.ciphertexts[:64] not in left
    assert sealed not in left


# Whom the recipient asks about (protocol.md, 4.6).


def test_attack_two_sets_of_slots_under_one_manifest(federation):
    """The difference of two openings is somebody's answer: the coordinator keeps the first set."""
    with led(federation) as office:
        office.ask_all()
        data, digest = office.manifest(), office.accept_all()
        store = federation.store
        store.start_job(digest, data, b"k" * 32)
        presented = office.presented(digest)
    store.present(digest, presented)
    store.present(digest, presented)
    other = bytes([presented[0] ^ 0x80, *presented[1:]])
    for suffix in ("", "-wal"):  # as a kill at this moment would leave it
        shutil.copyfile(f"{federation.disk}{suffix}", f"{federation.disk}+{suffix}")
    for again in (store, CoordinatorStore(Path(f"{federation.disk}+"))):
        with pytest.raises(JobError, match="presents other slots than before"):
            again.present(digest, other)
    again.close()
    store.close_job(digest)
    for used in ((digest, b"l" * 32), (b"2" * 32, b"k" * 32)):
        with pytest.raises(JobError, match="used before"):
            store.start_job(used[0], data, used[1])


def test_attack_a_recipient_that_asks_about_slots_of_others(federation):
    def everybody(passing):
        passing.content.bitmap = b"\xff" * len(passing.content.bitmap)

    error, _ = fails(federation, tap_on("presented", everybody))
    assert "presents slots that are not its own people's" in str(error)
    assert not federation.network.sent("contribute")


def test_attack_a_recipient_that_asks_about_more_people_than_the_policy_allows(federation):
    own = federation.store.newest_epoch().own_slots(RECIPIENT)

    def everybody(passing):
        passing.content.bitmap = np.packbits(own).tobytes()

    policy = POLICY.replace('"v_social >= 0"\namong_at_most: 240', '"v_social = 3"\namong_at_most: 24')
    federation.run(policy)
    error, _ = fails(federation, tap_on("presented", everybody), partial(federation.run, policy))
    assert "presents more people than among_at_most allows" in str(error)
    assert not federation.network.sent("contribute")
    # And an honest recipient refuses itself.
    fails(federation, untouched, partial(federation.run, policy.replace("24\n", "23\n")))
    [(_, text)] = refused(federation)
    assert "selects more people than among_at_most allows" in text


@pytest.mark.parametrize(
    ("change", "said"),
    [(lambda bitmap: bitmap[:-1], "another number of slots"), (lambda bitmap: bitmap + b"\0", "more than")],
    ids=["shorter", "longer"],
)
def test_attack_a_bitmap_of_another_size(federation, change, said):
    def resize(passing):
        passing.content.bitmap = change(passing.content.bitmap)

    error, _ = fails(federation, tap_on("presented", resize))
    assert said in str(error)
    assert not federation.network.sent("contribute")
