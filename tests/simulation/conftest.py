"""What all simulated federations of a test process share."""

import shutil
import tempfile
from pathlib import Path

import pytest
from simulation.operations import Simulation
from simulation.people import Spec
from simulation.shared import SAID, simulated
from simulation.world import Linked, World


@pytest.fixture
def world_of_its_own(monkeypatch):
    """Small tables, files that are steps, quiet logs."""
    with simulated(monkeypatch):
        yield


@pytest.fixture(scope="session")
def linked():
    """Federations that have linked, one a shape, for others to begin with."""
    folder = Path(tempfile.mkdtemp(prefix="simulated-"))
    made: dict[Spec, Linked] = {}

    def of(spec: Spec) -> Linked:
        if spec not in made:
            home = folder / str(len(made))
            with World(home / "first", spec) as world:
                assert world.link(spec.mode) == "", SAID.entries
                world.settle()
                made[spec] = world.keep(home / "disks")
        return made[spec]

    yield of
    shutil.rmtree(folder)


@pytest.fixture
def replayed(world_of_its_own, linked, tmp_path):
    """Run operations over a federation; everything is checked after each.  Returns how its jobs ended."""

    def replay(spec, *operations):
        simulation = Simulation(tmp_path, spec, linked(spec))
        try:
            for operation in operations:
                simulation.do(operation)
            ended = [job.submission for job in simulation.world.jobs.values()]
            simulation.end()
        finally:
            simulation.close()
        return [(each.state.value, each.reason) for each in ended]

    return replay
