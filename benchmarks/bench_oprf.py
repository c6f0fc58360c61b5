"""Linkage of one identity through two trustees, beside its four bare libsodium multiplications.

Required: at most 1.15 times.  Both are measured in the same run, in turns, so that a busy machine slows
both; the ratio is in the report's ``extra_info``.  `veilmatch bench` has the same beside a peer.
"""

import statistics
import time

import pytest

from veilmatch.bench.kinds.linkage import MULTIPLICATIONS, link, multiply, random_pairs
from veilmatch_crypto import oprf

PEOPLE = 250
ROUNDS = 12
INPUTS = [b"cn-resident-id\x00%018d" % i for i in range(PEOPLE)]


def seconds(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


@pytest.mark.benchmark(group="oprf")
def test_linkage_of_one_identity(benchmark):
    """Blind, two evaluations, unblind, finalize: four multiplications a person, and the rest."""
    keys = oprf.OprfKey.generate(), oprf.OprfKey.generate()
    pairs = random_pairs(MULTIPLICATIONS * PEOPLE)
    turns = [(seconds(link, INPUTS, keys), seconds(multiply, pairs)) for _ in range(ROUNDS)]
    linkage, bare = (statistics.median(column) for column in zip(*turns, strict=True))
    benchmark.extra_info["people"] = PEOPLE
    benchmark.extra_info["linkage_us_a_person"] = round(1e6 * linkage / PEOPLE, 1)
    benchmark.extra_info["four_multiplications_us"] = round(1e6 * bare / PEOPLE, 1)
    benchmark.extra_info["ratio"] = round(statistics.median(one / other for one, other in turns), 3)
    benchmark.pedantic(link, (INPUTS, keys), rounds=ROUNDS)


@pytest.mark.benchmark(group="oprf")
def test_hash_to_group(benchmark):
    """The largest part of the rest: expand_message_xmd and the map to the group."""
    benchmark.extra_info["people"] = PEOPLE
    benchmark(lambda: [oprf._hash_to_group(data) for data in INPUTS])
