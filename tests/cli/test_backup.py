"""Backups are made while a service serves; what an older one has forgotten is not had a second time; keys change."""

import json
import re
import shutil
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import postgres_server
import pytest
import tomli_w
from sqlalchemy import insert

from veilmatch.commands import backup as commands
from veilmatch.federation import COORDINATOR, NodePlan, make_federation
from veilmatch_coordinator import backup as coordinator_backup
from veilmatch_coordinator.queue import State, Submission
from veilmatch_coordinator.store import CoordinatorStore
from veilmatch_coordinator.store import StoredEpoch as DrawnEpoch
from veilmatch_crypto import IdentityKey, SealError, Vault
from veilmatch_evidence.actions import Debit, Decided, PolicyUse, ServiceStarted, Started
from veilmatch_evidence.errors import LogError
from veilmatch_evidence.log import EvidenceLog
from veilmatch_node import store as store_package
from veilmatch_node.backup import back_up, give_up_lost, require_whole, restore
from veilmatch_node.errors import BudgetSpentError, JobRefusedError
from veilmatch_node.store import NodeStore, StoredEpoch, StoredJob
from veilmatch_node.store.desk import DeskStore, Limit, _decisions
from veilmatch_node.store.relock import _LOCKED
from veilmatch_node.store_key import rotate_store_key
from veilmatch_policy.budgets import Cost
from veilmatch_transport import SettingsError

NOW = datetime.now(UTC).replace(microsecond=0)
EPOCH, FIRST, SECOND = b"e" * 32, b"1" * 32, b"2" * 32
APPROVAL, REQUEST = b"a" * 32, b"r" * 32
COST = Cost("runs", "people.v_tax", "social", 1)
LIMITS = [Limit("runs", "year", 2)]
CATALOG = """
department: {name}
tables:
  people:
    source: people.csv
    id: number
    identifier: opaque
    columns: {{v_{name}: {{type: integer, missing: 0}}}}
"""


class World:
    """A node that linked, was given two approvals and ran a job; its service is not running."""

    def __init__(self, folder):
        plans = {}
        for name in ("social", "tax"):
            home = folder / f"data-{name}"
            home.mkdir(parents=True)
            (home / "catalog.yaml").write_text(CATALOG.format(name=name))
            plans[name] = NodePlan(home, "127.0.0.1:1", {})
        made = make_federation(folder / "members", folder / "out", plans, "127.0.0.1:2", workers=1)
        self.config, self.office = made.configs["tax"], made.configs[COORDINATOR]
        self.home = self.config.parent
        self.configure(budget={"runs_a_year": 2, "epsilon_a_year": 1})
        self.store, self.path, self.log = self.home / "state.sqlite", None, self.home / "evidence.log"
        with self.opened() as store:
            store.set_directory_version(1)
            store.set_setting("drawn", b"drawn")
            store.finish_requests([b"outputs"], [])
            store.save_epoch(EPOCH, StoredEpoch(b"{}", 9, b"people"), b"tags")
            store.next_sequence("social")
            store.keep_request(b"q" * 32, b"blinds")
            with store._engine.begin() as connection:
                for digest, request in ((APPROVAL, REQUEST), (b"b" * 32, b"s" * 32)):
                    approved(connection, digest, request)
        self.write(ServiceStarted(release="1", directory="0" * 64, directory_version=1))
        self.run(FIRST)

    def configure(self, **changes):
        settings = tomllib.loads(self.config.read_text()) | changes
        self.config.write_text(tomli_w.dumps(settings))

    def vault(self):
        return Vault(bytes.fromhex((self.home / "store.key").read_text()))

    def opened(self):
        return _Closing(NodeStore(self.store, self.vault()))

    def write(self, *actions):
        identity = IdentityKey.from_bytes(bytes.fromhex((self.home / "identity.key").read_text()))
        log = EvidenceLog(self.log, "tax", identity)
        for action in actions:
            log.append(action)
        log.close()

    def run(self, manifest):
        """Debit a job, log it, and leave it open."""
        with self.opened() as store:
            store.desk.take_again([debited(manifest)])
            job = StoredJob(b"{}", b"secrets", b"answers")
            store.start_job(manifest, job, key=manifest, expires=NOW + timedelta(days=1))
        use = PolicyUse(
            policy="p",
            version=1,
            content="0" * 64,
            recipient="social",
            purpose="p",
            reveal="members",
            columns=("v_tax",),
            approval=APPROVAL.hex(),
            run=1,
        )
        windows = [
            Debit(kind="runs", window=window, what=COST.what, receiver="social", units=1, spent=1, limit=2)
            for window in ("epoch", "year")
        ]
        self.write(
            Started(
                job=manifest[:16].hex(),
                manifest=manifest.hex(),
                epoch=EPOCH.hex(),
                policies=(use,),
                debits=tuple(windows),
            )
        )

    def go_on(self):
        """What happens after a backup: jobs, of which one takes nothing, a newer directory, a revocation."""
        self.run(SECOND)
        self.write(
            Started(job="d" * 32, manifest="d" * 64, epoch=EPOCH.hex(), policies=(), debits=()),
            ServiceStarted(release="1", directory="0" * 64, directory_version=7),
            decided("revoke", b"\xcc" * 32),
        )


class _Closing:
    def __init__(self, store):
        self.store = store

    def __enter__(self):
        return self.store

    def __exit__(self, *_):
        self.store.close()


def approved(connection, digest, request):
    row = {"digest": digest, "request": request, "kind": "approve", "policy": "p", "decided": "2026"}
    connection.execute(insert(_decisions).values(**row, statement=digest, signature=b""))


def decided(kind, decision):
    return Decided(kind=kind, decision=decision.hex(), request=REQUEST.hex(), policy="p", version=1)


def debited(manifest):
    from veilmatch_node.store.desk import Debited

    return Debited(manifest, EPOCH, NOW, (APPROVAL,), (COST,))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    World(folder / "w")
    return folder / "w"


@pytest.fixture
def world(built, tmp_path):
    """A copy: certificates and configurations name their folder, so only what a test changes is its own."""
    world = World.__new__(World)
    members = tmp_path / "tax"
    shutil.copytree(built / "members" / "tax", members)
    world.config, world.office = members / "config.toml", built / "members" / COORDINATOR / "config.toml"
    world.home, world.store, world.log = members, members / "state.sqlite", members / "evidence.log"
    return world


def test_what_was_used_since_a_backup_stays_used(world, tmp_path):
    with world.opened():  # as the service has it
        back_up(world.config, tmp_path / "kept")
        with pytest.raises(SettingsError, match="is there already; name a new folder"):
            back_up(world.config, tmp_path / "kept")
    assert {each.stat().st_mode & 0o077 for each in (tmp_path / "kept").glob("s*")} == {0}
    world.go_on()
    with pytest.raises(SettingsError, match="there is a store already; move it away first"):
        restore(world.config, tmp_path / "kept", log_lost=False)
    world.store.unlink()
    restored = restore(world.config, tmp_path / "kept", log_lost=False)
    assert (restored.jobs, restored.decided) == (1, 1)
    with world.opened() as store:
        desk = store.desk
        assert desk.budgets(now=NOW) == [Cost("runs", COST.what, "social", 2)]
        with pytest.raises(BudgetSpentError):
            desk.debit(b"3" * 32, EPOCH, now=NOW, approvals=[], costs=[COST], limits=LIMITS)
        with pytest.raises(JobRefusedError, match="used here before"):
            desk.debit(SECOND, EPOCH, now=NOW, approvals=[], costs=[COST], limits=[])
        # The revoked request's approval is gone, the other one is there.
        assert [decision.statement for decision in desk.decisions()] == [b"b" * 32]
        assert store.job(FIRST) is store.job(SECOND) is store.epoch(EPOCH) is None
        assert store.linked(EPOCH) == b"tags"
        assert list(store.outputs()) == [b"outputs"]
        assert store.directory_version() == 7
        assert store.next_sequence("social") > 1_000_000
        require_whole(desk, world.log)
    assert sorted(each.name for each in world.home.glob("state*")) == ["state.sqlite", "state.sqlite.lock"]


def test_an_older_file_that_was_put_back_by_hand_is_refused_until_it_is_made_safe(world, tmp_path):
    shutil.copy(world.store, tmp_path / "older")
    world.go_on()
    shutil.copy(tmp_path / "older", world.store)
    with world.opened() as store, pytest.raises(SettingsError, match="is older than the log"):
        require_whole(store.desk, world.log)
    assert restore(world.config, None, log_lost=False).jobs == 1
    with world.opened() as store:
        require_whole(store.desk, world.log)
        assert store.desk.budgets(now=NOW) == [Cost("runs", COST.what, "social", 2)]


@pytest.mark.parametrize(
    "step",
    [
        (NodeStore, "close_expired"),
        (NodeStore, "forget_people"),
        (NodeStore, "jump_ahead"),
        (DeskStore, "give_up_approvals"),
        (DeskStore, "take_again"),
    ],
    ids=lambda step: step[1],
)
def test_a_restore_in_its_place_that_is_interrupted_leaves_a_store_that_is_refused(world, step, monkeypatch):
    older = world.store.read_bytes()
    world.go_on()
    world.store.write_bytes(older)
    with monkeypatch.context() as patched:
        patched.setattr(*step, killed)
        with pytest.raises(KeyboardInterrupt):
            restore(world.config, None, log_lost=False)
    with world.opened() as store, pytest.raises(SettingsError, match="is older than the log"):
        require_whole(store.desk, world.log)
    assert restore(world.config, None, log_lost=False).jobs == 1
    with world.opened() as store:
        require_whole(store.desk, world.log)


def killed(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("by_hand", [False, True])
def test_that_the_log_is_lost_must_be_said_again_after_an_interruption(world, tmp_path, by_hand, monkeypatch):
    back_up(world.config, tmp_path / "kept")
    source = None if by_hand else tmp_path / "kept"
    if not by_hand:
        world.store.unlink()
    world.log.unlink()
    there = []
    with monkeypatch.context() as patched:
        # A kill leaves what is there now.
        patched.setattr(DeskStore, "take_again", lambda *_: there.append(world.log.exists()) or killed())
        with pytest.raises(KeyboardInterrupt):
            restore(world.config, source, log_lost=True)
    assert there == [False]
    restore(world.config, source, log_lost=True)
    assert world.log.read_bytes() == (b"" if by_hand else (tmp_path / "kept" / "log").read_bytes())


def test_what_another_store_left_beside_is_not_taken_into_this_one(world, tmp_path):
    back_up(world.config, tmp_path / "kept")
    wal = world.home / "state.sqlite-wal"
    with world.opened() as store:
        store.set_setting("later", b"than the backup")
        left = wal.read_bytes()  # as a kill leaves it
    world.store.unlink()
    wal.write_bytes(left)
    with pytest.raises(SettingsError) as refused:
        restore(world.config, tmp_path / "kept", log_lost=False)
    assert str(refused.value) == (
        f"{wal}: there is a store already; move it away first, with all files beside it"
    )
    wal.rename(world.home / "state.sqlite.restored-wal")  # of an earlier attempt
    restore(world.config, tmp_path / "kept", log_lost=False)
    with world.opened() as store:
        assert store.setting("later") is None


@pytest.mark.parametrize("kind", ["revoke", "refuse"])
def test_a_decision_that_is_only_in_the_log_gives_up_what_it_was_about(world, kind):
    """The store was put back, or the officer's command ended between the two."""
    with world.opened() as store:
        assert give_up_lost(store.desk, world.log) == 0
        assert not store.desk.revoked(FIRST)
    world.write(decided("approve", APPROVAL), decided(kind, b"\xcc" * 32))
    with world.opened() as store:
        require_whole(store.desk, world.log)
        assert give_up_lost(store.desk, world.log) == 1
        assert [decision.statement for decision in store.desk.decisions()] == [b"b" * 32]
        assert store.desk.revoked(FIRST)  # a job that rests on it stops
    world.write(decided("approve", b"\xdd" * 32))
    with world.opened() as store:
        with store._engine.begin() as connection:
            approved(connection, b"\xdd" * 32, REQUEST)
        assert give_up_lost(store.desk, world.log) == 0
        assert b"\xdd" * 32 in store.desk.decided()


def test_without_the_log_everything_is_spent(world, tmp_path):
    back_up(world.config, tmp_path / "kept")
    world.go_on()
    world.store.unlink()
    with pytest.raises(SettingsError, match="is there; leave --log-lost out"):
        restore(world.config, tmp_path / "kept", log_lost=True)
    world.log.unlink()
    with pytest.raises(SettingsError, match="the log is not there; put it back, or say --log-lost"):
        restore(world.config, tmp_path / "kept", log_lost=False)
    restore(world.config, tmp_path / "kept", log_lost=True)
    assert world.log.read_bytes() == (tmp_path / "kept" / "log").read_bytes()
    with world.opened() as store:
        assert store.desk.decisions() == []
        spent = {(cost.kind, cost.what, cost.receiver): cost.units for cost in store.desk.budgets(now=NOW)}
    assert spent["runs", COST.what, "social"] == 3  # the one before the backup, and all of the year's two
    assert spent["runs", "people.*", COORDINATOR] == 2
    assert spent["epsilon", "", COORDINATOR] == 1_000_000


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda kept, log: (kept / "store.sqlite").write_bytes(b"x"), "is not what was backed up"),
        (lambda kept, log: (kept / "log").write_bytes(b"x"), "is not what was backed up"),
        (lambda kept, log: (kept / "backup.json").write_text("{}"), "says nothing of a backup"),
        (lambda kept, log: (kept / "backup.json").unlink(), "cannot be read"),
        (lambda kept, log: renamed(kept / "backup.json"), "is a backup of social"),
        (
            lambda kept, log: log.write_bytes(b"x" + log.read_bytes()[1:]),
            "the log record 1 is no record",
        ),
        (lambda kept, log: log.write_bytes(log.read_bytes()[:99]), "does not go on from the backup's log"),
    ],
)
def test_what_does_not_belong_together_is_not_restored(world, tmp_path, change, what):
    kept = tmp_path / "kept"
    back_up(world.config, kept)
    world.store.unlink()
    change(kept, world.log)
    with pytest.raises((SettingsError, LogError), match=what):
        restore(world.config, kept, log_lost=False)
    assert not list(world.home.glob("state.sqlite"))


def renamed(about):
    about.write_text(json.dumps(json.loads(about.read_text()) | {"party": "social"}))


def test_a_new_key_opens_everything_and_the_old_one_nothing(world, capsys):
    before, old = world.vault(), (world.home / "store.key").read_text().strip()
    with world.opened(), pytest.raises(SettingsError, match="another process has this store open"):
        rotate_store_key(world.config)
    commands.rotate_store_key(world.config)
    assert f"{world.home / 'store.key.old'} opens older backups only" in " ".join(
        capsys.readouterr().out.split()
    )
    assert (world.home / "store.key.old").read_text().strip() == old
    assert not (world.home / "store.key.new").exists()
    for vault in (before, world.vault()):
        store = NodeStore(world.store, vault)
        for read in (
            lambda: next(iter(store.outputs())),  # noqa: B023  called at once
            lambda: store.setting("drawn"),  # noqa: B023
            lambda: store.linked(EPOCH),  # noqa: B023
            lambda: store.epoch(EPOCH).people,  # noqa: B023
            lambda: store.requests()[0],  # noqa: B023
            lambda: store.job(FIRST).answers,  # noqa: B023
            lambda: store.job(FIRST).secrets,  # noqa: B023
        ):
            if vault is before:
                with pytest.raises(SealError):
                    read()
            else:
                assert read() in {b"outputs", b"drawn", b"tags", b"people", b"blinds", b"answers", b"secrets"}
        store.close()


def test_whatever_the_store_locks_is_locked_anew():
    """Every place that a value is bound to, as the store's modules write it."""
    folder = Path(store_package.__file__).parent
    places = re.findall(
        r'\.lock\(\("(\w+)", [\w.]+(?:, "(\w+)")?\)',
        "".join(path.read_text() for path in folder.glob("*.py")),
    )
    assert len(places) > 6
    relocked = {(table, column) for table, column, _ in _LOCKED}
    for table, column in places:
        assert any(table == each and column in {"", name} for each, name in relocked), (table, column)
    assert len(set(places)) == len(relocked)


def test_a_change_of_the_key_that_was_interrupted_is_finished(world):
    new = bytes(32)
    (world.home / "store.key.new").write_text(new.hex())
    (world.home / "store.key.new").chmod(0o600)
    with world.opened() as store:
        store.relock(world.vault(), Vault(new))
    rotate_store_key(world.config)
    with world.opened() as store:
        assert list(store.outputs()) == [b"outputs"]
    assert (world.home / "store.key").read_text() == new.hex()


def test_a_store_in_postgresql_is_copied_by_its_owner_and_made_safe_here(world, tmp_path):
    url = postgres_server.new_schema()
    world.configure(store=url.render_as_string(hide_password=False))
    with pytest.raises(SettingsError, match="is in PostgreSQL; copy it with pg_dump"):
        back_up(world.config, tmp_path / "kept")
    # An empty one in its place: all that it took is in the log.
    assert restore(world.config, None, log_lost=False).jobs == 1
    store = NodeStore(url, world.vault())
    assert store.desk.budgets(now=NOW) == [COST]
    store.close()


def test_a_coordinators_backup(world, tmp_path, capsys):
    home = tmp_path / "office"
    shutil.copytree(world.office.parent, home)
    store = CoordinatorStore(home / "state.sqlite")
    store.save_epoch(DrawnEpoch(b"{}", 3, 0.1, {"tax": 2}, {"tax": b"\0" * 8}))
    for job in ("a", "b"):
        submission = Submission(
            job=job, operator="o", policies=("p",), recipient="social", key_bits=2048, submitted=NOW
        )
        store.add_submission(submission, [b"policy"])
    running = store.submission("b").begin("e" * 32, NOW)
    store.save_submission(running.end(State.COMPLETE, "", 0, NOW), b"{}")
    identity = IdentityKey.from_bytes(bytes.fromhex((home / "identity.key").read_text()))
    log = EvidenceLog(home / "evidence.log", COORDINATOR, identity)
    log.append(ServiceStarted(release="1", directory="0" * 64, directory_version=7))
    commands.coordinator_backup(home / "config.toml", tmp_path / "kept")
    log.close()
    store.close()
    (home / "state.sqlite").unlink()
    assert coordinator_backup.restore(home / "config.toml", tmp_path / "kept", log_lost=False) == 1
    store = CoordinatorStore(home / "state.sqlite")
    assert store.newest_epoch() is None
    assert store.directory_version() == 7
    ended = {job: store.submission(job) for job in ("a", "b")}
    assert (ended["a"].state, ended["a"].exit_code) == (State.CANCELLED, 5)
    assert "was restored from a backup; submit the job again" in ended["a"].reason
    assert ended["b"].state is State.COMPLETE
    store.close()
    assert "keys are not in it" in " ".join(capsys.readouterr().out.split())
