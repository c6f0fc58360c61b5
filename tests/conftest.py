"""Settings of every test."""

import gc

import postgres_server
import pytest
from hypothesis import HealthCheck, settings

# No deadline: machines are shared, and a slow example is not a wrong one.  `derandomize` makes a
# red run repeat; long campaigns (`--hypothesis-profile=campaign`) draw afresh.
settings.register_profile(
    "check", deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("campaign", deadline=None, max_examples=2000)
settings.load_profile("check")


def pytest_collection_finish() -> None:
    """Leave thousands of tests and all modules out of every later collection of garbage: nothing frees them."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Or DuckDB says at the interpreter's end that something leaked."""
    gc.unfreeze()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_address(request, tmp_path):
    """Where a service's store may be: a file, and a schema of a real PostgreSQL server."""
    return tmp_path / "state.sqlite" if request.param == "sqlite" else postgres_server.new_schema()
