"""Shows that federations, whatever goes wrong in them, give the plain answer or fail in words, and lose nothing."""

import shutil
import tempfile
from pathlib import Path

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
from simulation.operations import Arm, Simulation, Tally, Work

FEDERATIONS = 50  # of `make test`
CAMPAIGN = 500  # of `make campaign`
# A failure says by itself how to repeat it; to shrink it would run hundreds of federations.
SETTINGS = settings(
    phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck), print_blob=False
)


def machine(tally: Tally, linked, most_jobs: int) -> type[RuleBasedStateMachine]:
    """Federations whose every operation is counted; a few jobs each."""

    class Federation(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.simulation = None
            self.jobs = 0

        @initialize(data=st.data(), officers=st.sampled_from((False, False, False, True)))
        def begin(self, data, officers):
            self.spec = data.draw(st.sampled_from(generation.OFFICERS if officers else generation.SHAPES))
            self.home = Path(tempfile.mkdtemp(prefix="simulated-"))
            self.simulation = Simulation(self.home, self.spec, linked(self.spec), tally)
            self.run(data)

        @precondition(lambda self: self.jobs < most_jobs)
        @rule(data=st.data())
        def run(self, data):
            jobs = data.draw(generation.run(self.spec))
            if not self.jobs or data.draw(st.booleans()):
                self.simulation.do(Arm(data.draw(generation.fault(self.spec, jobs.jobs[0][0]))))
            self.simulation.do(jobs)
            self.jobs += 1

        @precondition(lambda self: self.jobs < most_jobs)
        @rule(data=st.data(), wrong=st.booleans())
        def link(self, data, wrong):
            if wrong:
                self.simulation.do(Arm(data.draw(generation.fault(self.spec))))
            self.simulation.do(data.draw(generation.LINKS))
            self.jobs += 1

        @rule(data=st.data())
        def event(self, data):
            self.simulation.do(data.draw(generation.event(self.spec)))

        @precondition(lambda self: self.simulation.world.open_jobs())
        @rule(data=st.data())
        def decide(self, data):
            self.simulation.do(data.draw(generation.decide(self.spec)))

        @rule()
        def work(self):
            self.simulation.do(Work())

        def teardown(self):
            if self.simulation is not None:
                try:
                    if not self.simulation.violated:
                        self.simulation.end()
                finally:
                    self.simulation.close()
                    shutil.rmtree(self.home, ignore_errors=True)

    return Federation


def simulate(linked, federations: int, steps: int, most_jobs: int, **more) -> Tally:
    tally = Tally()
    run_state_machine_as_test(
        machine(tally, linked, most_jobs),
        settings=settings(SETTINGS, max_examples=federations, stateful_step_count=steps, **more),
    )
    print(tally)  # noqa: T201  the figure that docs/reliability.md quotes
    return tally


def test_federations_give_the_plain_answer_or_fail_in_words(world_of_its_own, linked):
    tally = simulate(linked, FEDERATIONS + 5, steps=4, most_jobs=2)
    assert tally.federations >= FEDERATIONS
    assert tally.faulted >= FEDERATIONS
    assert tally.ends["complete"] > FEDERATIONS // 3  # it is not that everything fails
    assert tally.compared > FEDERATIONS // 3
    assert tally.verified > FEDERATIONS // 2


@pytest.mark.campaign
def test_hundreds_of_federations_give_the_plain_answer_or_fail_in_words(world_of_its_own, linked):
    tally = simulate(linked, CAMPAIGN + 20, steps=10, most_jobs=4, derandomize=False)
    assert tally.faulted >= CAMPAIGN
    assert tally.ends["complete"] > CAMPAIGN // 2
