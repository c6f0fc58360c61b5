"""A running job that is cancelled at any step ends, has no result, and is erased at every party."""

import os
import threading

import pytest
from fakes.federation import KEY_BITS, OPERATOR, Federation, Given, csv_text
from sqlalchemy import text

from veilmatch_coordinator.control import Control
from veilmatch_coordinator.errors import JobError

CATALOG = """
department: {name}
tables:
  people:
    source: people.csv
    id: number
    identifier: opaque
    columns:
      v_{name}: {{type: integer, release: open, missing: 0, range: [0, 100]}}
"""
POLICY = """
policy: aid
recipient: tax
conditions:
  rent: {department: housing, where: "v_housing < 8"}
  both: {total: {housing: v_housing, police: v_police}, below: 30}
"""
ROWS = [(f"p{number}", str(number)) for number in range(20)]
# From the first question to the last answer, in the order of a job; `seeds` and `round` are of its circuit.
STEPS = ("declared", "job_keys", "accepted", "presented", "contribution", "opened", "seeds", "round")


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    departments = {
        name: Given(CATALOG.format(name=name), {"people.csv": csv_text(("number", f"v_{name}"), ROWS)})
        for name in ("housing", "police", "tax")
    }
    with Federation(tmp_path_factory.mktemp("cancelled"), departments, dealer=True) as federation:
        federation.link()
        yield federation


def run(federation, tap, control, job):
    with federation.tapped(tap):
        try:
            return federation.jobs.run(
                [POLICY.encode()], KEY_BITS, lambda *_: None, job=job, operator=OPERATOR, control=control
            )
        finally:
            federation.network.wait()


@pytest.mark.parametrize("step", STEPS)
def test_cancelled_at_a_step(federation, step):
    federation.network.passed.clear()
    asked, began = threading.Event(), threading.Event()
    control = Control(began.set)

    def cancel_at(passing):
        if passing.body == step and not asked.is_set():
            asked.set()
            # Beside the job, as an operator's call would come.
            cancelling = threading.Thread(target=control.cancel)
            cancelling.start()
            cancelling.join()
        return [passing.message]

    with pytest.raises(
        Exception, match=r"broken off|broke the stream off|told to end|ended before it was done"
    ):
        run(federation, cancel_at, control, os.urandom(16).hex())
    assert asked.is_set()
    assert began.is_set() == (step not in STEPS[:2])
    assert not (federation.out / "aid").exists()
    delivered = {passing.node for passing in federation.network.sent("manifest")}
    assert {passing.node for passing in federation.network.sent("close")} == delivered
    assert bool(delivered) == began.is_set()
    for name in federation.nodes:
        with federation.nodes[name].store._engine.begin() as connection:
            left = connection.execute(text("SELECT state, secrets, answers FROM jobs")).all()
            assert {tuple(row) for row in left} <= {("closed", None, None)}
            assert connection.execute(text("SELECT count(*) FROM chunks")).scalar() == 0


def test_a_manifest_that_is_being_delivered_is_not_broken_off_at_once():
    class Line:
        def __init__(self):
            self.broken = threading.Event()

        def abort(self):
            self.broken.set()

    control, line, next_line = Control(), Line(), Line()
    with control.over(line, grace=0.1):
        control.cancel()
        assert not line.broken.wait(0.03)
        assert line.broken.wait(3)
    control, line = Control(), Line()
    with control.over(line, grace=0.05):
        control.cancel()
    with pytest.raises(JobError, match="told to end"), control.over(next_line):
        pytest.fail("it began another conversation")
    assert not line.broken.wait(0.1)  # what ended in time is left alone
    assert not next_line.broken.is_set()


def test_a_job_that_is_cancelled_before_it_begins_asks_nobody(federation):
    federation.network.passed.clear()
    control = Control()
    control.cancel()
    with pytest.raises(Exception, match="told to end"):
        run(federation, lambda passing: [passing.message], control, os.urandom(16).hex())
    assert federation.network.passed == []


def test_after_all_this_the_policy_still_runs(federation):
    assert run(federation, lambda passing: [passing.message], Control(), os.urandom(16).hex()).results
    assert federation.eligible("aid") == sorted(f"p{number}" for number in range(8))
