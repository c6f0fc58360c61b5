"""Stores of release 0.1.0 come to this release's tables with all that is in them, or stay as they were.

``release_0_1_0`` holds what that release wrote: a federation of two that linked, ran one job to its end, and was in
the middle of another (a node's contribution was combined, the recipient had not opened it).
"""

import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from veilmatch_coordinator import store as coordinator
from veilmatch_coordinator.errors import JobError
from veilmatch_coordinator.store import CoordinatorStore
from veilmatch_crypto import Vault
from veilmatch_node import store as node
from veilmatch_node.errors import JobRefusedError
from veilmatch_node.people import SlotTable
from veilmatch_node.store import OUTPUTS, NodeStore, StoredJob
from veilmatch_policy.budgets import Cost
from veilmatch_policy.manifest import Manifest
from veilmatch_transport import Schema, SettingsError, durable_engine
from veilmatch_transport.stores import migrating

RELEASE = Path(__file__).with_name("release_0_1_0")
VAULT = Vault(b"\1" * 32)
NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)  # when it was written


def written(party, to):
    """A store as release 0.1.0 left it."""
    connection = sqlite3.connect(to)
    connection.executescript((RELEASE / f"{party}.sql").read_text(encoding="utf-8"))
    connection.close()
    return to


@pytest.fixture(scope="module")
def tax(tmp_path_factory):
    return written("tax", tmp_path_factory.mktemp("tax") / "state.sqlite")


@pytest.fixture
def tax_copy(tax, tmp_path):
    return Path(shutil.copy(tax, tmp_path / "state.sqlite"))


def rows(path):
    connection = sqlite3.connect(path)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall()) for table in tables}
    connection.close()
    return found


def manifests(path):
    """The manifests of a store, by the state in which they are."""
    connection = sqlite3.connect(path)
    found = dict(connection.execute("SELECT state, manifest FROM jobs").fetchall())
    connection.close()
    return found


def test_a_nodes_store_is_used_on_after_its_upgrade(tax_copy):
    before, jobs = rows(tax_copy), manifests(tax_copy)
    store = NodeStore(tax_copy, VAULT)
    # The linkage.
    context = store.desk.newest_epoch()
    assert len(SlotTable.decode(store.epoch(context).people).slots) == 8
    assert store.setting(OUTPUTS)
    assert store.last_sequence("social") == 1
    assert store.next_sequence("social") == 1
    # The jobs: the one that runs, and the one that was over.
    running, over = (Manifest.digest_of(jobs[state]) for state in ("started", "closed"))
    assert store.job(running).manifest == jobs["started"]
    assert store.chunk(running, 0, 0) is not None
    assert store.job(over) is None
    for number, used in enumerate((running, over)):
        with pytest.raises(JobRefusedError, match="was used here before"):
            store.start_job(used, StoredJob(b"{}", b"", b""), key=b"%d" % number, expires=NOW)
    # Governance.
    assert [decision.used for decision in store.desk.decisions()] == [1, 1]
    assert store.desk.budgets(now=NOW) == [Cost("runs", "people.v_tax", "social", 2)]
    store.close_expired(NOW + timedelta(days=30))
    assert store.job(running) is None
    store.close()
    kept = tax_copy.with_name("state.sqlite.before-0003")
    assert rows(kept) == before
    assert kept.stat().st_mode & 0o777 == 0o600
    kept.unlink()
    NodeStore(tax_copy, VAULT).close()
    assert not kept.exists()  # an upgrade is once


def test_what_the_earlier_release_was_opening_is_never_opened_again(tax_copy):
    running = Manifest.digest_of(manifests(tax_copy)["started"])
    connection = sqlite3.connect(tax_copy)
    connection.execute("UPDATE jobs SET state = 'opening' WHERE state = 'started'")
    connection.commit()
    connection.close()
    store = NodeStore(tax_copy, VAULT)
    for again in (
        lambda: store.take_product(running, 0, 0, b"another product's"),
        lambda: store.start_circuits(running, b"e" * 32, []),
    ):
        with pytest.raises(JobRefusedError, match="is failed here"):
            again()
    store.close()


def test_a_coordinators_store_is_used_on_after_its_upgrade(tmp_path):
    path = written("office", tmp_path / "state.sqlite")
    jobs = manifests(path)
    store = CoordinatorStore(path)
    assert store.newest_epoch().people == {"social": 8, "tax": 8}
    assert store.unfinished() == [jobs["started"]]
    assert store.product(Manifest.digest_of(jobs["started"]), 0, 0)
    for manifest in jobs.values():
        with pytest.raises(JobError, match="was used before"):
            store.start_job(Manifest.digest_of(manifest), manifest, b"key")
    store.close()


@pytest.mark.parametrize("schema", [node.SCHEMA, coordinator.SCHEMA], ids=["node", "coordinator"])
def test_the_revisions_lead_to_the_tables_that_the_code_has(store_address, schema):
    first = Schema(schema.tables, "0001", schema.migrations)
    empty = Schema(type(schema.tables)(), "0001", schema.migrations)
    engine = durable_engine(store_address, empty)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE alembic_version"))
        migrating.upgrade(connection, first, "base")
    engine.dispose()
    engine = durable_engine(store_address, schema)
    with engine.begin() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_name": lambda name, kind, _parent: name != "store_owner"}
        )
        assert compare_metadata(context, schema.tables) == []
    engine.dispose()
    assert max(migrating.revisions(schema)) == schema.head


def test_a_store_of_a_newer_release_is_refused_and_left_alone(tax_copy):
    NodeStore(tax_copy, VAULT).close()
    connection = sqlite3.connect(tax_copy)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    before = rows(tax_copy)
    with pytest.raises(SettingsError) as refused:
        NodeStore(tax_copy, VAULT)
    assert str(refused.value) == (
        f"{tax_copy}: the store is of a newer release (its revision is 9999, this one's {node.SCHEMA.head}); "
        "install that release again, or restore a backup of this one's"
    )
    assert rows(tax_copy) == before


def test_an_upgrade_that_fails_leaves_the_store_as_it_was(tax_copy):
    connection = sqlite3.connect(tax_copy)
    connection.execute("CREATE TABLE products (in_the_way TEXT)")
    connection.commit()
    before = rows(tax_copy)
    with pytest.raises(OperationalError, match="already exists"):
        NodeStore(tax_copy, VAULT)
    assert rows(tax_copy) == before
    connection.execute("DROP TABLE products")
    connection.close()
    NodeStore(tax_copy, VAULT).close()
