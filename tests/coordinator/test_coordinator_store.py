"""The coordinator's store keeps its promises on SQLite and PostgreSQL: slots once, manifests once, chunks once."""

import pytest

from veilmatch_coordinator.errors import JobError, StoreError
from veilmatch_coordinator.store import CoordinatorStore, StoredChunk, StoredEpoch

MANIFEST, KEY = b"m" * 32, b"k" * 32


@pytest.fixture
def store(store_address):
    store = CoordinatorStore(store_address)
    yield store
    store.close()


def test_an_epochs_slots_are_drawn_once_and_the_newest_is_the_epoch(store):
    first = StoredEpoch(b"first", 3, 0.25, {"tax": 2, "social": 1}, {"tax": b"\0" * 8, "social": b"\1" * 4})
    second = StoredEpoch(b"second", 9, 1.5, {"tax": 2}, {}, b"claims")
    store.save_epoch(first)
    assert store.newest_epoch() == first
    store.save_epoch(second)
    assert store.newest_epoch() == second
    told = store.newest_figures()
    assert (told.statement, told.padded, told.seconds, told.people) == (b"second", 9, 1.5, {"tax": 2})
    with pytest.raises(StoreError, match="drawn already"):
        store.save_epoch(first)


def test_a_manifest_and_a_key_start_once(store):
    store.start_job(MANIFEST, b"{}", KEY)
    for digest, key in ((MANIFEST, b"other" * 6), (b"n" * 32, KEY)):
        with pytest.raises(JobError, match="was used before"):
            store.start_job(digest, b"{}", key)


def test_the_recipient_presents_once_and_a_place_is_combined_once(store):
    store.start_job(MANIFEST, b"{}", KEY)
    store.present(MANIFEST, b"\1")
    store.present(MANIFEST, b"\1")
    with pytest.raises(JobError, match="presents other slots"):
        store.present(MANIFEST, b"\2")
    store.keep_chunk(MANIFEST, 0, 0, StoredChunk(b"blank", b"product"))
    with pytest.raises(StoreError, match="combined twice"):
        store.keep_chunk(MANIFEST, 0, 0, StoredChunk(b"blank", b"another"))
    assert store.product(MANIFEST, 0, 0) == b"product"


def test_a_count_is_kept_for_its_epoch(store):
    store.keep_counts(b"e" * 32, {b"c" * 32: b"7", b"d" * 32: b"8"})
    assert store.counted(b"e" * 32, b"c" * 32) == b"7"
    assert store.counted(b"f" * 32, b"c" * 32) is None


def test_the_directorys_version_only_grows(store):
    assert store.directory_version() == 1
    for version, highest in ((3, 3), (4, 4), (2, 4)):
        store.set_directory_version(version)
        assert store.directory_version() == highest
