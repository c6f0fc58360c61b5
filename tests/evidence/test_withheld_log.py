"""A log without the text of its oldest records: the chain is whole, a crash leaves one file or the other."""

import os
import signal
from datetime import UTC, datetime, timedelta

import pytest

from veilmatch_crypto import IdentityKey
from veilmatch_evidence import withholding
from veilmatch_evidence.actions import Closed
from veilmatch_evidence.errors import LogError
from veilmatch_evidence.log import EvidenceLog, goes_on_from
from veilmatch_evidence.records import verify_record

KEY = IdentityKey.from_bytes(bytes(range(32)))
START = datetime(2026, 1, 1, tzinfo=UTC)


def day(number):
    return START + timedelta(days=number)


def closed(number):
    return Closed(job=f"{number:032x}", manifest="ab" * 32)


class Clocked:
    """A log with one record a day, and its clock."""

    def __init__(self, path, days):
        self.path, self.now = path, START
        self.log = EvidenceLog(path, "tax", KEY, clock=lambda: self.now)
        for number in range(days):
            self.add(number)

    def add(self, number):
        self.now = day(number)
        return self.log.append(closed(number))

    def texts(self):
        """Which records still have their text."""
        return [record.sequence for record in self.log.records() if record.body is not None]


@pytest.fixture
def clocked(tmp_path):
    made = Clocked(tmp_path / "evidence.log", 10)
    yield made
    made.log.close()


def test_only_the_old_lose_their_text_and_hashes_and_signatures_stay(clocked):
    before = list(clocked.log.records())
    head = clocked.log.head()
    clocked.log.withhold(day(4))
    after = list(clocked.log.records())
    assert [record.body is None for record in after] == [True] * 4 + [False] * 6
    assert [record.digest for record in after] == [record.digest for record in before]
    for record in after:
        verify_record(record, KEY.public)
    assert clocked.log.head() == head
    assert clocked.path.stat().st_mode & 0o777 == 0o600
    assert b"0000000000000002" not in clocked.path.read_bytes()
    assert not clocked.path.with_name("evidence.log.new").exists()


def test_it_goes_on_here_and_in_another_process(clocked):
    clocked.log.withhold(day(4))
    assert clocked.add(11).sequence == 11
    clocked.log.withhold(day(8))
    assert clocked.texts() == [9, 10, 11]
    again = EvidenceLog(clocked.path, "tax", KEY)
    assert again.append(closed(12)).sequence == 12
    again.close()
    assert clocked.add(13).sequence == 13
    assert clocked.texts() == [9, 10, 11, 12, 13]
    clocked.log.require_writable()


def test_everything_may_be_old(clocked):
    clocked.log.withhold(day(99))
    assert clocked.texts() == []
    assert clocked.add(100).sequence == 11
    assert clocked.texts() == [11]


def test_where_nothing_is_old_the_file_is_not_touched(clocked):
    found = clocked.path.stat()
    clocked.log.withhold(START)
    clocked.log.withhold(START)
    assert clocked.path.stat() == found


def test_a_jobs_records_are_found_behind_withheld_ones(clocked):
    clocked.log.withhold(day(4))
    [line] = clocked.log.of_job(f"{6:032x}").splitlines()
    assert b"0000000000000006" in line
    assert clocked.log.of_job(f"{1:032x}") == b""


def test_whoever_reads_while_it_happens_reads_what_was_there(clocked):
    records = clocked.log.records()
    clocked.log.withhold(day(9))
    assert [record.body is not None for record in records] == [True] * 10


def test_text_that_is_missing_in_the_middle_is_no_such_thing(clocked):
    lines = clocked.path.read_bytes().splitlines(keepends=True)
    records = list(clocked.log.records())
    lines[5] = records[5].withheld().encode() + b"\n"
    clocked.path.with_name("other").write_bytes(b"".join(lines))
    with pytest.raises(LogError, match="record 6 does not continue"):
        EvidenceLog(clocked.path.with_name("other"), "tax", KEY)


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_a_disk_that_is_full_changes_nothing(clocked, monkeypatch, step):
    before = clocked.path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(withholding.os if step == "fsync" else withholding.Path, step, full)
        with pytest.raises(OSError, match="No space"):
            clocked.log.withhold(day(4))
    assert clocked.path.read_bytes() == before
    assert not clocked.path.with_name("evidence.log.new").exists()
    assert clocked.add(11).sequence == 11


def killed_at(path, step, when):
    """In a process of its own: withhold, and be killed before or after a step that touches the disk."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    place = withholding.Path if step == "rename" else withholding
    real = getattr(place, step)

    def killed(*given):
        if when == "after":
            real(*given)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(place, step, killed)
    EvidenceLog(path, "tax", KEY).withhold(day(4))
    os._exit(0)


@pytest.mark.parametrize("step", ["_copy", "rename", "to_disk"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_step_there_is_one_whole_log(tmp_path, step, when):
    made = Clocked(tmp_path / "evidence.log", 6)
    made.log.close()
    assert killed_at(made.path, step, when) == -signal.SIGKILL
    log = EvidenceLog(made.path, "tax", KEY)
    assert log.append(closed(7)).sequence == 7
    texts = sum(record.body is not None for record in log.records())
    assert texts == (3 if step == "to_disk" or (step, when) == ("rename", "after") else 7)
    log.withhold(day(4))
    assert sum(record.body is not None for record in log.records()) == 3
    log.close()


def test_a_process_that_opened_the_old_file_notices(clocked):
    """The officer's command line, between opening and adding: nothing is added to a file without a name."""
    other = EvidenceLog(clocked.path, "tax", KEY)
    clocked.log.withhold(day(4))
    with pytest.raises(LogError, match="was replaced by another file"):
        other.append(closed(11))
    other.close()
    assert len(clocked.texts()) == 6


def test_a_log_goes_on_from_its_earlier_copy_also_without_old_texts(clocked, tmp_path):
    copy, other = tmp_path / "copy", Clocked(tmp_path / "other.log", 10)
    copy.write_bytes(clocked.path.read_bytes() + b"torn off")
    clocked.add(10)
    clocked.log.withhold(day(8))
    assert goes_on_from(clocked.path, copy)
    assert not goes_on_from(copy, clocked.path)
    assert not goes_on_from(other.path, copy)  # of the same length, and another chain
    other.log.close()
