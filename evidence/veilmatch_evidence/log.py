"""A party's log on its own disk: only ever added to, each record on disk before the party goes on (protocol.md, 7).

What cannot be written down is not done: after the first failure the log takes nothing more, and whoever
holds it refuses everything.  The officer's command line may add records beside the running service, so each
addition holds the file's lock and first reads what came meanwhile.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from veilmatch_crypto import IdentityKey, SignatureRefusedError
from veilmatch_evidence.actions import Action
from veilmatch_evidence.errors import LogError
from veilmatch_evidence.records import FIRST, HEADS, Head, Record, verify_record
from veilmatch_evidence.withholding import to_disk, withhold
from veilmatch_policy.clock import Clock, utc_now


class EvidenceLog:
    """One party's log.  Safe for several threads of a process, and for several processes."""

    def __init__(
        self,
        path: Path,
        party: str,
        identity: IdentityKey,
        *,
        on_failure: Callable[[], None] | None = None,
        on_record: Callable[[str, float], None] | None = None,
        clock: Clock = utc_now,
    ) -> None:
        """Open or make the log; the hashes of all its records and the newest signature are verified.

        A last line without its line break was cut off by a crash before anybody relied on it, and is
        removed.  ``on_failure`` is called once, when a record could not be written; ``on_record`` for each that was:
        its action, and the seconds until it was on disk.  Raises LogError where the file cannot be opened, or is not
        the unbroken log of ``party``.
        """
        self._path = path
        self._party = party
        self._identity = identity
        self._on_failure = on_failure
        self._on_record = on_record
        self._clock = clock
        self._adding = threading.Lock()
        self._failure: LogError | None = None
        self._size: int  # bytes that were read and verified
        self._sequence: int
        self._digest: bytes
        self._texts_from: int  # where the first record with its text begins
        self._jobs: dict[str, tuple[int, int]]  # where a job's first record begins and its last one ends
        self._forget()
        try:
            self._file = self._open()
        except OSError as error:
            raise self._unusable(error) from None
        try:
            os.fchmod(self._file, 0o600)
            if not os.fstat(self._file).st_size:
                to_disk(path.parent)
            with self._locked():
                self._follow()
        except OSError as error:
            os.close(self._file)
            raise self._unusable(error) from None
        except LogError:
            os.close(self._file)
            raise

    def __repr__(self) -> str:
        return f"<EvidenceLog of {self._party}, {self._sequence} records>"

    @property
    def failed(self) -> bool:
        """Whether a record could not be written: then the party serves nobody any more."""
        return self._failure is not None

    def append(self, action: Action) -> Head:
        """Add a record and return the new head, once the record is on disk.

        Raises LogError where that fails, now and ever after.
        """
        began = time.monotonic()
        try:
            with self._adding, self._locked():
                self._require_unbroken()
                self._follow()
                record = Record.make(
                    self._party,
                    self._sequence + 1,
                    self._digest,
                    action,
                    self._identity,
                    now=self._clock(),
                )
                line = record.encode() + b"\n"
                _write(self._file, line)
                self._take(record, len(line))
                head = self._head()
        except OSError as error:
            raise self._fail(self._unusable(error)) from None
        except LogError as error:
            raise self._fail(error) from None
        if self._on_record is not None:
            self._on_record(action.action, time.monotonic() - began)
        return head

    def head(self) -> Head:
        """Return the newest record's hash, signed."""
        with self._adding:
            return self._head()

    def of_job(self, job: str) -> bytes:
        """Return the lines from the first to the last record that name a job, empty where none does.

        Records in between are there without their text, but for heads of other parties, which are nobody's job.
        """
        with self._adding:
            records = self._read(*self._jobs.get(job, (0, 0)))
        lines = (
            record if record.is_about(job) or record.is_about(HEADS) else record.withheld()
            for record in records
        )
        return b"".join(record.encode() + b"\n" for record in lines)

    def records(self) -> Iterator[Record]:
        """Yield all records, oldest first, as of now."""
        with self._adding:
            return self._read(0, self._size)

    def require_writable(self) -> None:
        """Return if the log can go on.  Raises LogError where it failed, or its file is no longer there."""
        try:
            with self._adding:
                self._require_unbroken()
        except OSError as error:
            raise self._fail(self._unusable(error)) from None
        except LogError as error:
            raise self._fail(error) from None

    def withhold(self, before: datetime) -> None:
        """Leave out the text of all records before a moment, for good; their hashes and signatures stay.

        Only the newest texts can be read and given to auditors afterwards.  Raises LogError where the log failed,
        and OSError where the disk does not take the new file: the log is then what it was.
        """
        with self._adding, self._locked():
            self._require_unbroken()
            self._follow()
            new = withhold(self._path, self._texts_from, before)
            if new is not None:
                os.close(self._file)
                self._file = new
                self._identifier = _identifier(os.fstat(new))
                self._forget()
                self._follow()

    def close(self) -> None:
        """Close the file; the log takes nothing more."""
        with self._adding:
            self._failure = self._broken("was closed")
            os.close(self._file)

    def _head(self) -> Head:
        return Head.make(self._party, self._sequence, self._digest, self._identity)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from adding."""
        self._require_whole()  # the descriptor may be another file's by now
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _require_unbroken(self) -> None:
        """Raise LogError unless nothing failed and the file at the path is the one that was opened."""
        self._require_whole()
        if _identifier(self._path.stat()) != self._identifier:
            raise self._broken("was replaced by another file")

    def _follow(self) -> None:
        """Take in what stands behind what is known: everything at first, later what another process added."""
        size = self._path.stat().st_size
        if size == self._size:
            return
        if size < self._size:
            raise self._broken("lost records that were in it")
        newest = None
        with self._path.open("rb") as file:
            file.seek(self._size)
            for line in file:
                if not line.endswith(b"\n"):
                    os.ftruncate(self._file, self._size)
                    os.fsync(self._file)
                    break
                newest = self._next(line[:-1])
                self._take(newest, len(line))
        if newest is not None:
            self._require_signed(newest)

    def _next(self, line: bytes) -> Record:
        try:
            record = Record.decode(line)
        except ValueError as error:
            raise self._broken(f"record {self._sequence + 1} {error}") from None
        expected = (self._party, self._sequence + 1, self._digest.hex())
        # Only the oldest may be without their text (`withhold`).
        textless = record.body is None and self._texts_from != self._size
        if (record.party, record.sequence, record.previous) != expected or textless:
            raise self._broken(f"record {self._sequence + 1} does not continue the one before it")
        return record

    def _require_signed(self, record: Record) -> None:
        try:
            verify_record(record, self._identity.public)
        except SignatureRefusedError:
            raise self._broken(f"record {record.sequence} is not signed by {self._party}") from None

    def _take(self, record: Record, size: int) -> None:
        begins, self._size = self._size, self._size + size
        self._sequence, self._digest = record.sequence, record.digest
        if record.body is None:
            self._texts_from = self._size
        if record.job is not None:
            self._jobs[record.job] = (self._jobs.get(record.job, (begins, 0))[0], self._size)

    def _read(self, begins: int, ends: int) -> Iterator[Record]:
        """Yield the records between two places; both are ends of lines that were verified."""
        # Opened now: `withhold` may put another file there before the first record is asked for.
        return _records(self._path.open("rb"), begins, ends)

    def _open(self) -> int:
        """Open or make the file; another process may just have put a new one in its place (`withhold`)."""
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            self._identifier = _identifier(os.fstat(file))
            if self._path.exists() and _identifier(self._path.stat()) == self._identifier:
                fcntl.flock(file, fcntl.LOCK_UN)
                return file
            os.close(file)

    def _forget(self) -> None:
        """Know nothing of the file yet."""
        self._size = 0
        self._sequence = 0
        self._digest = FIRST
        self._texts_from = 0
        self._jobs = {}

    def _require_whole(self) -> None:
        """Raise the first failure, now and ever after: it says why."""
        if self._failure is not None:
            raise self._failure.with_traceback(None)

    def _fail(self, error: LogError) -> LogError:
        if self._failure is None:
            self._failure = error
            if self._on_failure is not None:
                self._on_failure()
        return self._failure

    def _unusable(self, error: OSError) -> LogError:
        return LogError(
            f"{self._path}: the log cannot be written ({error.strerror}); "
            "nothing is done that is not logged: free the disk, check path and permissions, then start again"
        )

    def _broken(self, what: str) -> LogError:
        return LogError(
            f"{self._path}: the log {what}; keep the file, restore it from a copy, and start again"
        )


def goes_on_from(log: Path, earlier: Path) -> bool:
    """Whether a log's file holds the newest whole record of an earlier copy of it: then also all before it.

    Texts may have been withheld since.  Raises OSError, and ValueError where one of the two is no log.
    """
    *whole, _ = earlier.read_bytes().split(b"\n")
    if not whole:
        return True
    record = Record.decode(whole[-1])
    place = b'"sequence":%d' % record.sequence
    with log.open("rb") as file:
        found = (Record.decode(line[:-1]) for line in file if place in line and line.endswith(b"\n"))
        return any(each.sequence == record.sequence and each.digest == record.digest for each in found)


def _write(file: int, line: bytes) -> None:
    """Write all of a line and wait until it is on disk."""
    while line:
        line = line[os.write(file, line) :]
    os.fsync(file)


def _records(file: BinaryIO, begins: int, ends: int) -> Iterator[Record]:
    with file:
        file.seek(begins)
        while file.tell() < ends:
            yield Record.decode(file.readline()[:-1])


def _identifier(found: os.stat_result) -> tuple[int, int]:
    """Which file it is, whatever it is called."""
    return found.st_dev, found.st_ino
