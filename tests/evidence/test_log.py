"""A party's log: an unbroken chain on disk, safe for threads and processes, and nothing once it cannot be written."""

import fcntl
import hashlib
import json
import os
import re
import resource
import stat
import subprocess
import sys
import textwrap
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from veilmatch_crypto import IdentityKey, SignatureRefusedError
from veilmatch_evidence.actions import Closed, Contributed, Disclosed, HeadSeen, Linked, Refused, Started
from veilmatch_evidence.errors import EvidenceRefusedError, LogError
from veilmatch_evidence.log import EvidenceLog
from veilmatch_evidence.records import FIRST, HEADS, Head, Record, verify_head, verify_record
from veilmatch_policy import canonical

KEY = IdentityKey.from_bytes(bytes(range(32)))
MANIFEST = "ab" * 32
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def closed(job: int = 1) -> Closed:
    return Closed(job=f"{job:032x}", manifest=MANIFEST)


def opened(path, **keywords) -> EvidenceLog:
    return EvidenceLog(path, "tax", KEY, **keywords)


def filled(path, count: int = 5):
    log = opened(path)
    for job in range(count):
        log.append(closed(job))
    log.close()
    return path.read_bytes().splitlines(keepends=True)


def test_records_are_chained_and_signed(tmp_path):
    log = opened(tmp_path / "log.jsonl")
    assert log.head() == Head.make("tax", 0, FIRST, KEY)
    heads = [log.append(closed(job)) for job in range(3)]
    records = list(log.records())
    assert [record.sequence for record in records] == [1, 2, 3]
    assert [record.digest for record in records] == [head.digest for head in heads]
    assert [record.previous for record in records] == [FIRST.hex(), *(r.digest.hex() for r in records[:-1])]
    assert heads[-1] == log.head()
    for record, head in zip(records, heads, strict=True):
        verify_record(record, KEY.public)
        verify_head(head, KEY.public)
        assert Head.of(head.seen()) == head
        assert record.read()[1] == closed(record.sequence - 1)
    with pytest.raises(SignatureRefusedError):
        verify_record(records[0], IdentityKey.generate().public)
    with pytest.raises(EvidenceRefusedError, match="is not signed by tax"):
        verify_head(Head("tax", 4, heads[-1].digest, heads[-1].signature), KEY.public)
    assert stat.S_IMODE((tmp_path / "log.jsonl").stat().st_mode) == 0o600
    assert repr(log) == "<EvidenceLog of tax, 3 records>"


def test_a_log_goes_on_where_it_ended(tmp_path):
    path = tmp_path / "log.jsonl"
    filled(path, 3)
    log = opened(path)
    assert log.append(closed(9)).sequence == 4
    assert [record.sequence for record in log.records()] == [1, 2, 3, 4]


def test_a_torn_last_line_is_cut_off(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = filled(path, 3)
    for size in (1, len(lines[2]) // 2, len(lines[2]) - 1):
        path.write_bytes(b"".join(lines[:2]) + lines[2][:size])
        log = opened(path)
        assert log.head().sequence == 2
        assert path.read_bytes() == b"".join(lines[:2])
        log.close()


def changed(lines, number, **fields):
    """The lines with one record written otherwise, hashed anew, and all after it chained to it."""
    records = [Record.decode(line[:-1]) for line in lines]
    records[number] = records[number].model_copy(update=fields)
    for at in range(number + 1, len(records)):
        records[at] = records[at].model_copy(update={"previous": records[at - 1].digest.hex()})
    return [record.encode() + b"\n" for record in records]


def test_a_log_that_is_not_as_it_was_written_does_not_open(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = filled(path)
    other = filled(tmp_path / "other.jsonl")  # the same actions; their salts are others
    edits = {
        "removed": (lines[:1] + lines[2:], "record 2 does not continue"),
        "first removed": (lines[1:], "record 1 does not continue"),
        "moved": ([lines[0], lines[2], lines[1], *lines[3:]], "record 2 does not continue"),
        "twice": ([*lines[:2], lines[1], *lines[2:]], "record 3 does not continue"),
        "exchanged": ([*lines[:4], other[4]], "record 5 does not continue"),
        "empty line": ([*lines, b"\n"], "record 6 is no record"),
        "withheld": (
            [*lines[:4], Record.decode(lines[4][:-1]).withheld().encode() + b"\n"],
            "does not continue",
        ),
        "another text": ([*lines[:4], lines[4].replace(b"closed", b"dealt_")], "record 5 holds another text"),
        "another spelling": ([*lines[:4], lines[4].replace(b",", b", ", 1)], "record 5 is not the canonical"),
        "another party": (changed(lines, 4, party="pensions"), "record 5 does not continue"),
        "hashed anew": (changed(lines, 1, body_sha256="00" * 32, body=None), "record 2 does not continue"),
        "a signature": (
            [*lines[:4], changed(lines, 4, signature="0" * 128)[4]],
            "record 5 is not signed by tax",
        ),
    }
    for content, said in edits.values():
        path.write_bytes(b"".join(content))
        with pytest.raises(LogError, match=said) as refused:
            opened(path)
        assert str(refused.value).startswith(f"{path}: the log ")
        assert refused.value.exit_code == 5


def test_every_flipped_byte_is_found_when_the_log_is_opened(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = filled(path, 2)
    data = b"".join(lines)
    # But in signatures of records before the newest, which are verified by whoever is given them.
    signature = data.index(b'"signature":"')
    spared = range(signature, signature + len(b'"signature":"') + 128)
    for at in set(range(len(data) - 1)) - set(spared):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(LogError):
            opened(path).close()


def test_threads_and_processes_write_one_chain(tmp_path):
    path = tmp_path / "log.jsonl"
    log = opened(path)
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from veilmatch_crypto import IdentityKey
        from veilmatch_evidence.actions import Closed
        from veilmatch_evidence.log import EvidenceLog
        log = EvidenceLog(Path(sys.argv[1]), "tax", IdentityKey.from_bytes(bytes(range(32))))
        for _ in range(20):
            log.append(Closed(job="f" * 32, manifest="ab" * 32))
        """
    )
    other = subprocess.Popen([sys.executable, "-c", program, str(path)])
    threads = [
        threading.Thread(target=lambda job=job: [log.append(closed(job)) for _ in range(20)])
        for job in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert other.wait(30) == 0
    assert log.append(closed()).sequence == 101
    log.close()
    assert opened(path).head().sequence == 101


def test_a_record_waits_for_the_file_and_the_caller_for_the_disk(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    log = opened(path)
    synced = []
    real = os.fsync

    def fsync(descriptor):
        synced.append((descriptor, path.stat().st_size))
        real(descriptor)

    monkeypatch.setattr("os.fsync", fsync)
    log.append(closed())
    assert synced == [(log._file, path.stat().st_size)]
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)  # another process adds a record
        waiting = threading.Thread(target=lambda: log.append(closed()))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        assert len(synced) == 1
        fcntl.flock(other, fcntl.LOCK_UN)
    waiting.join(10)
    assert log.head().sequence == 2


def test_the_part_of_a_job_withholds_what_is_not_its_own(tmp_path):
    log = opened(tmp_path / "log.jsonl")
    head = Head.make("office", 7, bytes(32), IdentityKey.generate())
    for action in (closed(1), closed(2), head.seen(), closed(3), closed(2), closed(1)):
        log.append(action)
    everything = list(log.records())
    part = [Record.decode(line) for line in log.of_job(f"{2:032x}").splitlines()]
    assert [record.digest for record in part] == [record.digest for record in everything[1:5]]
    assert [None if (read := record.read()) is None else read[1].action for record in part] == [
        "closed",
        "head-seen",
        None,
        "closed",
    ]
    assert log.of_job("0" * 32) == b""
    assert f"{3:032x}".encode() not in log.of_job(f"{2:032x}")
    log.close()
    assert opened(tmp_path / "log.jsonl").of_job(f"{2:032x}") == b"".join(
        record.encode() + b"\n" for record in part
    )


def test_a_withheld_record_is_tagged_for_whoever_knows_its_job_and_for_nobody_else():
    head = Head.make("office", 7, bytes(32), IdentityKey.generate())
    actions = (closed(1), closed(1), closed(2), head.seen(), Refused(job=f"{1:032x}", rule="data"))
    others = (Refused(job=None, rule="data"), Disclosed(), Disclosed())
    records, previous = [], FIRST
    for number, action in enumerate((*actions, *others), 1):
        made = Record.make("tax", number, previous, action, KEY, now=NOW)
        records.append(made.withheld())
        previous = made.digest
    assert [record.is_about(f"{1:032x}") for record in records] == [
        *[True] * 2,
        *[False] * 2,
        True,
        *[False] * 3,
    ]
    assert [record.is_about(HEADS) for record in records] == [number == 3 for number in range(8)]
    assert (
        len({record.about for record in records}) == 8
    )  # nobody counts the records of a job it does not know
    again = Record.make("tax", 8, bytes.fromhex(records[7].previous), Disclosed(), KEY, now=NOW)
    assert again.about != records[7].about


def test_a_record_states_what_its_action_is_about():
    head = Head.make("office", 7, bytes(32), IdentityKey.generate())
    made = {
        action.action: Record.make("tax", 1, FIRST, action, KEY, now=NOW)
        for action in (closed(1), head.seen(), Disclosed())
    }
    tags = {record.about for record in made.values()} | {
        Record.make("tax", 1, FIRST, closed(2), KEY, now=NOW).about,
        Record.make("tax", 2, FIRST, closed(1), KEY, now=NOW).about,
        Record.make("tax", 1, bytes([1] * 32), closed(1), KEY, now=NOW).about,
        Record.make("police", 1, FIRST, closed(1), KEY, now=NOW).about,
    }
    assert len(tags) == 7
    for action in ("closed", "head-seen"):
        for about in tags - {made[action].about}:
            changed = made[action].model_copy(update={"about": about})
            assert changed.digest != made[action].digest
            with pytest.raises(ValueError, match="about something else"):
                changed.read()
    made["disclosed"].read()


def test_a_withheld_body_cannot_be_guessed_from_its_hash():
    made = [Record.make("tax", 1, FIRST, Disclosed(), KEY, now=NOW) for _ in range(2)]
    salts = {record.body["salt"] for record in made}
    assert len(salts) == 2
    assert all(re.fullmatch(r"[0-9a-f]{32}", salt) for salt in salts)
    guess = {name: value for name, value in made[0].body.items() if name != "salt"}
    assert guess == {"time": "2026-01-02T03:04:05Z", "action": "disclosed"}  # both are easily had
    assert hashlib.sha256(canonical.encode(guess)).hexdigest() != made[0].body_sha256
    assert made[0].body_sha256 != made[1].body_sha256
    withheld = made[0].withheld()
    assert made[0].body["salt"].encode() not in withheld.encode()
    assert withheld.digest == made[0].digest
    for salt in (None, 1, "", "0" * 31, "A" * 32, "0" * 32 + "\n"):
        with pytest.raises(ValueError, match="has no salt"):
            made[0].model_copy(update={"body": {**made[0].body, "salt": salt}}).read()
    with pytest.raises(ValueError, match="has no salt"):
        made[0].model_copy(update={"body": guess}).read()


def test_what_is_no_action_is_no_record(tmp_path):
    record = Record.make("tax", 1, FIRST, closed(), KEY, now=NOW)
    assert record.read()[0] == NOW
    for change in ({"action": "erased"}, {"job": 1}, {"time": "2026-01-01"}, {"who": "x"}):
        body = {**record.body, **change}
        with pytest.raises(ValueError, match="action"):
            record.model_copy(update={"body": body}).read()
    debit = {
        "kind": "runs",
        "window": "epoch",
        "what": "t.c",
        "receiver": "r",
        "units": 1,
        "spent": 1,
        "limit": 3,
    }
    started = Started(job="0" * 32, manifest=MANIFEST, epoch=MANIFEST, policies=(), debits=(debit,))
    body = Record.make("tax", 1, FIRST, started, KEY, now=NOW).body
    body["debits"][0]["units"] = "1"  # would be read as 1
    with pytest.raises(ValueError, match="one spelling"):
        record.model_copy(update={"body": body}).read()


# What cannot be written is not done.


def require_failed(log, path, calls):
    """The log takes nothing more, has said so once, and its file is a log still."""
    assert log.failed
    for call in (lambda: log.append(closed()), log.require_writable, lambda: log.append(closed())):
        with pytest.raises(LogError):
            call()
    assert calls == [1]
    again = opened(path)
    assert again.append(closed()).sequence == 3
    again.close()


def test_a_full_disk_ends_the_log(tmp_path):
    path, calls = tmp_path / "log.jsonl", []
    log = opened(path, on_failure=lambda: calls.append(1))
    log.append(closed())
    log.append(closed())
    log.require_writable()
    full = os.open("/dev/full", os.O_RDWR)
    kept = os.dup(log._file)
    os.dup2(full, log._file)  # the kernel's own "no space left on device"
    with pytest.raises(LogError, match="No space left on device"):
        log.append(closed())
    os.dup2(kept, log._file)  # there is space again: it takes nothing all the same
    require_failed(log, path, calls)
    os.close(full)
    os.close(kept)


def test_a_record_that_does_not_fit_whole_ends_the_log(tmp_path):
    path, calls = tmp_path / "log.jsonl", []
    log = opened(path, on_failure=lambda: calls.append(1))
    log.append(closed())
    log.append(closed())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, hard))
    try:
        with pytest.raises(LogError, match="File too large"):
            log.append(closed())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not path.read_bytes().endswith(b"\n")  # the beginning of a record is there
    require_failed(log, path, calls)


@pytest.mark.parametrize("act", ["replaced", "removed", "folder moved", "shortened"])
def test_a_file_that_is_no_longer_the_log_ends_it(tmp_path, act):
    (tmp_path / "state").mkdir()
    path = tmp_path / "state" / "log.jsonl"
    log = opened(path)
    log.append(closed())
    match act:
        case "replaced":
            path.rename(tmp_path / "old")
            path.write_bytes((tmp_path / "old").read_bytes())
        case "removed":
            path.unlink()
        case "folder moved":
            path.parent.rename(tmp_path / "moved")
            path.parent.write_bytes(b"")  # and a file where the folder was
        case "shortened":
            os.truncate(path, 0)
    with pytest.raises(LogError):
        log.append(closed())
    assert log.failed
    with pytest.raises(LogError):
        log.require_writable()


def test_a_folder_that_takes_no_file(tmp_path):
    # /proc is read-only for everybody, root included; below a file there is no folder.
    (tmp_path / "file").touch()
    for path, said in (
        (tmp_path / "file" / "log.jsonl", "Not a directory"),
        (tmp_path / "nowhere" / "log.jsonl", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(LogError, match=f"the log cannot be written .{said}"):
            opened(path)
    with pytest.raises(LogError, match="the log cannot be written"):
        EvidenceLog(Path("/proc/self/log.jsonl"), "tax", KEY)


def test_a_closed_log_takes_nothing(tmp_path):
    log = opened(tmp_path / "log.jsonl")
    log.close()
    with pytest.raises(LogError):
        log.append(closed())


def test_records_hold_only_what_the_actions_hold(tmp_path):
    log = opened(tmp_path / "log.jsonl")
    log.append(Linked(epoch=MANIFEST, linkage="oprf", slots="union"))
    log.append(Contributed(job="0" * 32, manifest=MANIFEST, outcome=1, chunk=2, sha256=MANIFEST))
    log.append(HeadSeen(party="x", sequence=0, digest=MANIFEST, signature="0" * 128))
    bodies = [json.loads(line)["body"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [set(body) - {"time", "salt", "action"} for body in bodies] == [
        {"epoch", "linkage", "slots"},
        {"job", "manifest", "outcome", "chunk", "sha256"},
        {"party", "sequence", "digest", "signature"},
    ]
