"""The front desk says which policies used a person's row, and neither log nor store holds an identity for it."""

import io
import json
import sys
from pathlib import Path

import pytest
from cli.command_line import run_here
from fakes.federation import Federation, Given, csv_text

from veilmatch import show
from veilmatch_coordinator.errors import WaitingForApprovalError
from veilmatch_node.disclosures import Disclosures
from veilmatch_node.errors import DataError
from veilmatch_node.rights import Rules
from veilmatch_policy.catalog import load_catalog

CATALOG = """
department: {name}
tables:
  people:
    source: people.csv
    id: number
    identifier: {{scheme: text, normalise: [upper]}}
    columns:
      v_{name}: {{type: integer, release: {release}, missing: 0, purposes: [relief]}}
"""
POLICY = """
policy: aid
version: 3
recipient: social
purpose: {code: relief}
conditions:
  rent: {department: housing, where: "v_housing < 8"}
  wage: {department: tax, where: "v_tax < 8"}
"""
STORE_KEY = bytes([2]) * 32  # of the third department (fakes/federation.py)
EVERYWHERE, TAXED, HOUSED, LATER, NOWHERE = "P-000007", "P-TAXED7", "P-HOUSED7", "P-LATER77", "P-NOWHERE7"


def rows(*people):
    return csv_text(("number", "value"), [(person, str(place % 10)) for place, person in enumerate(people)])


def department(name, *more, release="approval"):
    people = [
        f"p-{number:06}" for number in range(20)
    ]  # its data is in small letters, the normal form is not
    text = rows(*people, *more).replace("value", f"v_{name}")
    return Given(CATALOG.format(name=name, release=release), {"people.csv": text})


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """One job for which two officers gave approvals; one person joined tax after the linkage."""
    departments = {
        "housing": department("housing", HOUSED, release="open"),
        "social": department("social"),
        "tax": department("tax", TAXED),
    }
    with Federation(tmp_path_factory.mktemp("disclosures"), departments, officers=Rules()) as made:
        made.link()
        (made.nodes["tax"].folder / "people.csv").write_text(
            department("tax", TAXED, LATER).files["people.csv"], encoding="utf-8"
        )
        with pytest.raises(WaitingForApprovalError):
            made.run(POLICY)
        made.decide(runs=5)
        made.run(POLICY)
        yield made


def answer(federation, name, identifier):
    node = federation.nodes[name]
    desk = Disclosures(
        name,
        catalog=load_catalog(node.folder / "catalog.yaml"),
        linkage=node.store,
        desk=node.store.desk,
        log=node.log,
    )
    return desk.of(identifier if isinstance(identifier, bytes) else identifier.encode())


def test_a_contributor_says_for_whom_what_by_which_approval_and_who_learns_it(federation):
    [use] = answer(federation, "tax", EVERYWHERE).uses
    [held] = federation.nodes["tax"].desk.decisions()
    assert (use.policy, use.version, use.recipient, use.purpose) == ("aid", 3, "social", "relief")
    assert (use.roles, use.columns, use.reveal) == (("contributor",), ("v_tax",), "members")
    assert (use.left, use.delivered, use.refused, use.closed) == (True, False, None, True)
    assert use.approval.digest == held.signed.digest.hex()
    assert (use.approval.run, use.approval.signed_by) == (1, "officer")
    assert use.approval.expires == held.decision.expires


def test_open_columns_have_no_approval_and_the_recipient_has_its_result(federation):
    [open_use] = answer(federation, "housing", EVERYWHERE).uses
    assert (open_use.columns, open_use.approval) == (("v_housing",), None)
    [asking] = answer(federation, "social", EVERYWHERE).uses
    assert (asking.roles, asking.columns) == (("recipient",), ())
    assert (asking.left, asking.delivered) == (True, True)


@pytest.mark.parametrize(
    ("person", "used"),
    [
        (EVERYWHERE, {"housing", "social", "tax"}),
        (TAXED, {"tax"}),
        (HOUSED, {"housing"}),
        (LATER, set()),  # it is in tax's table, and was when the job ran, but was not linked
        (NOWHERE, set()),
    ],
)
def test_each_department_answers_for_the_rows_that_were_linked_there(federation, person, used):
    assert {name for name in federation.nodes if answer(federation, name, person).uses} == used


def test_the_identifier_is_looked_up_in_its_normal_form(federation):
    assert answer(federation, "tax", EVERYWHERE.lower()).uses


def test_no_file_of_a_node_holds_an_identifier(federation):
    for name, node in federation.nodes.items():
        for person in (EVERYWHERE, TAXED, HOUSED, LATER, NOWHERE):
            answer(federation, name, person)
        files = [path for path in Path(node.disk).parent.glob(f"{node.disk.name}*") if path.is_file()]
        assert {f"{node.disk.name}{suffix}" for suffix in ("", "-wal", ".log")} <= {
            each.name for each in files
        }
        for path in files:
            held = path.read_bytes().upper()
            assert not any(person.encode() in held for person in (EVERYWHERE, TAXED, HOUSED, LATER, NOWHERE))
            assert b"P-0000" not in held


def test_of_the_question_the_log_keeps_that_one_was_answered(federation):
    before = list(federation.nodes["tax"].log.records())
    answer(federation, "tax", EVERYWHERE)
    answer(federation, "tax", NOWHERE)
    after = list(federation.nodes["tax"].log.records())[len(before) :]
    assert [record.body.keys() for record in after] == [{"time", "salt", "action"}] * 2
    assert {record.body["action"] for record in after} == {"disclosed"}


@pytest.mark.parametrize(("typed", "reason"), [(b"", "text: empty"), (b"\xff7", "not UTF-8")])
def test_a_refused_identifier_is_no_question(federation, typed, reason):
    log = federation.nodes["tax"].log
    before = log.head().sequence
    with pytest.raises(DataError, match=reason):
        answer(federation, "tax", typed)
    assert log.head().sequence == before


# The command, beside the running node.


@pytest.fixture
def config(federation, tmp_path):
    """The configuration file of tax's node."""
    node = federation.nodes["tax"]
    for name, key in (("identity", node.keys.identity.to_bytes()), ("store", STORE_KEY)):
        path = tmp_path / f"{name}.key"
        path.touch(mode=0o600)
        path.write_text(key.hex())
    written = tmp_path / "node.toml"
    written.write_text(f"""
name = "tax"
connect = true
store = "{node.disk}"
log = "{node.disk}.log"
reports = "reports"
results = "results"
federation = {{directory = "federation.toml", root = "{"00" * 32}"}}
tls = {{root = "root.pem", certificate = "tax.pem", key = "tax.key"}}
keys = {{identity = "identity.key", sealing = "sealing.key", store = "store.key"}}
data = {{folder = "{node.folder}"}}
""")
    return written


@pytest.fixture
def ask(config, capsys, monkeypatch):
    """Run the command with a line on standard input."""

    def asked(line, *options):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line)))
        return run_here(capsys, "node", "disclosures", "--config", config, *options)

    return asked


def test_the_command_prints_the_uses_and_since_when_the_log_knows(federation, ask, monkeypatch):
    monkeypatch.setattr(show.output, "_width", 120)
    [held] = federation.nodes["tax"].desk.decisions()
    ended = ask(EVERYWHERE.encode() + b"\r\n")
    assert (ended.code, ended.err) == (0, "")
    for said in (
        "aid, version 3",
        "for social",
        "purpose: relief",
        "v_tax",
        "(was asked)",
        held.signed.digest.hex()[:12],
        "officer of tax",
        f"until {held.decision.expires:%Y-%m-%d}",
        "encrypted answers left",
        "tax can say so since 2",
    ):
        assert said in ended.out
    assert EVERYWHERE not in ended.out


def test_nothing_was_used_is_an_answer_too(ask):
    ended = ask(LATER.encode())
    assert (ended.code, ended.err) == (0, "")
    first, since = ended.out.splitlines()
    assert first == "This person's row was not used by any policy"
    assert since.startswith("tax can say so since 2")


def test_json_has_the_same(federation, ask):
    told = json.loads(ask(EVERYWHERE.encode(), "--json").out)
    [use] = told["uses"]
    assert (told["department"], told["not_remembered"]) == ("tax", 0)
    assert (use["policy"], use["columns"], use["approval"]["run"]) == ("aid", ["v_tax"], 1)
    assert use["approval"]["expires"].endswith("+00:00")


def test_the_command_refuses_an_identifier_without_repeating_it(ask):
    ended = ask(b"\xffP-SECRET\n")
    assert ended.code == 4
    assert ended.line() == "identifier: is refused (not UTF-8); read it again from the document"
