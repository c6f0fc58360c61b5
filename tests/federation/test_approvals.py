"""Nothing is evaluated without an officer's approval; every reason to refuse has its name."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from fakes.federation import Federation, Given, csv_text, tap_on
from federation.attacked_world import ActiveCoordinator, led, refusal

from veilmatch_coordinator.errors import JobError, NodeFailedError, WaitingForApprovalError
from veilmatch_crypto import IdentityKey
from veilmatch_evidence.replay import replay
from veilmatch_node.rights import Rules
from veilmatch_policy.approvals import Decision, new_name, sign_decision
from veilmatch_policy.errors import ApprovalError

CATALOG = """
department: {name}
tables:
  people:
    source: people.csv
    id: number
    identifier: opaque
    columns:
      v_{name}: {{type: integer, release: {release}, missing: 0, purposes: [relief, tax]}}
"""
POLICY = """
policy: aid
recipient: social
purpose: {code: relief}
parameters: {line: {value: 8, allow: [5, 9]}}
conditions:
  rent: {department: housing, where: "v_housing < 8"}
  wage: {department: tax, where: "v_tax < :line"}
"""
JOB = "a" * 32
OFTEN = Rules(runs_an_epoch=100, runs_a_year=100)


def department(name, release="approval"):
    rows = [(f"p{number}", str(number % 10)) for number in range(50)]
    return Given(
        CATALOG.format(name=name, release=release), {"people.csv": csv_text(("number", f"v_{name}"), rows)}
    )


@pytest.fixture
def federation(tmp_path):
    departments = {name: department(name) for name in ("social", "tax")}
    departments["housing"] = department("housing", "open")
    with Federation(tmp_path, departments, officers=OFTEN) as made:
        made.link()
        yield made


def waits(federation, *names, policy=POLICY):
    """The policy waits for these departments' officers."""
    with pytest.raises(WaitingForApprovalError) as caught:
        federation.run(policy)
    assert caught.value.departments == names


def rules(node):
    """By which rules a node refused, in their order."""
    return [record.body["rule"] for record in node.log.records() if record.body["action"] == "refused"]


def asked(node):
    """What waits at a node, alone."""
    [waiting] = node.desk.waiting()
    return waiting


def signed(node, *, officer=None, runs=5, days=30, ahead=0, **changes):
    """A signed approval of what waits at a node, with fields of the request changed; ``ahead`` minutes in future."""
    now = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=ahead)
    decision = Decision(
        kind="approve",
        name=new_name(),
        request=asked(node).request.model_copy(update=changes),
        decided=now,
        by="officer",
        expires=now + timedelta(days=days),
        runs=runs,
    )
    return sign_decision(decision, officer or node.keys.officer)


def test_a_policy_waits_for_the_officers_whose_columns_are_not_open_and_then_runs(federation):
    waits(federation, "social", "tax")
    tax, housing = federation.nodes["tax"], federation.nodes["housing"]
    assert rules(tax) == ["no-approval"]
    assert housing.desk.waiting() == []  # what it is asked, its catalog calls open
    assert asked(tax).policy.name == "aid"
    assert asked(tax).request.participants == ("housing", "social", "tax")
    federation.decide("tax")
    waits(federation, "social")
    federation.decide("social")
    federation.run(POLICY)
    assert federation.eligible("aid") == sorted(f"p{n}" for n in range(50) if n % 10 < 8)
    [held] = tax.desk.decisions()
    assert (held.used, held.state) == (1, "valid")
    [verified] = replay(federation.evidence)
    assert (verified.trust, verified.status, verified.approved, verified.unapproved) == (
        "federation",
        "complete",
        2,
        1,
    )
    kept = json.loads((verified.folder / "approvals.json").read_text())
    assert {each["department"] for each in kept} == {"social", "tax"}


def test_an_officer_reads_what_other_officers_decided(federation):
    waits(federation, "social", "tax")
    federation.decide("tax")
    for _ in range(2):  # the first try brings the approval to the coordinator, the second to the others
        with pytest.raises(WaitingForApprovalError):
            federation.run(POLICY, job=JOB)
    [other] = asked(federation.nodes["social"]).others
    assert (other.decision.request.department, other.decision.kind) == ("tax", "approve")


def test_what_is_said_beside_the_policy_changes_no_approval_and_one_byte_of_it_does(federation):
    waits(federation, "social", "tax")
    federation.decide()
    federation.run("# as decreed\ntitle: Aid\n" + POLICY)
    federation.run(POLICY.replace("value: 8", "value: 6"))
    waits(federation, "social", "tax", policy=POLICY.replace("v_housing < 8", "v_housing < 7"))
    waits(federation, "social", "tax", policy=POLICY.replace("[5, 9]", "[5, 8]"))
    assert rules(federation.nodes["tax"]) == ["no-approval", "policy-changed", "policy-changed"]


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("recipient", {"recipient": "housing"}),
        ("purpose", {"purpose": "tax"}),
        ("reveal", {"reveal": "count"}),
        ("participants", {"participants": ("social", "tax")}),
        ("dealers", {"dealers": ("housing",)}),
        ("linkage", {"linkage": "oprf"}),
        ("slots", {"slots": "register"}),
        ("policy-changed", {"content": "0" * 64}),
        ("catalog-changed", {"catalog": "0" * 64}),
        ("expired", {"days": -1}),
    ],
)
def test_an_approval_of_anything_else_does_not_do(federation, rule, changes):
    waits(federation, "social", "tax")
    tax = federation.nodes["tax"]
    tax.desk.take(signed(tax, **changes).encode())
    federation.decide("social")
    waits(federation, "tax")
    assert rules(tax) == ["no-approval", rule]


def test_approved_runs_are_counted_and_an_approval_that_is_replayed_gives_none(federation):
    waits(federation, "social", "tax")
    tax = federation.nodes["tax"]
    federation.decide("social")
    once = tax.desk.take(signed(tax, runs=1).encode())
    federation.run(POLICY)
    waits(federation, "tax")
    tax.desk.take(once.encode())
    waits(federation, "tax")
    assert rules(tax)[1:] == ["runs-spent"]  # asked once, refused twice, on record once
    assert [held.state for held in tax.desk.decisions()] == ["spent"]


def test_a_catalog_that_changed_since_the_approval(federation):
    waits(federation, "social", "tax")
    federation.decide()
    tax = federation.nodes["tax"]
    catalog = (tax.folder / "catalog.yaml").read_text()
    (tax.folder / "catalog.yaml").write_text(catalog.replace("missing: 0", "missing: 9"))
    tax.crash()
    waits(federation, "tax")
    assert rules(tax)[-1] == "catalog-changed"


def test_a_decision_of_another_officer_department_or_federation_is_not_taken(federation, tmp_path):
    waits(federation, "social", "tax")
    tax, social = federation.nodes["tax"], federation.nodes["social"]
    for file, match in (
        (signed(tax, officer=social.keys.officer), "not signed by the officer of tax"),
        (signed(social), "is of social, not of tax"),
        (signed(tax, federation="0" * 64), "another federation"),
        (signed(tax, ahead=10), "a later time than now"),
    ):
        with pytest.raises(ApprovalError, match=match):
            tax.desk.take(file.encode())
    expires = datetime.now(UTC) + timedelta(days=1)
    with pytest.raises(ApprovalError, match="another key than the officer's"):
        tax.desk.approve(asked(tax).digest, social.keys.officer, runs=1, expires=expires)
    assert tax.desk.decisions() == []


def test_a_refusal_ends_the_job_with_its_reason(federation):
    waits(federation, "social", "tax")
    tax = federation.nodes["tax"]
    tax.desk.refuse(asked(tax).digest, tax.keys.officer, reason="no law says so")
    with pytest.raises(NodeFailedError, match=r"tax refused it \(no law says so\)"):
        federation.run(POLICY)
    assert rules(tax)[-1] == "refused-by-officer"
    assert asked(tax).policy.name == "aid"  # it was asked again: the officer may think better of it


def test_a_revocation_works_at_once(federation):
    waits(federation, "social", "tax")
    federation.decide()
    tax = federation.nodes["tax"]
    with led(federation, POLICY) as office:
        office.ask_all()
        digest = office.accept_all()
        [held] = tax.desk.decisions()
        tax.desk.revoke(held.signed.digest, tax.keys.officer, reason="asked for too much")
        with refusal("was revoked while the job ran"):
            office.contributed("tax", digest)
    with pytest.raises(NodeFailedError, match="its approval was revoked"):
        federation.run(POLICY)
    assert rules(tax)[-2:] == ["revoked", "revoked"]


def test_a_revocation_between_two_chunks_stops_the_second(federation, monkeypatch):
    monkeypatch.setattr("veilmatch_coordinator.drafting.CHUNK_CIPHERTEXTS", 1)
    waits(federation, "social", "tax")
    federation.decide()
    tax = federation.nodes["tax"]

    def revoke(passing):
        if passing.content.chunk == 0:
            held = next(each for each in tax.desk.decisions() if each.decision.kind == "approve")
            tax.desk.revoke(held.signed.digest, tax.keys.officer, reason="stop")

    with (
        federation.tapped(tap_on("contribution", revoke, node="tax")),
        pytest.raises(NodeFailedError, match="tax"),
    ):
        federation.run(POLICY)
    assert len(federation.network.sent("contribution", node="tax")) == 1


def test_a_count_without_noise_is_refused_where_the_office_may_ask_anything(tmp_path):
    departments = {name: department(name) for name in ("housing", "social", "tax")}
    with Federation(tmp_path, departments, officers=OFTEN, dealer=True) as federation:
        federation.link()
        with pytest.raises(NodeFailedError, match="counts without noise"):
            federation.run(POLICY + "reveal: count\n")
        federation.network.wait()
        assert "exact-count" in [rule for name in departments for rule in rules(federation.nodes[name])]


def test_who_has_a_row_at_all_is_no_open_column(federation):
    """`count(*)` reads none, and would tell who is in a department whose columns are all open, or none is."""
    housing = federation.nodes["housing"]
    many = (
        (housing.folder / "catalog.yaml")
        .read_text()
        .replace("    id: number", "    rows: many\n    id: number")
    )
    (housing.folder / "catalog.yaml").write_text(many)
    housing.crash()
    waits(federation, "housing", "social", "tax", policy=POLICY.replace("v_housing < 8", "count(*) > 0"))
    waits(
        federation,
        "housing",
        "social",
        "tax",
        policy=POLICY.replace("v_housing < 8", "max(v_housing) < count(*)"),
    )
    line = housing.desk.uses_up(housing.desk.waiting()[-1])[0]
    assert (line.what, line.units) == ("people.*", 1)


def test_of_two_decisions_the_one_that_was_signed_last_holds_however_it_came(federation):
    waits(federation, "social", "tax")
    tax = federation.nodes["tax"]
    held_back = signed(tax)
    tax.desk.refuse(asked(tax).digest, tax.keys.officer, reason="no law says so")
    tax.desk.take(held_back.encode())
    with pytest.raises(NodeFailedError, match="tax refused it"):
        federation.run(POLICY)


def test_what_an_officer_signed_whose_key_was_replaced_holds_no_more_and_the_desk_goes_on(federation):
    waits(federation, "social", "tax")
    federation.decide()
    tax, members = federation.nodes["tax"], dict(federation.directory.members)
    tax.keys = replace(tax.keys, officer=IdentityKey.generate())
    members["tax"] = members["tax"].model_copy(update={"officer": tax.keys.officer.public.hex()})
    tax.directory = replace(federation.directory, members=members)
    tax.crash()
    waits(federation, "tax")
    assert tax.desk.decisions() == []
    assert asked(tax).policy.name == "aid"
    federation.decide("tax")
    assert len(tax.desk.decisions()) == 1


def test_an_approval_that_is_spent_between_keys_and_manifest(federation):
    """Two jobs may pass the first gate together; the debit, on disk, is the second."""
    waits(federation, "social", "tax")
    federation.decide("social")
    tax = federation.nodes["tax"]
    tax.desk.take(signed(tax, runs=1).encode())
    with led(federation, POLICY) as office:
        other = ActiveCoordinator(federation, office.conversation, POLICY)
        for each in (office, other):
            each.ask_all()
        other.accept_all()
        with refusal("approved run is used up"):
            office.accept_all()
    assert rules(tax)[-1] == "runs-spent"


def test_an_approval_that_is_not_the_nodes_own_is_not_believed_by_the_coordinator(federation):
    waits(federation, "social", "tax")
    federation.decide()

    def anothers(passing):
        if passing.content.approvals:
            social = federation.nodes["social"].desk.decisions()[0].signed
            passing.content.approvals[0].statement = social.statement
            passing.content.approvals[0].signature = social.signature

    with (
        federation.tapped(tap_on("job_keys", anothers, node="tax")),
        pytest.raises(JobError, match="another department's"),
    ):
        federation.run(POLICY)


def test_a_refusal_between_keys_and_manifest_stops_the_job(federation):
    waits(federation, "social", "tax")
    federation.decide()
    tax = federation.nodes["tax"]
    with led(federation, POLICY) as office:
        office.ask_all()
        [held] = tax.desk.decisions()
        refusal_of = Decision(
            kind="refuse",
            name=new_name(),
            request=held.decision.request,
            decided=datetime.now(UTC),
            by="officer",
            reason="thought better of it",
        )
        tax.desk.take(sign_decision(refusal_of, tax.keys.officer).encode())
        with refusal("was refused since it was approved"):
            office.accept_all()


def test_a_desk_that_is_full_takes_no_more_requests(federation, monkeypatch):
    monkeypatch.setattr("veilmatch_node.store.desk_requests.MOST_REQUESTS", 1)
    waits(federation, "social", "tax")
    with pytest.raises(NodeFailedError, match="1 requests were made already"):
        federation.run(POLICY.replace("v_housing < 8", "v_housing < 7"))
    waits(federation, "social", "tax")  # what is on the desk stays there
    assert "desk-full" in rules(federation.nodes["tax"]) + rules(federation.nodes["social"])
