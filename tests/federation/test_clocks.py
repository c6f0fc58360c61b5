"""Parties whose clocks differ: up to five minutes everything works, beyond it the line says who and by how much."""

from datetime import timedelta

import pytest
from fakes.federation import COORDINATOR, Federation
from federation.test_approvals import OFTEN, POLICY, department

from veilmatch_coordinator.errors import NodeFailedError, WaitingForApprovalError
from veilmatch_evidence.replay import replay
from veilmatch_policy.clock import CLOCK_DIFFERENCE, utc_now

ALMOST = CLOCK_DIFFERENCE - timedelta(seconds=20)  # what the job itself takes does not count
BEYOND = CLOCK_DIFFERENCE + timedelta(minutes=2)


@pytest.fixture
def federation(tmp_path):
    departments = {name: department(name) for name in ("housing", "social", "tax")}
    with Federation(tmp_path, departments, officers=OFTEN) as made:
        yield made


def turn(federation, **ahead):
    """Let nodes' clocks be ahead of the coordinator's."""
    for name, difference in ahead.items():
        node = federation.nodes[name]
        node.clock = lambda difference=difference: utc_now() + difference
        node.crash()


@pytest.mark.parametrize("ahead", [ALMOST, -ALMOST], ids=["ahead", "behind"])
def test_within_five_minutes_a_job_runs_and_its_evidence_verifies(federation, ahead):
    """Recipient and tax bureau differ by nearly ten minutes from each other, and from the coordinator by five."""
    turn(federation, tax=ahead, social=-ahead)
    federation.link("oprf")
    with pytest.raises(WaitingForApprovalError):
        federation.run(POLICY)
    federation.decide(days=1)
    federation.run(POLICY)
    assert federation.eligible("aid") == sorted(f"p{n}" for n in range(50) if n % 10 < 8)
    [verified] = replay(federation.evidence)
    assert (verified.status, verified.approved) == ("complete", 3)


@pytest.mark.parametrize(
    ("ahead", "direction"), [(BEYOND, "behind"), (-BEYOND, "ahead of")], ids=["ahead", "behind"]
)
def test_beyond_five_minutes_the_node_and_the_difference_are_named(federation, ahead, direction):
    federation.link()
    turn(federation, tax=ahead)
    line = f"^tax: .*the coordinator's clock is 7 minutes {direction} this node's; set the one that is wrong"
    for action in (federation.link, lambda: federation.run(POLICY)):
        with pytest.raises(NodeFailedError, match=line):
            action()
    assert not federation.evidence.exists()
    turn(federation, tax=timedelta())
    federation.link()
    with pytest.raises(WaitingForApprovalError):
        federation.run(POLICY)


def test_an_approval_ends_by_the_clock_of_the_department_that_gave_it(federation):
    federation.link()
    with pytest.raises(WaitingForApprovalError):
        federation.run(POLICY)
    federation.decide(days=1)
    turn(federation, **dict.fromkeys(federation.nodes, timedelta(days=1) - ALMOST))
    with pytest.raises(NodeFailedError, match="clock"):  # a day is no difference between clocks
        federation.run(POLICY)
    turn(federation, **dict.fromkeys(federation.nodes, -ALMOST))
    federation.run(POLICY)
    [verified] = replay(federation.evidence)
    assert verified.status == "complete"
    assert COORDINATOR in verified.parties
