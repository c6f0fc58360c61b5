"""Whole runs: 200,000 people, six departments, shared-key linkage, every member a process of this machine.

Required on 2 cores, process starts included: an AND of six conditions under 60 seconds and 500 MB a
process, a policy with one total over the departments under 120 seconds and 600 MB; the same total over
households is measured beside it.  `veilmatch bench` has other sizes, several rounds and DuckDB's join.
"""

import pytest

from veilmatch.bench.experiments import Experiments
from veilmatch.bench.kinds.base import Lab
from veilmatch.bench.peers import Peers
from veilmatch.bench.report import PEAK
from veilmatch_policy.documents import Placed

PEOPLE = 200_000
REQUIRED = {"and": (60, 500), "total": (120, 600), "household-total": (None, None)}


def experiment(policy: str):
    run = {"kind": "run", "people": str(PEOPLE), "departments": "6", "policies": policy, "rounds": "1"}
    tree = {"experiments": {"whole": {**run, "linkage": "shared-key"}}}
    return Experiments.model_validate(Placed(tree, {})).experiments["whole"]


@pytest.mark.benchmark(group="local run")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("policy", REQUIRED)
def test_two_hundred_thousand_people(benchmark, tmp_path, policy):
    [case] = benchmark.pedantic(lambda: list(experiment(policy).measured(Lab(tmp_path, Peers()))), rounds=1)
    assert case.error is None
    median = {measure.name: measure.spread.median for measure in case.measures}
    seconds = median["start of all processes"] + median["linkage"] + median["after linkage"]
    required_seconds, required_megabytes = REQUIRED[policy]
    benchmark.extra_info.update(
        seconds=round(seconds, 1),
        required_seconds=required_seconds,
        largest_process=round(median[PEAK]),
        required_megabytes=required_megabytes,
        measured={name: round(value, 2) for name, value in median.items()},
    )
    print(f"\n{policy}, 200,000 people, six departments: {seconds:.1f} s (required {required_seconds})")
    print(f"largest process {median[PEAK]:.0f} MiB (required {required_megabytes} MB)")
