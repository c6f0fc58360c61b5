import pytest
from transport_world import World


@pytest.fixture(scope="session")
def world():
    return World()
