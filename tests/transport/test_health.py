"""Health tells the truth: what cannot work is not offered, what heals is offered again, and each check has words."""

import json
import shutil
import sqlite3
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import create_engine
from transport_world import SERVICE, World, echo

from veilmatch_crypto import IdentityKey
from veilmatch_evidence.actions import Disclosed
from veilmatch_evidence.log import EvidenceLog
from veilmatch_transport import checks, health, status
from veilmatch_transport.channel import wait_until_serving
from veilmatch_transport.checks import (
    identity_of,
    look_at_certificate,
    look_at_clocks,
    look_at_log,
    look_at_peers,
    look_at_room,
    look_at_store,
)
from veilmatch_transport.errors import ListenError, PeerUnavailableError
from veilmatch_transport.health import Finding, Health, Status, degraded, failed, ok
from veilmatch_transport.metrics import Metrics
from veilmatch_transport.peers import Peers
from veilmatch_transport.roles import RoleGate
from veilmatch_transport.server import Server
from veilmatch_transport.watch import watched

NOW = datetime(2026, 5, 1, tzinfo=UTC)
DIRECTORY = SimpleNamespace(version=7)  # all that the status asks of one


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch):
    """Every look is a new one."""
    monkeypatch.setattr(health, "_FRESH", 0.0)


@contextmanager
def serving(world, *, member="tax", ahead=0.0):
    """A member with a status and nothing else, whose clock is ``ahead`` seconds before ours."""
    server = Server(world.identity(member), RoleGate("spree", world, status.ROLES))
    server.add(
        status.SERVICE,
        status.register("node", DIRECTORY, lambda: datetime.now(UTC) + timedelta(seconds=ahead)),
    )
    try:
        yield server.start("127.0.0.1:0"), server
    finally:
        server.stop(0)


def test_work_is_not_offered_while_a_check_fails_and_is_again_when_it_heals(world):
    found = {"store": ok("well")}
    server = world.server(world.identity("tax"), echo)
    watched_health = Health({"store": lambda: found["store"]}, server.tell_health)
    port = server.start("127.0.0.1:0")
    try:
        with world.dialling(port) as channel:
            for finding, serves in (
                (ok("well"), True),
                (failed("locked", "unlock it"), False),
                (degraded("full soon", "free it"), True),
                (failed("locked", "unlock it"), False),
                (ok("well"), True),
            ):
                found["store"] = finding
                assert watched_health.look() == {"store": finding}
                if serves:
                    wait_until_serving(channel, "tax", SERVICE, 2)
                else:
                    with pytest.raises(PeerUnavailableError, match="is not serving"):
                        wait_until_serving(channel, "tax", SERVICE, 0.1)
    finally:
        server.stop(0)


def test_a_check_that_breaks_has_failed_and_says_nothing_that_it_met():
    def broken():
        raise ValueError("110199193001010013 is in this text")

    [finding] = Health({"store": broken}).look().values()
    assert finding.status is Status.FAILED
    assert finding.what.startswith("ValueError at ")
    assert "1101" not in str(finding)


def test_it_is_looked_at_without_being_asked(monkeypatch):
    monkeypatch.setattr(health, "_EVERY", 0.01)
    looks = []
    with Health({"x": lambda: looks.append(1) or ok("well")}).watching():
        deadline = datetime.now(UTC) + timedelta(seconds=5)
        while len(looks) < 3 and datetime.now(UTC) < deadline:
            pass
    seen = len(looks)
    assert seen >= 3
    assert len(looks) == seen  # nobody looks after the end


# The endpoint.


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_health_and_metrics_over_http():
    found = {"store": ok("well"), "peers": degraded("tax: away", "start it")}
    looked = Health({name: lambda name=name: found[name] for name in found})
    with watched("127.0.0.1:0", Metrics(), looked) as port:
        code, body = get(port, "/health")
        assert (code, json.loads(body)["status"]) == (200, "degraded")
        assert json.loads(body)["checks"]["peers"] == {
            "status": "degraded",
            "what": "tax: away",
            "remedy": "start it",
        }
        found["store"] = failed("locked", "unlock it")
        code, body = get(port, "/health")
        assert (code, json.loads(body)["status"]) == (503, "failed")
        code, body = get(port, "/metrics")
        assert code == 200
        assert 'veilmatch_check_state{check="store"} 2.0' in body
        assert get(port, "/")[0] == 404
        with pytest.raises(ListenError, match=r"metrics\.listen: .* cannot be had"):
            watched(f"127.0.0.1:{port}", Metrics(), looked).__enter__()


# Checks.


@pytest.fixture
def store(tmp_path):
    """A store's file, and a transaction of it as a service makes it."""
    path = tmp_path / "state.sqlite"
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 0.05, "isolation_level": None})
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")

    def transaction():
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            connection.exec_driver_sql("COMMIT")

    yield path, transaction
    engine.dispose()


def test_a_store_that_somebody_else_locked_and_let_go(store):
    path, transaction = store
    files = {path: identity_of(path)}
    assert look_at_store(transaction, files).status is Status.OK
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    found = look_at_store(transaction, files)
    assert (found.status, found.what) == (Status.FAILED, "takes no transaction (database is locked)")
    other.rollback()
    other.close()
    assert look_at_store(transaction, files).status is Status.OK


def test_a_store_whose_file_is_gone_or_another(store, tmp_path):
    path, transaction = store
    files = {path: identity_of(path)}
    shutil.copyfile(path, tmp_path / "copy")
    path.unlink()
    assert look_at_store(transaction, files).status is Status.FAILED
    (tmp_path / "copy").rename(path)
    found = look_at_store(transaction, files)
    assert found.status is Status.FAILED
    assert "is gone, or another file" in found.what


def test_a_store_that_is_read_only(tmp_path):
    path = tmp_path / "state.sqlite"
    sqlite3.connect(path).execute("CREATE TABLE t (x)").connection.close()
    reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)

    def transaction():
        engine = create_engine("sqlite://", creator=lambda: reader)
        with engine.connect() as connection:
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")

    found = look_at_store(transaction, {path: identity_of(path)})
    assert found.status is Status.FAILED
    assert "attempt to write a readonly database" in found.what
    reader.close()


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        (checks.ROOM_LOW, Status.OK),
        (checks.ROOM_LOW - 1, Status.DEGRADED),
        (checks.ROOM_FAILED - 1, Status.FAILED),
    ],
)
def test_room_on_the_disk(tmp_path, monkeypatch, free, expected):
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _path: SimpleNamespace(free=free))
    assert look_at_room([tmp_path / "not" / "there"]).status is expected


def test_a_log_that_was_replaced_stays_failed(tmp_path):
    path = tmp_path / "evidence.log"
    log = EvidenceLog(path, "tax", IdentityKey.generate())
    log.append(Disclosed())
    assert look_at_log(log.require_writable, path).status is Status.OK
    path.rename(tmp_path / "elsewhere")
    assert look_at_log(log.require_writable, path).status is Status.FAILED
    (tmp_path / "elsewhere").rename(path)
    assert look_at_log(log.require_writable, path).status is Status.FAILED
    log.close()


@pytest.mark.parametrize(
    ("left", "expected", "words"),
    [
        (timedelta(days=30), Status.OK, "30 days"),
        (timedelta(days=13), Status.DEGRADED, "13 days; ask the root for a new one"),
        (timedelta(), Status.FAILED, "expired at 2026-05-01 00:00 UTC"),
    ],
)
def test_a_certificate(world, left, expected, words):
    from veilmatch_crypto import Validity

    pem = world.issue("tax", Validity(NOW - timedelta(days=1), NOW + left)).certificate
    found = look_at_certificate(pem, lambda: NOW)
    assert found.status is expected
    assert words in str(found)


def test_a_certificate_of_tomorrow(world):
    found = look_at_certificate(world.issue("tax").certificate, lambda: NOW - timedelta(days=9999))
    assert found.status is Status.FAILED
    assert "set this machine's clock" in str(found)


def test_peers_that_answer_are_away_or_have_another_time(world):
    with serving(world) as (port, _), serving(world, member="housing", ahead=-90.0) as (late, _):
        peers = Peers(
            {"tax": f"127.0.0.1:{port}", "housing": f"127.0.0.1:{late}", "民政": "127.0.0.1:1"},
            world.identity("office"),
        )
        said = peers.ask()
        assert said["tax"].role == "node"
        assert said["tax"].directory_version == 7
        assert abs(said["tax"].ahead) < 1
        assert -91 < said["housing"].ahead < -89
        clocks = look_at_clocks(said)
        assert clocks.status is Status.DEGRADED
        assert clocks.what.startswith("housing is 90.0 s behind")
        away = look_at_peers(said, {"police": False})
        assert away.status is Status.DEGRADED
        assert away.what.startswith("民政: nothing listens at its address")
        assert away.what.endswith("police: has not dialled in")
        metrics = Metrics()
        metrics.peers(said, {"police": False})
        up = {sample.labels["peer"]: sample.value for sample in metrics._up.collect()[0].samples}
        assert up == {"tax": 1, "housing": 1, "民政": 0, "police": 0}
        peers.close()
    assert look_at_peers({"tax": said["tax"]}, {"police": True}) == ok("2 reached")
    assert look_at_clocks({}).status is Status.OK


def test_the_status_is_for_members_only(world):
    stranger = World()  # another root
    with serving(world) as (port, _):
        peers = Peers({"tax": f"127.0.0.1:{port}"}, stranger.identity("office"))
        assert isinstance(peers.ask()["tax"], PeerUnavailableError)
        peers.close()


def test_a_finding_is_one_line():
    assert str(Finding(Status.OK, "well")) == "well"
    assert str(failed("locked", "unlock it")) == "locked; unlock it"
