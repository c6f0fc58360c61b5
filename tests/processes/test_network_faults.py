"""Real processes over lines that are cut, refuse, hang half open or crawl: a job finishes or says why."""

import threading
import time

import pytest
from processes.moments import (
    OLD,
    attached,
    begun,
    during,
    evidence_says,
    line_of,
    mend,
    relayed_federation,
    works,
)
from processes.real_federation import COORDINATOR, SECONDS, real_federation
from processes.small_world import plain_answers
from processes.test_large_jobs import POLICY, write_large_departments

from veilmatch_transport import limits

# Seconds until a line that hangs is noticed.
HANGS = limits.KEEPALIVE_TIME + limits.PING_ANSWER + 10.0


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    with relayed_federation(tmp_path_factory.mktemp("lines")) as federation:
        federation.link()
        yield federation


mending: list[threading.Timer] = []  # what would mend a line later


def mend_in(relay, seconds):
    mending.append(threading.Timer(seconds, relay.mend))
    mending[-1].start()


@pytest.fixture(autouse=True)
def _whole_again(lines):
    yield
    while mending:
        mending.pop().cancel()
    mend(lines)


def restarting(relay):
    """Refuse for two seconds, as a machine that restarts."""
    relay.refuse()
    mend_in(relay, 2.0)


def swallowing(relay):
    """Hang until it must have been noticed, then be a line again."""
    relay.swallow()
    mend_in(relay, HANGS)


FAULTS = {
    "FIN": lambda relay: relay.cut(reset=False),
    "RST": lambda relay: relay.cut(reset=True),
    "refused": restarting,
    "half open": swallowing,
}
CAMPAIGN = pytest.mark.campaign


def named(ended, name, fault):
    """The action ended in time, with a line that names the node whose line was lost."""
    assert ended.error is not None
    assert (str(ended.error).partition(":")[0], ended.error.exit_code) == (name, 5)
    assert ended.seconds < (HANGS if fault == "half open" else SECONDS)


@pytest.mark.parametrize(
    ("name", "task", "fault"),
    [
        pytest.param("tax", "link", "RST", marks=CAMPAIGN),
        pytest.param("tax", "link", "half open", marks=CAMPAIGN),
        pytest.param("police", "link", "FIN", marks=CAMPAIGN),
        pytest.param("police", "link", "half open", marks=CAMPAIGN),
        pytest.param("police", "epoch_keys_task", "refused", marks=CAMPAIGN),
        pytest.param("social", "trustee", "RST", marks=CAMPAIGN),
        pytest.param("social", "trustee", "half open", marks=CAMPAIGN),
        pytest.param("social", "link", "refused", marks=CAMPAIGN),
    ],
)
def test_a_linkage_whose_line_is_lost_says_whose_and_linking_again_works(lines, name, task, fault):
    """Social insurance and police are the trustees."""
    epochs = lines.stored(COORDINATOR, "SELECT count(*) FROM epochs")
    ended = during(lines, lambda: lines.link("oprf"), name, task, lambda: FAULTS[fault](line_of(lines, name)))
    named(ended, name, fault)
    assert lines.stored(COORDINATOR, "SELECT count(*) FROM epochs") == epochs
    mend(lines)
    lines.link("oprf")
    works(lines)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        pytest.param("police", "RST"),
        *(pytest.param("tax", fault, marks=CAMPAIGN) for fault in FAULTS),
        *(pytest.param("police", fault, marks=CAMPAIGN) for fault in ("FIN", "refused", "half open")),
    ],
)
def test_a_contributor_whose_line_is_lost_is_asked_again(lines, name, fault):
    strike = lambda: FAULTS[fault](line_of(lines, name))  # noqa: E731  a closure over the parameters
    ended = during(lines, lambda: lines.run("supplement"), name, "contribute", strike)
    assert ended.error is None, ended.error
    assert ended.result == plain_answers()["supplement"]
    evidence_says(lines, "supplement", "complete")


@pytest.mark.parametrize("fault", ["RST", *(pytest.param(fault, marks=CAMPAIGN) for fault in FAULTS)])
def test_the_recipients_opening_is_taken_up_again(lines, fault):
    strike = lambda: FAULTS[fault](lines.relays["social"])  # noqa: E731
    ended = during(lines, lambda: lines.run("supplement"), "social", "open", strike)
    assert ended.error is None, ended.error
    assert ended.result == plain_answers()["supplement"]
    evidence_says(lines, "supplement", "complete")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        *(pytest.param("tax", fault, marks=CAMPAIGN) for fault in FAULTS),
        *(pytest.param("social", fault, marks=CAMPAIGN) for fault in FAULTS),
    ],
)
def test_a_circuit_whose_line_is_lost_ends_with_a_reason_and_tells_nobody_a_number(lines, name, fault):
    """The tax bureau is the recipient, social insurance deals: both are in the circuit when the dealer begins."""
    lines.link()
    for relay in lines.relays.values():
        relay.slow(latency=0.3)  # a round takes twice that
    counted = lines.stored(COORDINATOR, "SELECT count(*) FROM counts")
    strike = lambda: FAULTS[fault](lines.relays[name])  # noqa: E731
    ended = during(lines, lambda: lines.submit("how-many"), "social", "deal", strike)
    named(ended, name, fault)
    assert lines.stored(COORDINATOR, "SELECT count(*) FROM counts") == counted
    mend(lines)
    evidence_says(lines, "how-many", "ended")
    works(lines)
    lines.link()  # of another epoch, the number can be had
    assert [result["eligible"] for result in lines.submit("how-many")] == [OLD]
    lines.link()


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        pytest.param("tax", "RST", marks=CAMPAIGN),
        pytest.param("police", "refused", marks=CAMPAIGN),
        pytest.param("social", "half open", marks=CAMPAIGN),
    ],
)
def test_a_line_lost_before_the_manifest_is_a_reason(lines, name, fault):
    strike = lambda: FAULTS[fault](line_of(lines, name))  # noqa: E731
    ended = during(lines, lambda: lines.run("supplement"), name, "prepare", strike)
    named(ended, name, fault)
    mend(lines)
    works(lines)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        pytest.param("tax", "RST", marks=CAMPAIGN),
        pytest.param("police", "refused", marks=CAMPAIGN),
        pytest.param("social", "half open", marks=CAMPAIGN),
    ],
)
def test_a_line_lost_while_the_job_closes_changes_nothing(lines, name, fault):
    strike = lambda: FAULTS[fault](line_of(lines, name))  # noqa: E731
    ended = during(lines, lambda: lines.run("supplement"), name, "close", strike)
    assert ended.error is None, ended.error
    assert ended.result == plain_answers()["supplement"]
    mend(lines)
    works(lines)


@pytest.mark.parametrize(
    ("fault", "noticed"),
    [
        pytest.param("RST", 3.0, marks=CAMPAIGN),
        pytest.param("FIN", 3.0, marks=CAMPAIGN),
        pytest.param("refused", 3.0, marks=CAMPAIGN),
        pytest.param("half open", HANGS, marks=CAMPAIGN),
    ],
)
def test_a_node_that_waits_for_work_attaches_again_when_its_line_is_back(lines, fault, noticed):
    before, relay = attached(lines), lines.relays[COORDINATOR]
    lost = lines.log("police").count('"not attached"')
    {"refused": type(relay).refuse, "half open": type(relay).swallow}.get(fault, FAULTS[fault])(relay)
    deadline = time.monotonic() + noticed
    while lines.log("police").count('"not attached"') == lost:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    relay.mend()
    deadline = time.monotonic() + 5.0
    while attached(lines) == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    works(lines)


@CAMPAIGN
def test_a_line_that_stands_still_for_a_moment_changes_nothing(lines):
    def pause():
        lines.relays["tax"].hold()
        mend_in(lines.relays["tax"], 4.0)

    ended = during(lines, lambda: lines.run("supplement"), "tax", "contribute", pause)
    assert ended.error is None, ended.error
    assert ended.result == plain_answers()["supplement"]
    assert begun(lines, "tax", "contribute")


@CAMPAIGN
def test_a_slow_line_finishes(lines):
    """A tenth of a second late and 128 kbit/s, everywhere: what an office had in 1995."""
    for relay in lines.relays.values():
        relay.slow(bytes_a_second=16_000, latency=0.1)
    lines.link()
    works(lines)


@CAMPAIGN
@pytest.mark.timeout(600)
def test_messages_that_take_longer_than_the_keepalive_get_through_a_slow_line(tmp_path):
    """1 Mbit/s, over which pseudonyms of 1.9 MB and three chunks of 262 kB go: no line is taken for a dead one."""
    write_large_departments(tmp_path / "departments")
    relayed = frozenset({"tax", "social"})
    with real_federation(tmp_path, relayed=relayed) as federation:
        federation.policies = {"large": POLICY}
        for relay in federation.relays.values():
            relay.slow(bytes_a_second=128_000, latency=0.02)
        federation.link()
        assert federation.run("large") == sorted(str(person) for person in range(50))
        for name in ("tax", "social"):
            assert "lost" not in federation.log(name)
