"""What must hold whatever was sent: no crash, no internal text, no thread left over, memory bounded."""

import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from structlog.testing import capture_logs

# Traces of an inside that a peer must never be shown: code, paths, classes, SQL, and cells (the world's people).
_INSIDE = re.compile(
    r"Traceback|File \"|\.py\b|/(?:work|tmp|home|usr|root|var)/|sqlite|sqlalchemy|psycopg|duckdb|pydantic|sqlglot"
    r"|\bINSERT\b|\bUPDATE\b|\bDELETE FROM\b|object at 0x|\b[A-Z][A-Za-z]+(?:Error|Exception)\b|<class|\bp\d{1,3}\b",
)
LONGEST_TEXT = 1000  # characters of one public line
ENDS_WITHIN = 20.0  # seconds that threads have to end
MOST_MEMORY = 400 << 20  # bytes by which the process may grow


def check_text(text: str) -> None:
    """Raise AssertionError for an answer that says something of our inside, or is no line."""
    assert not _INSIDE.search(text), f"internal text: {text[:300]}"
    assert "internal error" not in text, f"an exception that nobody foresaw: {text[:300]}"
    assert text.isprintable(), f"control characters: {text[:300]!r}"
    assert len(text) <= LONGEST_TEXT, f"{len(text)} characters: {text[:300]}"


def check_logs(logs: Sequence[dict[str, object]]) -> None:
    """Raise AssertionError where an exception was logged that nobody foresaw."""
    for entry in logs:
        assert entry.get("code") != "internal", entry
        assert entry["log_level"] not in {"critical", "exception"}, entry
        assert "exc_info" not in entry, entry


@contextmanager
def watched() -> Iterator[list[dict[str, object]]]:
    """Hold the logs, the threads and the memory of the body against the oracles; give the logs."""
    before, memory = set(threading.enumerate()), resident()
    with capture_logs() as logs:
        yield logs
    check_logs(logs)
    deadline = time.monotonic() + ENDS_WITHIN
    while left := [thread for thread in threading.enumerate() if thread not in before and _ours(thread)]:
        assert time.monotonic() < deadline, f"threads are left: {left}"
        time.sleep(0.02)
    grown = resident() - memory
    assert grown < MOST_MEMORY, f"memory has grown by {grown >> 20} MiB"


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _ours(thread: threading.Thread) -> bool:
    """Threads of work; a pool's threads stay for the next call."""
    return thread.name.startswith(("task ", "task for", "messages of", "linkage"))
