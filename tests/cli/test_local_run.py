"""`veilmatch local run` as its users meet it: a process of its own, the files it writes, and how it ends."""

import csv
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace

import pytest
from command_line import SECONDS, command, run, run_here
from processes.small_world import PEOPLE, plain_answers, resident_id, tables, write_departments, write_policy

from veilmatch.departments import load_departments, load_policies
from veilmatch.errors import JobFailedError
from veilmatch.plaintext import eligible
from veilmatch_evidence.replay import replay

FAST = ("--linkage", "shared-key", "--key-bits", "2048")
STAGES = {"linkage", "contribute", "combine", "open", "circuit", "total"}

# Somebody who is eligible for the supplement, known to the tax bureau: her wage becomes no number.
BROKEN = next(p for p in PEOPLE if p.id in plain_answers()["supplement"] and p.wage is not None)
SECRET = "4711-much"


def wrong_tax_file():
    """The tax bureau's file with five wrong rows (its limit), one said twice, and one of nobody else's."""
    good = tables()["tax"].splitlines()
    header, rows = good[0], good[1:]
    rows[rows.index(f"{BROKEN.id},{BROKEN.wage}")] = f"{BROKEN.id},{SECRET}"
    checked = resident_id(2000)
    wrong = [
        f"{checked[:-1]}{'1' if checked[-1] != '1' else '2'},1".encode(),  # check digit
        b"\xb0\xa1\xb0\xa1,2",  # not UTF-8
        f"{resident_id(2001)},3,4".encode(),  # ragged
        b",5",  # no identifier
    ]
    twice = rows[2].encode()
    stranger = f"{resident_id(2002)},100".encode()
    return b"\n".join([header.encode(), *(row.encode() for row in rows), *wrong, twice, stranger]) + b"\n"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Two policies over data with as many wrong rows as the catalog allows; JSON is printed."""
    folder = tmp_path_factory.mktemp("ran")
    write_departments(folder / "departments")
    (folder / "departments" / "tax" / "income.csv").write_bytes(wrong_tax_file())
    policies = [write_policy(folder, name) for name in ("supplement", "tax-card")]
    arguments = ("--departments", folder / "departments", "--out", folder / "out", *FAST, "--json")
    return folder, run("local", "run", *policies, *arguments)


def test_it_ends_well_and_says_who_approved(ran):
    _, ended = ran
    assert ended.code == 0, ended.err
    assert "all policies are approved (trust: one-machine)" in ended.err
    for stage in ("rows linked", "slots contributed", "slots opened"):
        assert stage in ended.err


@pytest.mark.parametrize("policy", ["supplement", "tax-card"])
def test_every_field_of_the_result(ran, policy):
    folder, ended = ran
    result = json.loads((folder / "out" / policy / "result.json").read_text(encoding="utf-8"))
    assert result in json.loads(ended.out)
    assert result.keys() == {
        *("policy", "version", "policy_sha256", "job", "linkage", "key_bits", "departments", "persons"),
        *("households", "eligible", "seconds", "bytes", "status"),
    }
    source = (folder / f"{policy}.yaml").read_bytes()
    assert result["policy"] == policy
    assert result["version"] == {"supplement": 3, "tax-card": 1}[policy]
    assert result["policy_sha256"] == hashlib.sha256(source).hexdigest()
    assert re.fullmatch(r"[0-9a-f]{32}", result["job"])
    assert (result["linkage"], result["key_bits"], result["status"]) == ("shared-key", 2048, "complete")
    assert result["departments"] == ["police", "social", "tax"]
    people = {person.id for person in PEOPLE} | {resident_id(2002)}
    assert len(people) <= result["persons"] < len(people) + 1024  # protocol.md, 3 step 4: dummies
    assert result["households"] is None
    assert result["eligible"] == len(ids(folder, policy))
    assert result["seconds"].keys() == STAGES
    assert all(0 <= seconds < SECONDS for seconds in result["seconds"].values())
    assert result["seconds"]["total"] >= result["seconds"]["linkage"]
    traffic = result["bytes"]
    assert traffic.keys() == {"police", "social", "tax", "coordinator"}
    departments = [traffic[name] for name in result["departments"]]
    assert traffic["coordinator"] == {
        "sent": sum(each["received"] for each in departments),
        "received": sum(each["sent"] for each in departments),
    }
    assert all(each["sent"] > 0 < each["received"] for each in departments)


def ids(folder, policy):
    return (folder / "out" / policy / "eligible.csv").read_text(encoding="utf-8").splitlines()[1:]


def test_the_list_of_the_eligible(ran):
    folder, _ = ran
    # Whose wage cannot be read fails the condition, whatever `missing` says; all others are as always.
    assert ids(folder, "supplement") == [i for i in plain_answers()["supplement"] if i != BROKEN.id]
    # The stranger and the unreadable wage play no part where only the row counts.
    assert ids(folder, "tax-card") == plain_answers()["tax-card"]
    for policy in ("supplement", "tax-card"):
        path = folder / "out" / policy / "eligible.csv"
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert rows[0] == ["id"]
        assert [row for [row] in rows[1:]] == sorted(ids(folder, policy)) == ids(folder, policy)
        assert path.stat().st_mode & 0o777 == 0o600
        assert {each.name for each in path.parent.iterdir()} == {"eligible.csv", "result.json"}


def test_the_plaintext_answer_beside_it(ran):
    """What `demo` compares with: the same reader, no protocol."""
    folder, _ = ran
    departments = load_departments(folder / "departments")
    for policy in load_policies([folder / "supplement.yaml", folder / "tax-card.yaml"]):
        assert eligible(policy, departments, date(2025, 12, 31)).identifiers == ids(folder, policy.name)


def test_the_report_of_the_linkage(ran):
    folder, _ = ran
    report = json.loads((folder / "out" / "reports" / "linkage.json").read_text(encoding="utf-8"))
    assert report.keys() == {"linkage", "slots", "departments"}
    assert report["linkage"] == "shared-key"
    departments = report["departments"]
    for name, department in departments.items():
        assert department.keys() == {
            *("rows", "people", "refused_identifiers", "refused_rows", "duplicates", "outside_register"),
        }, name
        assert department["outside_register"] is None  # union mode has none
    rows = {name: len(text.splitlines()) - 1 for name, text in tables().items()}
    for name in ("police", "social"):
        assert (departments[name]["rows"], departments[name]["people"]) == (rows[name], rows[name])
        assert not departments[name]["refused_identifiers"]
        assert departments[name]["duplicates"] == 0
    tax = departments["tax"]
    assert (tax["rows"], tax["people"], tax["duplicates"]) == (rows["tax"] + 6, rows["tax"] + 1, 1)
    assert tax["refused_identifiers"] == {"check digit": 1, "not utf-8": 1, "empty": 1}


def test_wrong_rows_are_listed_by_number_and_reason_and_for_their_owner_only(ran):
    folder, _ = ran
    path = folder / "out" / "reports" / "tax" / "refused.csv"
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open(encoding="utf-8", newline="") as file:
        listed = {(row["table"], int(row["row"]), row["reason"]) for row in csv.DictReader(file)}
    lines = [line.split(b",")[0] for line in wrong_tax_file().splitlines()]
    broken, last = lines.index(BROKEN.id.encode()), len(lines) - 1  # the header is row 0
    assert listed == {
        ("income", broken, "column wage is not an integer"),
        ("income", last - 5, "identifier: check digit"),
        ("income", last - 4, "identifier: not utf-8"),
        ("income", last - 3, "wrong number of cells"),
        ("income", last - 2, "identifier: empty"),
    }


def test_evidence_is_complete_and_holds_nothing_personal(ran):
    folder, ended = ran
    evidence = folder / "out" / "evidence"
    for result in json.loads(ended.out):
        job = evidence / result["policy"] / result["job"]
        contributors = (
            set(result["departments"]) - {"supplement": {"social"}, "tax-card": {"tax"}}[result["policy"]]
        )
        assert {path.name for path in job.iterdir()} == {
            *("manifest.json", "digests.json", "report.json", "B", "product", "contributions"),
            *("index.json", "index.json.sig", "federation.toml", "federation.toml.sig", "root.pub"),
            *("epoch.json", "epoch.json.sig", "approvals.json", "logs"),
        }
        assert json.loads((job / "index.json").read_text())["trust"] == "one-machine"
        digests = json.loads((job / "digests.json").read_text())
        assert {entry["file"] for entry in digests} == {
            *("B/0-0.bin", "product/0-0.bin"),
            *(f"contributions/{name}/0-0.bin" for name in contributors),
        }
        for entry in digests:
            data = (job / entry["file"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == entry["sha256"]
        [own_copy] = json.loads((job / "report.json").read_text())
        assert "eligible" not in own_copy  # how many matched is the recipient's to know
        assert own_copy["job"] == result["job"]
    assert {each.status for each in replay(evidence)} == {"complete"}
    for place in (evidence, folder / "out" / "logs", folder / "out" / "reports"):
        for path in place.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                assert SECRET.encode() not in data
                assert not any(person.id.encode() in data for person in PEOPLE)


def test_nothing_is_left_behind(ran):
    folder, ended = ran
    assert not running(folder / "out")
    assert not any(person.id in ended.out + ended.err for person in PEOPLE)


# How runs end that do not end well.


def running(out):
    """Processes of members that a run over ``out`` has started: their name and id."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            log = (process / "fd" / "1").readlink()
        except OSError:  # gone meanwhile, or another user's
            continue
        if log.parent == out / "logs":
            found[log.stem] = int(process.name)
    return found


def two_departments(folder):
    """Police and social insurance, whose policy asks nobody else: a process less to start."""
    shutil.rmtree(write_departments(folder / "departments") / "tax")
    return folder / "departments" / "police" / "residents.csv", write_policy(folder, "old-age")


class Started:
    """A run that waits in the middle of its linkage, for police's file is a pipe that nobody has written to."""

    def __init__(self, folder):
        self.out = folder / "out"
        self.pipe, policy = two_departments(folder)
        self.pipe.unlink()
        os.mkfifo(self.pipe)
        arguments = ("--departments", folder / "departments", "--out", self.out, *FAST)
        self.home = Path(mkdtemp(prefix="home-"))  # not below `folder`: a socket's path is short
        self.process = subprocess.Popen(
            command("local", "run", policy, *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(self.home)},
        )

    def wait_until_police_reads(self):
        """Wait; the pipe's other end stays open, for its end would be the file's."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                self.writer = os.open(self.pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody reads it yet
                assert time.monotonic() < deadline
                assert self.process.poll() is None, self.process.communicate()
                time.sleep(0.02)
            else:
                return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Leave nothing running, also where a test has failed."""
        self.process.kill()
        for process in running(self.out).values():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.communicate()
        os.close(self.writer)
        shutil.rmtree(self.home)

    def ended(self):
        """The exit code, the last line, and how long it took."""
        began = time.monotonic()
        _, err = self.process.communicate(timeout=SECONDS)
        assert "Traceback" not in err
        return self.process.returncode, err.splitlines()[-1], time.monotonic() - began


def test_a_department_killed_during_a_job_is_named_within_seconds(tmp_path):
    with Started(tmp_path) as started:
        started.wait_until_police_reads()
        members = running(started.out)
        assert members.keys() == {"police", "social", "coordinator"}
        os.kill(members["police"], signal.SIGKILL)
        code, line, seconds = started.ended()
        assert code == 5
        assert line.startswith("police: ")
        assert "; " in line
        assert seconds < 20  # a few seconds, and the others' orderly end
        assert not running(started.out)
        assert not list(started.home.iterdir())  # the keys went with the processes


def test_a_run_that_is_told_to_stop_stops_its_members(tmp_path):
    with Started(tmp_path) as started:
        started.wait_until_police_reads()
        started.process.send_signal(signal.SIGTERM)
        code, line, seconds = started.ended()
        assert (code, line) == (130, "veilmatch: interrupted; nothing is running any more")
        assert seconds < 20
        assert not running(started.out)
        assert not list(started.home.iterdir())


@pytest.mark.parametrize("code", [3, 4, 5])
def test_what_the_coordinator_says_is_the_last_line_and_its_code_the_exit_code(
    tmp_path, capsys, monkeypatch, code
):
    """Data that is refused (4) among them: tests/processes/test_refused_data.py has every way in real processes."""

    @contextmanager
    def federation(*_, **__):
        yield SimpleNamespace(link=refuse)

    def refuse(*_):
        raise JobFailedError("police: this department's data is refused: x; correct it", code)

    monkeypatch.setattr("veilmatch.running.local_federation", federation)
    _, policy = two_departments(tmp_path)
    arguments = ("--departments", tmp_path / "departments", "--out", tmp_path / "out", *FAST)
    ended = run_here(capsys, "local", "run", policy, *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert ended.line(quiet=False) == "police: this department's data is refused: x; correct it"
