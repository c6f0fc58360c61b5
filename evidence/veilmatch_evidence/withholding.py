"""A log's file with the text of its oldest records left out; the chain of hashes stays whole (protocol.md, 7).

The new file is written beside the old one, is on disk as a whole, and takes its name in one step: after a crash
there is the one or the other.
"""

import fcntl
import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from veilmatch_evidence.records import Record

_COPIED = 1 << 20  # bytes at a time


def withhold(path: Path, texts_from: int, before: datetime) -> int | None:
    """Put a file in a log's place that lacks the text of its records before a moment.

    ``texts_from`` is where the first record with its text begins.  The caller holds the old file's lock.  Returns
    a descriptor of the new file, opened as a log's is and locked, or None where no record is as old.  Raises
    OSError where the disk does not take it; the log is then what it was.
    """
    with path.open("rb") as old:
        old.seek(texts_from)
        if not _older(old.readline(), before):
            return None
        beside = path.with_name(f"{path.name}.new")
        new = os.open(beside, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            fcntl.flock(new, fcntl.LOCK_EX)
            _copy(old, new, before, texts_from)
            os.fsync(new)
            beside.rename(path)
        except BaseException:
            os.close(new)
            beside.unlink(missing_ok=True)
            raise
    to_disk(path.parent)
    return new


def to_disk(path: Path) -> None:
    """Have a file, or the names of those in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy(old: BinaryIO, new: int, before: datetime, texts_from: int) -> None:
    """Copy what has no text as it is, then old records without theirs, then the rest as it is."""
    old.seek(0)
    with open(new, "wb", closefd=False) as out:
        out.writelines(
            old.read(size) for size in [_COPIED] * (texts_from // _COPIED) + [texts_from % _COPIED]
        )
        line = old.readline()
        while _older(line, before):
            out.write(Record.decode(line[:-1]).withheld().encode() + b"\n")
            line = old.readline()
        out.write(line)
        shutil.copyfileobj(old, out, _COPIED)


def _older(line: bytes, before: datetime) -> bool:
    """Whether a line is a record with its text from before a moment; the newest line may be cut off."""
    if not line.endswith(b"\n"):
        return False
    said = Record.decode(line[:-1]).read()
    return said is not None and said[0] < before
