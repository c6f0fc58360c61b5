"""Shows that the node's store keeps its promises when two tasks use it at once, and erases what is over."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from veilmatch_crypto import Vault
from veilmatch_node.errors import StoreError
from veilmatch_node.store import OUTPUTS, NodeStore, StoredChunk, StoredEpoch, StoredJob

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MANIFEST = b"m" * 32


@pytest.fixture
def store(store_address):
    store = NodeStore(store_address, Vault(bytes(32)))
    yield store
    store.close()


def start(store, digest=MANIFEST, expires=NOW):
    store.start_job(digest, StoredJob(b"{}", b"secrets", b"answers"), key=digest, expires=expires)


def test_a_closed_job_makes_no_chunk(store):
    start(store)
    store.keep_chunk(MANIFEST, 0, 0, StoredChunk(b"first", b""))
    store.close_job(MANIFEST)
    with pytest.raises(StoreError, match="closed while it contributed"):
        store.keep_chunk(MANIFEST, 0, 1, StoredChunk(b"second", b""))
    assert store.chunk(MANIFEST, 0, 0) is store.chunk(MANIFEST, 0, 1) is None


def test_the_first_of_two_chunks_of_one_place_is_the_one_that_leaves(store):
    start(store)
    first = store.keep_chunk(MANIFEST, 0, 0, StoredChunk(b"first", b"1"))
    assert store.keep_chunk(MANIFEST, 0, 0, StoredChunk(b"second", b"2")) == first


def test_only_what_has_expired_and_is_not_closed_is_erased(store, monkeypatch):
    emptied = []
    monkeypatch.setattr("veilmatch_node.store.jobs.forget_erased", emptied.append)
    start(store)
    start(store, b"n" * 32, NOW + timedelta(days=1))
    for _ in range(2):
        store.close_expired(NOW)
    assert len(emptied) == 1
    assert store.job(MANIFEST) is None
    assert store.job(b"n" * 32) is not None


def test_who_has_which_slot_is_kept_of_the_newest_epoch_only(store):
    contexts = [bytes([number]) * 32 for number in range(3)]
    for context in contexts:
        store.save_epoch(context, StoredEpoch(b"{}", 9, b"people of " + context), b"")
    assert [store.epoch(context) is None for context in contexts] == [True, True, False]
    with store._engine.connect() as connection:
        kept = connection.exec_driver_sql("SELECT count(people) FROM epochs").scalar()
    assert kept == 1
    with pytest.raises(StoreError, match="already linked"):
        store.save_epoch(contexts[0], StoredEpoch(b"{}", 9, b"again"), b"")
    assert store.epoch(contexts[2]).people == b"people of " + contexts[2]


def test_requests_stay_in_their_order_and_only_finished_ones_go(store):
    # Digests in falling order: by its key, the table would give the last one first.
    digests = [bytes([255 - number]) * 32 for number in range(5)]
    for number, digest in enumerate(digests):
        store.keep_request(digest, b"%d" % number)
    assert store.requests() == [b"0", b"1", b"2", b"3", b"4"]
    store.finish_requests([b"outputs", b"more"], digests[:2])
    assert store.requests() == [b"2", b"3", b"4"]
    store.finish_requests([b"newest"], digests[2:3])
    assert list(store.outputs()) == [b"outputs", b"more", b"newest"]
    assert store.requests() == [b"3", b"4"]


def test_outputs_that_were_kept_as_one_are_divided(store):
    store.set_setting(OUTPUTS, b"all")
    store.divide_outputs([b"some", b"others"])
    assert list(store.outputs()) == [b"some", b"others"]
    assert store.setting(OUTPUTS) is None


def test_all_who_draw_a_setting_at_once_get_the_same(store):
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda number: store.setting_once("scalar", b"%d" % number), range(40)))
    assert set(drawn) == {store.setting("scalar")}


def test_the_directorys_version_only_grows(store):
    assert store.directory_version() == 1
    for version, highest in ((3, 3), (4, 4), (2, 4)):
        store.set_directory_version(version)
        assert store.directory_version() == highest


def test_a_sequence_number_is_recorded_once_and_never_falls(store):
    assert [store.next_sequence("housing") for _ in range(3)] == [1, 2, 3]
    store.record_sequence("housing", 5)
    for repeated in (5, 4):
        with pytest.raises(StoreError, match="was opened before"):
            store.record_sequence("housing", repeated)
    assert store.last_sequence("housing") == 5
