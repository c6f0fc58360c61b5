"""Shows that a party killed in any named state comes back, and its job finishes or ends with a reason."""

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from fakes.federation import COORDINATOR, DEALER
from simulation.faults import FORGE, KILL, KILL_AFTER, Fault
from simulation.operations import Arm, Cancel, Link, Run, Simulation, Tally, Work
from simulation.people import Question, Spec

from veilmatch_coordinator import queue
from veilmatch_coordinator.states import ManifestState
from veilmatch_node.states import State

SPEC = Spec(3, 12, 2)
OFFICERS = Spec(3, 10, 7, runs=(6, 8))
LINEAR = Run(((Question("where", 0, (1, 2), 14),),))
CIRCUIT = Run(((Question("total", 0, (1, 2), 33),),))
FORGED = Arm(Fault(FORGE, "d1", "contribution"))

# Who is killed, what runs, and what becomes of the job where the state is on disk and nothing after it.
NODE = {
    State.STARTED: ("d1", (LINEAR,), "failed"),
    State.OPENING: ("d0", (LINEAR,), "complete"),
    State.DECIDING: ("d0", (CIRCUIT,), "failed"),
    State.DEALING: (DEALER, (CIRCUIT,), "failed"),
    State.DELIVERED: ("d0", (LINEAR,), "complete"),
    State.FAILED: ("d0", (FORGED, LINEAR), "failed"),
    State.CLOSED: ("d1", (LINEAR,), "complete"),
}
MANIFEST = {
    ManifestState.STARTED: ((LINEAR,), "failed"),
    ManifestState.CLOSING: ((LINEAR,), "failed"),
    ManifestState.CLOSED: ((LINEAR,), "failed"),
}
QUEUE = {
    queue.State.QUEUED: (SPEC, (LINEAR,), "complete"),
    queue.State.WAITING: (OFFICERS, (LINEAR,), "waiting"),
    queue.State.RUNNING: (SPEC, (LINEAR,), "failed"),
    queue.State.COMPLETE: (SPEC, (LINEAR,), "complete"),
    queue.State.FAILED: (SPEC, (FORGED, LINEAR), "failed"),
    queue.State.CANCELLED: (OFFICERS, (LINEAR, Cancel()), "cancelled"),
}
WHEN = (KILL_AFTER, pytest.param(KILL, marks=pytest.mark.campaign))


@pytest.fixture
def killed(world_of_its_own, linked, tmp_path):
    """Kill a party at a step of what runs, let all come back; what became of the job."""

    def killing(spec, kind, party, step, operations):
        simulation = Simulation(tmp_path, spec, linked(spec))
        try:
            simulation.do(Arm(Fault(kind, party, step)))
            for operation in operations:
                simulation.do(operation)
            assert simulation.happened[kind] == 1, simulation.world.office.process.steps
            simulation.do(Work())
            ended = [job.submission.state.value for job in simulation.world.jobs.values()]
            simulation.end()
        finally:
            simulation.close()
        return ended

    return killing


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("state", State)
def test_a_node_killed_as_its_manifest_is(killed, state, when):
    party, operations, becomes = NODE[state]
    ended = killed(SPEC, when, party, f"jobs:{state}", operations)
    assert ended == [becomes] or when == KILL


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("state", ManifestState)
def test_a_coordinator_killed_as_its_manifest_is(killed, state, when):
    operations, becomes = MANIFEST[state]
    ended = killed(SPEC, when, COORDINATOR, f"jobs:{state}", operations)
    assert ended == [becomes] or when == KILL


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("state", queue.State)
def test_a_coordinator_killed_as_a_submission_is(killed, state, when):
    spec, operations, becomes = QUEUE[state]
    ended = killed(spec, when, COORDINATOR, f"submissions:{state}", operations)
    assert ended == [becomes] or when == KILL


HOMES = Run(((Question("total", 0, (1, 2), 60, homes=True),),))
COUNT = Run(((Question("count", 0, (1, 2), 33),),))
EVERY_STEP = {
    "shared keys": Link(),
    "OPRF": Link("oprf"),
    "linear": LINEAR,
    "households": HOMES,
    "count": COUNT,
}
_AGAIN = 4  # the first times that a step is taken; later ones are like them


@pytest.mark.campaign
@pytest.mark.parametrize("what", EVERY_STEP)
def test_a_party_killed_at_any_step_of(world_of_its_own, linked, what):
    """Every transaction, record, file and message of an undisturbed run, killed before it has its effect."""
    operation, tally = EVERY_STEP[what], Tally()

    def run(fault=None):
        home = Path(tempfile.mkdtemp(prefix="simulated-"))
        simulation = Simulation(home, SPEC, linked(SPEC), tally)
        try:
            before = {party: len(lives[-1].steps) for party, lives in simulation.world.lives.items()}
            if fault is not None:
                simulation.do(Arm(fault))
            simulation.do(operation)
            simulation.do(Work())
            steps = {
                party: lives[-1].steps[before[party] :] for party, lives in simulation.world.lives.items()
            }
            if fault is not None:
                simulation.do(Link())
                simulation.do(LINEAR)
            simulation.end()
        finally:
            simulation.close()
            shutil.rmtree(home)
        return steps

    kills = [
        Fault(KILL, party, step, nth)
        for party, steps in run().items()
        for step, count in Counter(steps).items()
        for nth in range(1, min(count, _AGAIN) + 1)
    ]
    violated = []
    for fault in kills:
        try:
            run(fault)
        except AssertionError as error:
            violated.append(f"{fault}: {error}")
    print(tally)  # noqa: T201  the figure that docs/reliability.md quotes
    assert not violated, "\n".join(violated)
    assert tally.faulted > len(kills) * 0.9  # two threads may take their steps in another order
