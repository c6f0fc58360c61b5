"""Whatever a coordinator sends to a node, it is answered or refused in a public line, and the node serves on."""

from random import Random

import pytest
from federation.attacked_world import POLICY
from fuzz.fuzzed_node import begin_jobs, run_script, script, world
from fuzz.oracles import watched

SEED = 20_260_727
BEGUN_FOR = 300  # scripts: some of them close the jobs that were begun, or use up what may be done once


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    federation, recorded = world(tmp_path_factory.mktemp("fuzzed"))
    with federation:
        yield federation, recorded


def fuzz(federation, recorded, messages, seed=SEED):
    """Send at least this many messages, script by script; a failure names the script's number, which repeats it."""
    sent, number = 0, 0
    with watched():
        while sent < messages:
            if number % BEGUN_FOR == BEGUN_FOR - 1:
                federation.link()
                begin_jobs(federation, recorded)
            node, said = script(recorded, Random(f"{seed}/{number}"))
            try:
                run_script(federation, node, said)
            except BaseException as error:
                error.add_note(
                    f"script {seed}/{number} to {node}: {[each.WhichOneof('body') for each in said]}"
                )
                raise
            sent, number = sent + len(said), number + 1
    return sent


def serves_an_honest_job(federation):
    federation.link()
    federation.run(POLICY)
    assert federation.eligible("aid") == sorted(
        (f"p{number}" for number in range(240) if number % 10 < 8), key=lambda name: name
    )


def test_two_thousand_messages(fuzzed):
    federation, recorded = fuzzed
    assert fuzz(federation, recorded, 2000) >= 2000
    serves_an_honest_job(federation)


@pytest.mark.campaign
@pytest.mark.timeout(36_000)
def test_ninety_thousand_messages(fuzzed):
    federation, recorded = fuzzed
    for turn in range(9):  # a new epoch each: what was recorded of the last one is stale
        fuzz(federation, recorded, 10_000, seed=SEED + turn + 1)
        serves_an_honest_job(federation)
