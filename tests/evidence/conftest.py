"""One honest job's evidence for all tests of this folder; each test changes a copy."""

import pytest
from evidence_world import World, copy_of


@pytest.fixture(scope="session")
def honest_job(tmp_path_factory):
    """The world and the evidence of a job that went as it should."""
    home = tmp_path_factory.mktemp("honest")
    world = World(home / "logs")
    return world, world.run(home / "out")


@pytest.fixture
def world(honest_job):
    return honest_job[0]


@pytest.fixture
def package(honest_job, tmp_path):
    """A copy of the honest job's evidence."""
    return copy_of(honest_job[1], tmp_path / "aid" / honest_job[1].name)
