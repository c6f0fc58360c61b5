"""`veilmatch doctor` names what is wrong with a member's machine, and what to do, a line each."""

import json
import socket
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest import mock

import pytest
import tomli_w
from processes.small_world import write_departments

from veilmatch import federation as federation_module
from veilmatch.doctor import examine, machine
from veilmatch.federation import COORDINATOR, NodePlan, make_federation
from veilmatch.main import command_line
from veilmatch_crypto import LOOPBACK, IdentityKey, Validity, Vault, issue
from veilmatch_evidence.actions import Disclosed
from veilmatch_evidence.log import EvidenceLog
from veilmatch_node.store import NodeStore
from veilmatch_transport import RoleGate, Server, TlsIdentity, checks, server_name, status
from veilmatch_transport.settings import Federation, read_directory


class Homes:
    """A federation on disk whose members were started once and do not run; the coordinator's address is free."""

    def __init__(self, folder):
        self.folder = folder / "federation"
        departments = write_departments(folder / "departments")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        plans = {name: NodePlan(departments / name, None, {}) for name in ("police", "social", "tax")}
        plans["tax"] = NodePlan(departments / "tax", "127.0.0.1:1", {})
        made, make_root = [], federation_module.make_root
        with mock.patch.object(
            federation_module, "make_root", lambda *given: made.append(make_root(*given)) or made[0]
        ):
            make_federation(self.folder, folder / "out", plans, self.address, workers=1)
        self.root = made[0]
        self.home = self.folder / "tax"
        NodeStore(self.home / "state.sqlite", self.vault()).close()
        log = EvidenceLog(self.home / "evidence.log", "tax", self.identity())
        for _ in range(3):
            log.append(Disclosed())
        log.close()

    def vault(self):
        return Vault(bytes.fromhex((self.home / "store.key").read_text()))

    def identity(self):
        return IdentityKey.from_bytes(bytes.fromhex((self.home / "identity.key").read_text()))

    def configure(self, name="tax", **settings):
        path = self.folder / name / "config.toml"
        path.write_text(tomli_w.dumps(tomllib.loads(path.read_text()) | settings))

    def lines(self, name="tax"):
        """What the doctor says of a member, by check."""
        return {line.check: str(line) for line in examine(self.folder / name / "config.toml")}

    def tls(self, name):
        return TlsIdentity(
            *(
                p.read_bytes()
                for p in (
                    self.folder / "root.pem",
                    *(self.folder / name / f"node.{e}" for e in ("pem", "key")),
                )
            )
        )

    def directory(self):
        settings = tomllib.loads((self.folder / "tax" / "config.toml").read_text())["federation"]
        return read_directory(Federation.model_validate(settings), oldest=1)

    @contextmanager
    def coordinator(self, *, ahead=0.0, version=1, tls=None):
        """Serve the coordinator's status, and nothing else, at its address."""
        directory = self.directory()
        server = Server(tls or self.tls(COORDINATOR), RoleGate(directory.federation, directory, status.ROLES))

        def clock():
            return datetime.now(UTC) + timedelta(seconds=ahead)

        server.add(status.SERVICE, status.register("coordinator", SimpleNamespace(version=version), clock))
        server.start(self.address)
        try:
            yield
        finally:
            server.stop(0)


@pytest.fixture
def homes(tmp_path):
    return Homes(tmp_path)


def test_a_member_that_is_well(homes):
    with homes.coordinator():
        lines = homes.lines()
    words = {check: line.split(":")[0] for check, line in lines.items()}
    # A local federation's certificates last a day.
    assert {check for check, word in words.items() if word != "ok"} == {
        "certificate",
        f"certificate of {COORDINATOR}",
    }
    assert list(lines) == [
        "configuration",
        *(f"keys.{use}" for use in ("identity", "sealing", "store", "officer")),
        "tls.key",
        "certificate",
        "directory",
        "own entry",
        "store",
        "log",
        "disk",
        "open files",
        f"peer {COORDINATOR}",
        f"clock of {COORDINATOR}",
        f"certificate of {COORDINATOR}",
    ]
    assert lines["log"] == "ok: log: 3 records, unbroken"
    assert lines["directory"] == "ok: directory: version 1 of local, 5 members"


def test_the_coordinator_looks_at_every_node(homes):
    lines = homes.lines(COORDINATOR)
    assert lines["peer tax"].startswith("failed: peer tax: tax: nothing listens at its address; start it")
    assert lines["peer police"].startswith("ok: peer police: dials in")
    assert lines["store"].startswith("warning: store: ")
    assert "is not there yet; start the service once" in lines["log"]


def test_an_operator(homes):
    settings = tomllib.loads((homes.folder / COORDINATOR / "config.toml").read_text())
    path = homes.folder / "operator" / "config.toml"
    path.write_text(
        tomli_w.dumps({"name": "operator", "federation": settings["federation"], "tls": settings["tls"]})
    )
    with homes.coordinator():
        lines = homes.lines("operator")
    assert "valid file of an operator" in lines["configuration"]
    assert lines["own entry"].startswith("ok")
    assert lines[f"peer {COORDINATOR}"].startswith("ok")
    assert "store" not in lines


def chmod(name):
    return lambda homes: (homes.home / name).chmod(0o644)


def write(name, data):
    return lambda homes: (homes.home / name).write_bytes(data)


def expire(homes):
    now = datetime.now(UTC)
    past = Validity(now - timedelta(days=2), now - timedelta(days=1))
    made = issue(homes.root, "tax", hosts=[*LOOPBACK, server_name("tax")], validity=past)
    (homes.home / "node.pem").write_bytes(made.certificate)
    (homes.home / "node.key").write_bytes(made.key)


def renew(homes):
    """A certificate that the directory does not list yet."""
    made = issue(homes.root, "tax", hosts=[*LOOPBACK, server_name("tax")], validity=Validity.for_days(1))
    (homes.home / "node.pem").write_bytes(made.certificate)
    (homes.home / "node.key").write_bytes(made.key)


def mark(homes):
    with closing(sqlite3.connect(homes.home / "state.sqlite")) as store:
        store.execute("UPDATE alembic_version SET version_num = '9999'")
        store.commit()


def change_log(homes):
    path = homes.home / "evidence.log"
    first, _, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + third)


@pytest.mark.parametrize(
    ("break_it", "check", "said"),
    [
        (
            lambda h: h.configure(lisen="x"),
            "configuration",
            "lisen: Extra inputs are not permitted; see docs",
        ),
        (write("config.toml", b"name ="), "configuration", "is not TOML"),
        (lambda h: (h.home / "config.toml").unlink(), "configuration", "cannot be read (No such file"),
        (chmod("identity.key"), "keys.identity", "others can read this key; run chmod 600 on it"),
        (chmod("store.key"), "keys.store", "others can read this key; run chmod 600 on it"),
        (lambda h: (h.home / "sealing.key").unlink(), "keys.sealing", "cannot be read (No such file"),
        (write("identity.key", b"00"), "keys.identity", "is not a key of 32 bytes in hex; restore it"),
        (chmod("node.key"), "tls.key", "others can read this key; run chmod 600 on it"),
        (expire, "certificate", "ask the root for a new one"),
        (write("node.pem", b"no certificate"), "certificate", "is no PEM certificate; restore it"),
        (renew, "own entry", "the directory lists no node of this name with this certificate; check name"),
        (write("identity.key", b"11" * 32), "own entry", "is not the key that the directory lists"),
        (
            lambda h: (h.folder / "federation.toml.sig").write_text("00" * 64),
            "directory",
            "not signed by the federation's root; get federation.toml",
        ),
        (chmod("state.sqlite"), "store", "others can read it; run chmod 600 on"),
        (write("state.sqlite", b"this is none" * 99), "store", "its integrity check fails; stop the service"),
        (mark, "store", "the store is of another release; start the service of this release once"),
        (change_log, "log", "record 2 does not continue the one before it; keep the file"),
        (lambda _: None, f"peer {COORDINATOR}", "nothing listens at its address; start it or correct"),
    ],
)
def test_each_check_that_fails(homes, break_it, check, said):
    break_it(homes)
    line = homes.lines()[check]
    assert line.startswith(f"failed: {check}: ")
    assert said in line
    assert "\n" not in line


def test_a_store_that_another_program_holds(homes, monkeypatch):
    with closing(sqlite3.connect(homes.home / "state.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        line = homes.lines()["store"]
    assert line.startswith("failed: store: ")
    assert "is locked by another program for too long; find out what has it open" in line


def test_disks_and_open_files(homes, monkeypatch):
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _path: SimpleNamespace(free=1 << 20))
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _which: (100, 100))
    lines = homes.lines()
    assert lines["disk"].startswith("failed: disk: 1 MiB free at ")
    assert lines["open files"] == (
        "failed: open files: at most 100, a service needs 256; raise LimitNOFILE in the service's unit, or ulimit -n"
    )
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _which: (512, 512))
    assert homes.lines()["open files"].startswith("warning: open files: at most 512 here; raise")


def test_a_database_that_cannot_be_reached(homes):
    settings = tomllib.loads((homes.home / "config.toml").read_text())
    settings["data"]["databases"] = {"main": "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"}
    homes.configure(data=settings["data"])
    line = homes.lines()["database main"]
    assert line.startswith("failed: database main: ")
    assert "cannot be reached" in line
    assert "nobody" not in line


@pytest.mark.parametrize(
    ("coordinator", "check", "said"),
    [
        ({"ahead": -100.0}, f"clock of {COORDINATOR}", "warning: clock of coordinator: 100."),
        ({"version": 2}, f"peer {COORDINATOR}", "ours is version 1: bring both to the newest"),
        ({"tls": "police"}, f"peer {COORDINATOR}", "the certificate at its address is another member's"),
    ],
)
def test_a_coordinator_that_is_not_as_it_should_be(homes, coordinator, check, said):
    if "tls" in coordinator:
        coordinator = {"tls": homes.tls(coordinator["tls"])}
    with homes.coordinator(**coordinator):
        assert said in homes.lines()[check]


def test_a_coordinator_with_a_certificate_that_the_directory_does_not_list(homes):
    made = issue(
        homes.root, COORDINATOR, hosts=[*LOOPBACK, server_name(COORDINATOR)], validity=Validity.for_days(1)
    )
    tls = TlsIdentity((homes.folder / "root.pem").read_bytes(), made.certificate, made.key)
    with homes.coordinator(tls=tls):
        line = homes.lines()[f"certificate of {COORDINATOR}"]
    assert line.startswith(f"failed: certificate of {COORDINATOR}: is not the one that the directory lists")


def test_the_command_ends_with_7_where_something_failed(homes, capsys):
    config = homes.home / "config.toml"
    command = [sys.executable, "-m", "veilmatch", "doctor", "--config", config]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 7
    assert done.stderr == f"{config}: peer {COORDINATOR}: failed; do what the lines above say\n"
    assert "ok: keys.identity" in done.stdout
    with homes.coordinator():
        command_line()(["doctor", "--config", str(config), "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert {each["status"] for each in told} == {"ok", "warning"}
    assert told[0].keys() == {"check", "status", "what", "remedy"}
