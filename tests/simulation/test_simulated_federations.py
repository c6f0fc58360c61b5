"""Shows that federations, whatever goes wrong in them, give the plain answer or fail in words, and lose nothing."""

import shutil
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from simulation import generation
from simulation.operations import Arm, Crash, Simulation, Tally, Work

FEDERATIONS = 50  # of `make test`
BATCHES = 5
CAMPAIGN = 500  # of `make campaign`
# A federation is a seed: chance is fairer to rare faults than Hypothesis, which begins with what is simple.
SEEDS = st.integers(0, 2**64 - 1)
# A failure says by itself how to repeat it; to shrink it would run hundreds of federations.
SETTINGS = settings(
    phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck), print_blob=False
)


def machine(tally: Tally, linked, batch: str, most_jobs: int) -> type[RuleBasedStateMachine]:
    """Federations whose every operation is counted; a few jobs each."""

    class Federation(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.simulation = None
            self.jobs = 0

        @initialize(seed=SEEDS)
        def begin(self, seed):
            chance = Random(f"{batch} {seed}")
            self.spec = generation.spec(chance)
            self.home = Path(tempfile.mkdtemp(prefix="simulated-"))
            self.simulation = Simulation(self.home, self.spec, linked(self.spec), tally)
            if chance.random() < 0.2:
                self.do(Arm(generation.linkage_fault(chance, self.spec)), generation.link(chance))
            jobs = generation.run(chance, self.spec)
            fault = Arm(generation.job_fault(chance, jobs.jobs[0][0]))
            if self.spec.runs is None:
                self.do(fault, jobs)
            else:  # the first try only asks the officers
                self.do(jobs, fault, *generation.approvals(self.spec))
            self.jobs += 1
            if not self.simulation.happened:  # what was armed met nothing of its kind
                self.do(Crash(chance.choice(self.spec.names)))

        @precondition(lambda self: self.jobs < most_jobs)
        @rule(seed=SEEDS)
        def run(self, seed):
            chance = Random(f"{batch} {seed}")
            jobs = generation.run(chance, self.spec)
            if chance.random() < 0.7:
                self.do(Arm(generation.job_fault(chance, jobs.jobs[0][0])))
            self.do(jobs)
            self.jobs += 1

        @precondition(lambda self: self.jobs < most_jobs)
        @rule(seed=SEEDS)
        def link(self, seed):
            chance = Random(f"{batch} {seed}")
            if chance.random() < 0.7:
                self.do(Arm(generation.linkage_fault(chance, self.spec)))
            self.do(generation.link(chance))
            self.jobs += 1

        @rule(seed=SEEDS)
        def event(self, seed):
            self.do(generation.event(Random(f"{batch} {seed}"), self.spec))

        @precondition(lambda self: self.spec.runs is not None)
        @rule(seed=SEEDS)
        def decide(self, seed):
            self.do(generation.decision(Random(f"{batch} {seed}"), self.spec))

        @rule()
        def work(self):
            self.do(*(generation.approvals(self.spec) if self.spec.runs is not None else [Work()]))

        def do(self, *operations):
            for operation in operations:
                self.simulation.do(operation)

        def teardown(self):
            if self.simulation is not None:
                try:
                    if not self.simulation.violated:
                        self.simulation.end()
                finally:
                    self.simulation.close()
                    shutil.rmtree(self.home, ignore_errors=True)

    return Federation


def simulate(linked, batch: str, federations: int, steps: int, most_jobs: int) -> Tally:
    tally = Tally()
    run_state_machine_as_test(
        machine(tally, linked, batch, most_jobs),
        settings=settings(SETTINGS, max_examples=federations, stateful_step_count=steps),
    )
    print(tally)  # noqa: T201  the figure that docs/reliability.md quotes
    assert tally.faulted == tally.federations >= federations
    return tally


@pytest.mark.parametrize("batch", range(BATCHES))
def test_federations_give_the_plain_answer_or_fail_in_words(world_of_its_own, linked, batch):
    tally = simulate(linked, f"test {batch}", FEDERATIONS // BATCHES, steps=1, most_jobs=2)
    assert tally.ends["complete"] >= 2  # it is not that everything fails
    assert tally.compared >= 5
    assert tally.verified >= 5


@pytest.mark.campaign
@pytest.mark.parametrize("batch", range(CAMPAIGN // 25))
def test_hundreds_of_federations_give_the_plain_answer_or_fail_in_words(world_of_its_own, linked, batch):
    tally = simulate(linked, f"campaign {batch}", 25, steps=8, most_jobs=4)
    assert tally.ends["complete"] >= 10
