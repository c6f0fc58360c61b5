"""The office's desk over real processes: jobs side by side, one cancelled, one lost with its coordinator, the next."""

import json
import os
import threading
import time

import pytest
from cli.command_line import run_here
from processes.real_federation import COORDINATOR, SECONDS
from processes.small_world import PEOPLE, POLICIES, plain_answers, tables, write_policy


class HeldFile:
    """The tax bureau's file of data: its node is in the middle of reading it for as long as the context is open."""

    def __init__(self, federation):
        self.path, self.text = federation.data("tax"), tables()["tax"].encode()

    def __enter__(self):
        self.path.unlink()
        os.mkfifo(self.path)
        return self

    def wait_until_read(self):
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                self.end = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody reads it yet
                assert time.monotonic() < deadline
                time.sleep(0.01)
            else:
                return

    def __exit__(self, *_):
        self.path.unlink()
        self.path.write_bytes(self.text)
        os.write(self.end, self.text)
        os.close(self.end)


BESIDE = """\
policy: beside
recipient: tax
conditions:
  old: {department: police, where: "age >= 75"}
"""


@pytest.fixture
def desk(linked, tmp_path, capsys):
    """`veilmatch job ...` as the operator of a configuration file."""
    linked.link()
    linked.policies |= {"beside": BESIDE}
    config = linked.operator_config()

    def call(*words):
        return run_here(capsys, *words, "--config", config)

    def submit(policy):
        path = write_policy(tmp_path, policy, linked.policies[policy])
        ended = call("job", "submit", path, "--key-bits", "2048", "--json")
        assert (ended.code, ended.err) == (0, "")
        [job] = json.loads(ended.out)
        assert (job["policies"], job["state"]) == ([policy], "queued")
        return job["job"]

    call.submit = submit
    return call


def shown(desk, job):
    return json.loads(desk("job", "show", job, "--json").out)


def wait_for(desk, job, *states):
    deadline = time.monotonic() + SECONDS
    while (said := shown(desk, job))["state"] not in states:
        assert time.monotonic() < deadline, said
        time.sleep(0.05)
    return said


def test_a_day_at_the_desk(linked, desk):
    with HeldFile(linked) as pipe:  # its node is in the middle of its task until this ends
        lost = desk.submit("tax-card")
        pipe.wait_until_read()
        after = desk.submit("beside")  # the same recipient: it has to wait
        beside = desk.submit("old-age")
        ended = desk("job", "watch", beside)
        assert (ended.code, ended.out) == (0, "")
        assert "complete" in ended.err
        states = {job["job"]: job["state"] for job in json.loads(desk("job", "list", "--json").out)}
        assert [states[job] for job in (lost, after, beside)] == ["running", "queued", "complete"]
        assert linked.terminate(COORDINATOR) == {COORDINATOR: 0}
    linked.start(COORDINATOR)
    assert desk("job", "watch", after).code == 0
    header, *eligible = (linked.out / "old-age" / "eligible.csv").read_text().splitlines()
    assert (header, eligible) == ("id", plain_answers()["old-age"])
    assert json.loads((linked.out / "beside" / "result.json").read_text())["job"] == after
    ended = desk("job", "watch", lost)
    assert (ended.code, ended.err.splitlines()[-1]) == (
        5,
        "job: the coordinator was stopped; submit it again",
    )
    epoch = json.loads(desk("epoch", "show", "--json").out)
    assert (epoch["linkage"], epoch["slots"], epoch["reference_date"]) == (
        "shared-key",
        "union",
        "2025-12-31",
    )
    assert epoch["people"]["tax"] == sum(person.wage is not None for person in PEOPLE)
    assert shown(desk, after)["epoch"] == epoch["epoch"]  # it outlived the coordinator

    still = "SELECT manifest_sha256 FROM jobs WHERE state != 'closed'"
    kept = linked.stored("tax", still)  # it was in the middle of accepting as the coordinator was stopped
    with HeldFile(linked) as pipe:
        job = desk.submit("tax-card")
        pipe.wait_until_read()
        answered = []
        cancelling = threading.Thread(target=lambda: answered.append(linked.operator.cancel(job)))
        cancelling.start()
    cancelling.join(SECONDS)
    assert [each.state for each in answered] == ["cancelled"]
    said = wait_for(desk, job, "cancelled")
    assert said["reason"] == "job: cancelled by operator; submit it again if it is wanted after all"
    assert linked.stored("tax", still) == kept
    assert linked.run("tax-card") == plain_answers()["tax-card"]  # nothing is held up


def test_a_linkage_waits_for_the_job_that_runs(linked, desk):
    with HeldFile(linked) as pipe:
        job = desk.submit("tax-card")
        pipe.wait_until_read()
        linking = threading.Thread(target=linked.link)
        linking.start()
        linking.join(0.3)
        assert linking.is_alive()
        assert shown(desk, job)["state"] == "running"
    linking.join(SECONDS)
    assert not linking.is_alive()
    said = shown(desk, job)
    assert said["state"] == "complete"
    assert json.loads(desk("epoch", "show", "--json").out)["epoch"] != said["epoch"]


def test_results_and_lines_for_people(linked, desk):
    job = desk.submit("beside")
    assert desk("job", "watch", job).code == 0
    [result] = json.loads(desk("job", "result", job).out)
    assert (result["policy"], result["status"], result.get("eligible")) == ("beside", "complete", None)
    text = desk("job", "show", job).out
    for said in (f"Job {job}", "state: complete", "policies: beside", "recipient: tax", "key: 2048 bits"):
        assert said in text
    assert job in desk("job", "list", "--last", "3").out
    assert "60 people" not in desk("epoch", "show").out
    assert "reference date 2025-12-31" in desk("epoch", "show").out


NOBODY = "f" * 32


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("job", "show", NOBODY), 2, "job: there is none of this name; see `veilmatch job list`"),
        (("job", "watch", NOBODY), 2, "job: there is none of this name; see `veilmatch job list`"),
        (("job", "result", "x"), 2, "job: there is none of this name; see `veilmatch job list`"),
        (("job", "cancel", ""), 2, "job: there is none of this name; see `veilmatch job list`"),
        (("job", "cancel", "ended"), 2, "job: ended has ended already, it is complete; nothing to cancel"),
        (("job", "list", "--last", "0"), 2, "veilmatch: Invalid value for '--last'"),
        (("epoch", "open", "--reference-date", "today"), 2, "office: the reference date is no day; "),
        (("epoch", "open", "--slots", "register"), 3, "epoch: asks for register slots, and the directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_asked_wrongly(linked, desk, words, code, line):
    if "ended" in words:
        job = desk.submit("beside")
        assert desk("job", "watch", job).code == 0
        words, line = (*words[:-1], job), line.replace("ended has", f"{job} has")
    ended = desk(*words)
    assert ended.code == code
    assert ended.line(quiet=words[1] not in {"watch", "open"}).startswith(line)


def test_policies_that_are_refused_when_they_are_submitted(linked, desk, tmp_path):
    path = write_policy(tmp_path, "old-age", POLICIES["old-age"].replace("recipient", "recipent"))
    ended = desk("job", "submit", path)
    assert ended.code == 3
    assert "did you mean 'recipient'?" in ended.line()
    before = len(json.loads(desk("job", "list", "--last", "1000", "--json").out))
    paths = [write_policy(tmp_path, name) for name in POLICIES]
    ended = desk("job", "submit", *paths, "--key-bits", "2048")
    # Two recipients are two jobs at least; those of social insurance both ask police, but not the same.
    assert [line.split(": ")[1] for line in ended.out.splitlines()] == ["supplement", "old-age", "tax-card"]
    assert "veilmatch job watch" in ended.err
    jobs = json.loads(desk("job", "list", "--last", "1000", "--json").out)
    assert len(jobs) == before + 3
    for line in ended.out.splitlines():
        desk("job", "cancel", line.split(": ")[0])  # unless it was quicker


def test_a_configuration_that_is_not_the_operators(linked, desk, capsys):
    config = linked.operator_config()
    text = config.read_text().replace('"operator"', '"tax"', 1)
    config.write_text(text)
    ended = run_here(capsys, "job", "list", "--config", config)
    assert ended.code == 2
    assert ended.line().startswith("tax: the directory lists no operator of this name with this certificate")
