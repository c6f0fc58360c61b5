"""Real processes whose machines' clocks differ (libfaketime): within five minutes they work, beyond it who is named."""

import subprocess
from pathlib import Path

import pytest
from processes.moments import package_of, relayed_federation, works
from processes.real_federation import COORDINATOR
from processes.test_killed_processes import evidence_says

from veilmatch_policy.clock import CLOCK_DIFFERENCE

pytestmark = pytest.mark.campaign
FIVE = int(CLOCK_DIFFERENCE.total_seconds())


@pytest.fixture(scope="module")
def faketime():
    """The library that gives a process another clock, where Debian's package `faketime` is installed."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        pytest.skip("libfaketime is not installed (apt-get install faketime)")
    return found[0]


@pytest.fixture(scope="module")
def clocks(faketime, tmp_path_factory):
    with relayed_federation(tmp_path_factory.mktemp("clocks")) as federation:
        yield federation


def turn(federation, faketime, monkeypatch, **seconds):
    """Restart members, each with a clock that is so many seconds ahead; timers go on as they are."""
    for name, ahead in seconds.items():
        federation.terminate(name)
        with monkeypatch.context() as patched:
            patched.setenv("LD_PRELOAD", str(faketime))
            patched.setenv("FAKETIME", f"{ahead:+d}s")
            patched.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            federation.start(name)


@pytest.mark.parametrize(
    "seconds",
    [{"tax": FIVE - 30, "police": 30 - FIVE}, {COORDINATOR: FIVE - 30}, {COORDINATOR: 30 - FIVE}],
    ids=["nodes apart", "coordinator ahead", "coordinator behind"],
)
def test_within_five_minutes_everything_works(clocks, faketime, monkeypatch, seconds):
    turn(clocks, faketime, monkeypatch, **{"tax": 0, "police": 0, COORDINATOR: 0} | seconds)
    clocks.link("oprf")
    works(clocks)
    evidence_says(clocks, "supplement", "complete")
    assert package_of(clocks, "supplement").records


@pytest.mark.parametrize("seconds", [FIVE + 120, -FIVE - 120], ids=["ahead", "behind"])
@pytest.mark.parametrize("name", ["tax", "police"])
def test_beyond_five_minutes_the_line_names_node_and_difference(clocks, faketime, monkeypatch, name, seconds):
    turn(clocks, faketime, monkeypatch, **{"tax": 0, "police": 0, COORDINATOR: 0, name: seconds})
    direction = "behind" if seconds > 0 else "ahead of"
    for action in (clocks.link, lambda: clocks.run("supplement")):
        error = clocks.refused(action)
        if "link first" in str(error):
            continue
        assert str(error).startswith(f"{name}: ")
        assert f"the coordinator's clock is 7 minutes {direction} this node's" in str(error)
    turn(clocks, faketime, monkeypatch, **{name: 0})
    clocks.link()
    works(clocks)


def test_the_library_turns_a_clock(faketime):
    shown = subprocess.run(
        ["date", "+%Y"],
        env={"LD_PRELOAD": str(faketime), "FAKETIME": "@2011-01-01 00:00:00"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "2011\n"
