"""Real processes, mutual TLS: policies over one linkage, with departments whose networks let nothing in."""

import tomllib

import pytest
from processes.real_federation import COORDINATOR
from processes.small_world import POLICIES, plain_answers


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_over_one_linkage_gives_the_plain_answer(linked, policy):
    answer = plain_answers()[policy]
    assert 3 < len(answer) < 30
    assert linked.run(policy) == answer


def test_departments_that_only_dial_out_took_every_part(linked):
    for name in ("police", "social"):
        config = tomllib.loads(linked.local.configs[name].read_text())
        assert config["connect"] is True
        assert "listen" not in config
        assert name not in linked.local.addresses
    # Police contributes to every policy above; social insurance receives two and contributes to the third.
    for trustee in ("police", "social"):
        requesters = linked.stored(trustee, "SELECT DISTINCT requester FROM evaluations ORDER BY 1")
        assert requesters == [("police",), ("social",), ("tax",)]


@pytest.mark.campaign
def test_a_linkage_outlives_every_process(linked):
    assert set(linked.terminate("tax", "police", "social", COORDINATOR).values()) == {0}
    linked.start(COORDINATOR, "tax", "police", "social")
    assert linked.run("supplement") == plain_answers()["supplement"]
