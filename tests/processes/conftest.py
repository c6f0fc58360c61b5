"""Federations that tests share: starting a process costs about a second."""

import pytest
from processes.real_federation import real_federation
from processes.small_world import write_departments


@pytest.fixture(scope="session")
def federation(tmp_path_factory):
    """Police and social insurance only dial out; the tax bureau and the coordinator listen."""
    folder = tmp_path_factory.mktemp("federation")
    write_departments(folder / "departments")
    with real_federation(folder, dialling=frozenset({"police", "social"})) as running:
        yield running


@pytest.fixture(scope="session")
def linked(federation):
    """The same, linked through the two trustees, which both dial out."""
    federation.link("oprf")
    return federation
