"""Real processes whose clocks differ: within five minutes they work, beyond it the line says who and by how much."""

import os
from multiprocessing import get_context

import pytest
from processes.moments import evidence_says, mend, relayed_federation, works
from processes.real_federation import COORDINATOR

from veilmatch_policy.clock import CLOCK_DIFFERENCE

pytestmark = pytest.mark.campaign
FIVE = int(CLOCK_DIFFERENCE.total_seconds())

# What Python runs before anything of ours.  (Debian's libfaketime 0.9.10 makes Python's own waits fail or hang.)
CLOCK = """\
import os
from datetime import timedelta

from veilmatch_policy import clock

_right, _ahead = clock.utc_now, timedelta(seconds=int(os.environ["CLOCK_AHEAD"]))
clock.utc_now = lambda: _right() + _ahead
"""


@pytest.fixture(scope="module")
def clocks(tmp_path_factory):
    with relayed_federation(tmp_path_factory.mktemp("clocks")) as federation:
        yield federation


@pytest.fixture
def turn(clocks, tmp_path, monkeypatch):
    """Restart members, each with a clock that is so many seconds ahead."""
    (tmp_path / "sitecustomize.py").write_text(CLOCK)

    def turn(**seconds):
        for name, ahead in seconds.items():
            clocks.terminate(name)
            with monkeypatch.context() as patched:
                patched.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
                patched.setenv("CLOCK_AHEAD", str(ahead))
                # A fork server has imported everything already, with the clock as it is.
                patched.setattr("veilmatch.processes._FORKS", get_context("spawn"))
                clocks.start(name)
        mend(clocks)

    return turn


@pytest.mark.parametrize(
    "seconds",
    [{"tax": FIVE - 30, "police": 30 - FIVE}, {COORDINATOR: FIVE - 30}, {COORDINATOR: 30 - FIVE}],
    ids=["nodes apart", "coordinator ahead", "coordinator behind"],
)
def test_within_five_minutes_everything_works(clocks, turn, seconds):
    turn(**{"tax": 0, "police": 0, COORDINATOR: 0} | seconds)
    clocks.link("oprf")
    works(clocks)
    evidence_says(clocks, "supplement", "complete")


@pytest.mark.parametrize("seconds", [FIVE + 120, -FIVE - 120], ids=["ahead", "behind"])
@pytest.mark.parametrize("name", ["tax", "police"])
def test_beyond_five_minutes_the_line_names_node_and_difference(clocks, turn, name, seconds):
    turn(**{"tax": 0, "police": 0, COORDINATOR: 0})
    clocks.link()
    turn(**{name: seconds})
    direction = "behind" if seconds > 0 else "ahead of"
    for action in (clocks.link, lambda: clocks.run("supplement")):
        error = clocks.refused(action)
        assert str(error).startswith(f"{name}: ")
        assert f"the coordinator's clock is 7 minutes {direction} this node's" in str(error)
    turn(**{name: 0})
    clocks.link()
    works(clocks)
