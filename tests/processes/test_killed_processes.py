"""Every party killed at every named moment: the job finishes or ends with a reason, and nothing happens twice."""

import json
import time
from collections import Counter

import pytest
from processes.moments import (
    OLD,
    WAITED_FOR,
    attached,
    during,
    evidence_says,
    line_of,
    mend,
    relayed_federation,
    works,
)
from processes.real_federation import COORDINATOR, SECONDS, START_SECONDS
from processes.small_world import plain_answers

pytestmark = (
    pytest.mark.campaign
)  # `make test` kills in test_killed_members, test_large_jobs and test_job_queue
MEMBERS = ("police", "social", "tax", COORDINATOR)
ONCE = (
    "contributed",
    "dealt",
    "opened",
    "presented",
    "delivered",
    "started",
    "received",
    "combined",
    "closed",
)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    with relayed_federation(tmp_path_factory.mktemp("killed")) as federation:
        federation.link()
        yield federation
        for name in MEMBERS:
            assert twice(federation, name) == []


@pytest.fixture(autouse=True)
def _whole_again(killed):
    yield
    mend(killed)


def twice(federation, name):
    """What a party's log says that it did twice under one manifest."""
    lines = (federation.home(name) / "evidence.log").read_text(encoding="utf-8").splitlines()
    done = Counter()
    for line in lines:
        body = json.loads(line)["body"]
        if body["action"] in ONCE:
            place = [body.get(part) for part in ("manifest", "department", "policy", "outcome", "chunk")]
            done[json.dumps([body["action"], *place])] += 1
    return [each for each, times in done.items() if times > 1]


def restart(federation, name):
    """Kill a process, and start it again, until it serves or waits for work."""
    federation.kill(name)
    before = attached(federation)
    federation.start(name)
    deadline = time.monotonic() + START_SECONDS
    while name not in federation.local.addresses and attached(federation) == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def struck(federation, action, victim, name, task):
    """What becomes of an action while ``victim`` is killed when ``name`` begins ``task``, and started again."""
    return during(federation, action, name, task, lambda: restart(federation, victim))


def people_of(federation, policy):
    """Whom a policy about households found; the households' labels are drawn anew for every job."""
    lines = (federation.out / policy / "eligible.csv").read_text(encoding="utf-8").splitlines()[1:]
    return [line.partition(",")[0] for line in lines]


LINKING = [
    ("tax", "tax", "link"),
    ("police", "police", "link"),
    ("social", "social", "link"),
    ("police", "police", "epoch_keys_task"),
    ("police", "police", "trustee"),
    ("social", "social", "trustee"),
    ("tax", "social", "trustee"),
    (COORDINATOR, "tax", "link"),
    (COORDINATOR, "social", "trustee"),
]


@pytest.mark.parametrize(("victim", "name", "task"), LINKING)
def test_killed_in_a_linkage(killed, victim, name, task):
    """Police and social insurance are the trustees: linking again asks them for nothing twice."""
    asked = "SELECT requester, count(*) FROM evaluations GROUP BY 1"
    ended = struck(killed, lambda: killed.link("oprf"), victim, name, task)
    assert str(ended.error).startswith(f"{victim}: ")
    mend(killed)
    killed.link("oprf")
    before = [killed.stored(trustee, asked) for trustee in ("police", "social")]
    killed.link("oprf")
    assert [killed.stored(trustee, asked) for trustee in ("police", "social")] == before
    works(killed)


@pytest.mark.parametrize(
    ("victim", "name", "task"),
    [
        ("tax", "tax", "contribute"),
        ("police", "police", "contribute"),
        ("social", "tax", "contribute"),
        ("social", "social", "open"),
        ("tax", "social", "open"),
        ("police", "social", "close"),
        ("social", "social", "close"),
        ("tax", "tax", "close"),
    ],
)
def test_a_node_killed_between_manifest_and_end_comes_back_and_the_job_finishes(killed, victim, name, task):
    ended = struck(killed, lambda: killed.run("supplement"), victim, name, task)
    assert ended.error is None, ended.error
    assert ended.result == plain_answers()["supplement"]
    mend(killed)
    evidence_says(killed, "supplement", "complete")
    works(killed)


def test_a_contributor_that_does_not_come_back_is_named(killed):
    ended = during(killed, lambda: killed.run("supplement"), "tax", "contribute", lambda: killed.kill("tax"))
    assert str(ended.error).startswith("tax: ")
    assert WAITED_FOR - SECONDS < ended.seconds < WAITED_FOR + SECONDS
    killed.start("tax")
    mend(killed)
    evidence_says(killed, "supplement", "ended")
    works(killed)


def test_a_recipient_killed_while_it_delivers_delivers_once(killed):
    """Killed when its log says that it delivers: the result may be there or not, and the coordinator knows nothing."""
    log = killed.home("social") / "evidence.log"
    delivered = log.read_text().count('"action":"delivered"')
    line_of(killed, "social").slow(latency=0.3)

    def strike():
        deadline = time.monotonic() + 2 * SECONDS
        while log.read_text().count('"action":"delivered"') == delivered:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        restart(killed, "social")

    ended = during(killed, lambda: killed.run("supplement"), "social", "open", strike)
    assert ended.error is None, ended.error
    assert ended.result == plain_answers()["supplement"]
    assert log.read_text().count('"action":"delivered"') == delivered + 1
    evidence_says(killed, "supplement", "complete")


@pytest.mark.parametrize("victim", ["tax", "social", "police"])
def test_a_node_killed_while_manifests_are_agreed_on_is_a_reason(killed, victim):
    ended = struck(killed, lambda: killed.run("supplement"), victim, victim, "prepare")
    assert str(ended.error).startswith(f"{victim}: ")
    mend(killed)
    works(killed)


@pytest.mark.parametrize("victim", ["tax", "social"])
def test_recipient_or_dealer_killed_in_a_circuit_is_a_reason_and_nobody_has_a_number(killed, victim):
    killed.link()
    for relay in killed.relays.values():
        relay.slow(latency=0.3)
    counted = killed.stored(COORDINATOR, "SELECT count(*) FROM counts")
    ended = struck(killed, lambda: killed.submit("how-many"), victim, "social", "deal")
    assert str(ended.error).startswith(f"{victim}: ")
    assert killed.stored(COORDINATOR, "SELECT count(*) FROM counts") == counted
    mend(killed)
    evidence_says(killed, "how-many", "ended")
    killed.link()
    assert [result["eligible"] for result in killed.submit("how-many")] == [OLD]
    killed.link()


def test_a_registrar_killed_while_it_tells_households_is_a_reason(killed):
    killed.submit("homes")
    people = people_of(killed, "homes")
    assert len(people) > 3
    ended = struck(killed, lambda: killed.submit("homes"), "police", "police", "households")
    assert str(ended.error).startswith("police: ")
    mend(killed)
    evidence_says(killed, "homes", "ended")
    killed.submit("homes")
    assert people_of(killed, "homes") == people


@pytest.mark.parametrize(
    ("policy", "name", "task", "packed"),
    [
        ("supplement", "tax", "prepare", False),
        ("supplement", "tax", "contribute", True),
        ("supplement", "social", "open", True),
        ("how-many", "social", "deal", True),
        ("supplement", "social", "close", True),
        ("supplement", "tax", "close", True),
    ],
)
def test_a_killed_coordinator_says_so_closes_everywhere_and_goes_on(killed, policy, name, task, packed):
    """``packed``: there is evidence of the job, and it verifies once the coordinator is back."""
    killed.link()
    jobs = {each.job for each in killed.operator.jobs(100)}
    ended = struck(killed, lambda: killed.submit(policy), COORDINATOR, name, task)
    assert str(ended.error).startswith(f"{COORDINATOR}: ")
    mend(killed)
    [job] = {each.job for each in killed.operator.jobs(100)} - jobs
    submission = killed.operator.job(job)
    assert submission.state in {"failed", "complete"}
    assert submission.state == "complete" or "stopped" in submission.reason
    if packed:
        evidence_says(killed, policy, "ended" if task != "close" else "complete")
    for member in ("police", "social", "tax"):
        assert killed.stored(member, "SELECT count(*) FROM jobs WHERE secrets IS NOT NULL") == [(0,)]
    killed.link()
    works(killed)
