"""The officer's command line beside the running node: list, show, approve, refuse, revoke, and signing elsewhere."""

import json
import tomllib

import pytest
import tomli_w
from cli.command_line import run_here
from fakes.federation import Federation, Given, csv_text

from veilmatch import show
from veilmatch_coordinator.errors import NodeFailedError, WaitingForApprovalError
from veilmatch_crypto import IdentityKey, Passphrase
from veilmatch_node.rights import Rules
from veilmatch_policy.approvals import decode_decision

CATALOG = """
department: {name}
tables:
  people:
    source: people.csv
    id: number
    identifier: opaque
    as_of: 2026-01-01
    columns: {{v_{name}: {{type: integer, missing: 0, title: Value, law: "Act s. 3"}}}}
"""
POLICY = """
policy: aid
title: Aid for tenants
recipient: social
conditions:
  rent: {department: housing, where: "v_housing < 8"}
  wage: {department: tax, where: "v_tax < 8"}
"""
PASSPHRASE = "correct horse battery staple"


def department(name):
    rows = [(f"p{number}", str(number)) for number in range(9)]
    return Given(CATALOG.format(name=name), {"people.csv": csv_text(("number", f"v_{name}"), rows)})


def private(path, data):
    path.touch(mode=0o600)
    path.write_text(data)
    return path


@pytest.fixture(scope="module")
def everybody(tmp_path_factory):
    departments = {name: department(name) for name in ("housing", "social", "tax")}
    with Federation(tmp_path_factory.mktemp("desk"), departments, officers=Rules(runs_an_epoch=9)) as made:
        made.link()
        yield made


@pytest.fixture(scope="module")
def locked(everybody):
    """The officer's key at rest: it is made to take its time."""
    return Passphrase(PASSPHRASE).lock("officer", everybody.nodes["tax"].keys.officer.to_bytes())


@pytest.fixture
def federation(everybody, monkeypatch):
    """A policy of its own waits for tax in each test."""
    monkeypatch.setattr(show.output, "_width", 200)
    monkeypatch.setenv("OFFICER", PASSPHRASE)
    everybody.policy = POLICY.replace(
        "v_housing < 8", f"v_housing < {100 + len(everybody.nodes['tax'].desk.decisions())}"
    )
    waits(everybody)
    everybody.decide("housing", "social")
    for _ in range(2):  # the coordinator hears of their approvals, and passes them on the next time
        waits(everybody)
    return everybody


def waits(federation):
    with pytest.raises(WaitingForApprovalError):
        federation.run(federation.policy, job="a" * 32)


@pytest.fixture
def desk(federation, locked, tmp_path, capsys):
    """Runs `veilmatch node approvals` at tax, whose store the node in this process holds open."""
    node, home = federation.nodes["tax"], tmp_path / "tax-node"
    home.mkdir()
    (home / "federation.toml").write_bytes(federation.directory.file)
    (home / "federation.toml.sig").write_text(federation.directory.signature.hex())
    private(home / "officer.key", locked)
    keys = {
        name: str(private(home / f"{name}.key", key.to_bytes().hex()))
        for name, key in (
            ("identity", node.keys.identity),
            ("sealing", node.keys.sealing),
            ("store", IdentityKey.generate()),
        )
    }
    settings = {
        "name": "tax",
        "listen": "127.0.0.1:1",
        "store": str(node.disk),
        "log": f"{node.disk}.log",
        "reports": "r",
        "results": "r",
        "federation": {"directory": "federation.toml", "root": federation.directory.root.hex()},
        "tls": {"root": "a", "certificate": "b", "key": "c"},
        "keys": keys,
        "data": {"folder": str(node.folder)},
    }
    config = home / "node.toml"
    config.write_text(tomli_w.dumps(settings))

    def run(command, *arguments, signs=False):
        more = ["--officer-key", home / "officer.key", "--unlock", "env:OFFICER"] if signs else []
        own = [] if command == "sign" else ["--config", config]
        return run_here(capsys, "node", "approvals", command, *arguments, *own, *more)

    run.config = config
    return run


def name_of(federation):
    waiting = federation.nodes["tax"].desk.waiting()
    return next(each.digest.hex() for each in waiting if each.policy.source == federation.policy.encode())


def test_an_officer_reads_approves_and_revokes(federation, desk):
    name = name_of(federation)[:8]
    listed = desk("list").out
    assert name in listed
    assert "aid, version 1, for social" in listed
    shown = desk("show", name)
    assert shown.code == 0
    for said in (
        "Aid for tenants",
        "v_tax (table people)",
        "describes 2026-01-01",
        "v_tax < 8",
        "social (recipient)",
        "housing: approved",
        "people.v_tax",
    ):
        assert said in shown.out, said
    ended = desk("approve", name, "--runs", "2", "--until", "2999-12-31", signs=True)
    assert (ended.code, ended.err.startswith("aid, version 1: approved until 2999-12-31, for 2 jobs")) == (
        0,
        True,
    )
    federation.run(federation.policy)
    listed = desk("list").out
    assert "valid, 1 of 2 runs used" in listed
    assert "columns people.v_tax, social: 1 of 12 gone in this year" in listed
    held = federation.nodes["tax"].desk.decisions()[0]
    assert desk("revoke", held.signed.digest.hex(), "--reason", "no law", signs=True).code == 0
    with pytest.raises(NodeFailedError, match="its approval was revoked"):
        federation.run(federation.policy)
    assert "revoked, 1 of 2 runs used" in desk("list").out


def test_a_refusal_says_why_and_a_wrong_passphrase_or_name_signs_nothing(federation, desk, monkeypatch):
    name = name_of(federation)
    assert "names 0 of what there is" in desk("approve", "ffff", signs=True).line()
    monkeypatch.setenv("OFFICER", "another passphrase")
    wrong = desk("approve", name, signs=True)
    assert wrong.code == 2
    assert PASSPHRASE not in wrong.line() + wrong.out
    assert name_of(federation) == name
    monkeypatch.setenv("OFFICER", PASSPHRASE)
    assert desk("refuse", name, "--reason", " ", signs=True).code == 5
    assert desk("refuse", name, "--reason", "no law says so", signs=True).code == 0
    with pytest.raises(NodeFailedError, match="no law says so"):
        federation.run(federation.policy)


def test_a_decision_is_signed_on_another_machine(federation, desk, tmp_path):
    asked, decided = tmp_path / "asked.json", tmp_path / "decided.json"
    assert desk("export", name_of(federation), "--out", asked).code == 0
    signed = desk("sign", asked, "--out", decided, "--runs", "1", signs=True)
    assert signed.code == 0
    assert "Aid for tenants" in signed.out
    assert decided.stat().st_mode & 0o777 == 0o600
    assert decode_decision(decided.read_bytes(), federation.directory).decision.runs == 1
    waits(federation)
    assert desk("import", decided).code == 0
    federation.run(federation.policy)
    changed = json.loads(asked.read_text())
    changed["policy"] = changed["policy"].replace("v_tax < 8", "v_tax < 9")
    asked.write_text(json.dumps(changed, sort_keys=True, separators=(",", ":"), ensure_ascii=False))
    assert (
        "holds another policy than it asks about" in desk("sign", asked, "--out", decided, signs=True).line()
    )
    asked.write_text("{}")
    assert "is not the file of a request" in desk("sign", asked, "--out", decided, signs=True).line()
    assert "is not the file of one" in desk("import", asked).line()


def test_the_check_of_a_policy_says_what_is_left(federation, desk, tmp_path, capsys):
    policy, departments = tmp_path / "aid.yaml", tmp_path / "departments"
    policy.write_text(POLICY)
    departments.mkdir()
    for name in ("housing", "social", "tax"):
        (departments / name).symlink_to(federation.nodes[name].folder)
    said = run_here(capsys, "policy", "check", policy, "--departments", departments, "--node", desk.config)
    assert said.code == 0
    assert "tax: 1 run of column people.v_tax and whatever has the same source, for social" in said.out
    assert "tax: columns people.v_tax, social: " in said.out
    assert "of 3 gone in this epoch, this takes 1" in said.out
    assert tomllib.loads(desk.config.read_text())["name"] == "tax"
