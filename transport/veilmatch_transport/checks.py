"""What both roles look at in themselves: the store, the log, the certificate, clocks, room on the disk.

Used by a running service (``health``) and by `veilmatch doctor`.
"""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509

from veilmatch_policy.clock import Clock, utc_now
from veilmatch_transport.boundary import reason_of
from veilmatch_transport.errors import PeerError, WorkersError, one_line
from veilmatch_transport.health import Finding, degraded, failed, ok

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from veilmatch_transport.status import Said

RENEW: Final = timedelta(days=14)  # a root's office answers within days, and has holidays
ROOM_FAILED: Final = (
    64 << 20
)  # bytes: a store's write-ahead log and some records; less may end within a commit
ROOM_LOW: Final = 1 << 30  # bytes: a chunk of every party of a large job
CLOCK_APART: Final = 60.0  # seconds, a fifth of what protocol.md, 7 allows: time to mend it


def look_at_room(folders: Iterable[Path]) -> Finding:
    """Look how much room the disks of some folders (or of files' folders) have."""
    free = {folder: shutil.disk_usage(_existing(folder)).free for folder in folders}
    folder, least = min(free.items(), key=lambda item: item[1])
    said = f"{least // (1 << 20):,} MiB free at {folder}"
    if least < ROOM_FAILED:
        return failed(said, "free the disk: nothing can be kept there")
    if least < ROOM_LOW:
        return degraded(said, "free the disk, or give it more")
    return ok(said)


def look_at_certificate(pem: bytes, clock: Clock = utc_now) -> Finding:
    """Look how long a certificate is still valid."""
    certificate = x509.load_pem_x509_certificate(pem)
    return look_at_validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc, clock())


def look_at_validity(begins: datetime, ends: datetime, now: datetime) -> Finding:
    """Say how a certificate's time stands."""
    remedy = "ask the root for a new one (veilmatch node renew)"
    if now < begins:
        return failed(f"not valid before {begins:%Y-%m-%d %H:%M} UTC", "set this machine's clock")
    if now >= ends:
        return failed(f"expired at {ends:%Y-%m-%d %H:%M} UTC", remedy)
    said = f"valid until {ends:%Y-%m-%d %H:%M} UTC, {(ends - now).days} days"
    return degraded(said, remedy) if ends - now < RENEW else ok(said)


def look_at_store(transaction: Callable[[], object], files: Mapping[Path, tuple[int, int]]) -> Finding:
    """Look whether a store takes a transaction, and its files are still those that were opened.

    ``transaction`` writes something: SQLite begins one on a read-only file without complaint.  ``files``
    have device and inode of each.
    """
    for path, opened in files.items():
        if not path.exists() or identity_of(path) != opened:
            return failed(f"{path} is gone, or another file", "stop the service and restore the store")
    try:
        transaction()
    except Exception as error:  # noqa: BLE001  whatever the database says, work cannot be kept; its text may quote
        return failed(
            f"takes no transaction ({reason_of(error)})", "look who else has it open, at its disk and mode"
        )
    return look_at_room(path.parent for path in files) if files else ok("takes transactions")


def look_at_log(require_writable: Callable[[], None], path: Path) -> Finding:
    """Look whether the log takes more, and has room; a log that failed stays failed."""
    try:
        require_writable()
    except Exception as error:  # noqa: BLE001  LogError, of a layer beside this one; its text says what to do
        return failed(reason_of(error), "")
    return look_at_room([path.parent])


def look_at_clocks(said: Mapping[str, Said | PeerError]) -> Finding:
    """Say how far the clocks of those who answered are from ours."""
    apart = {name: answer.ahead for name, answer in said.items() if not isinstance(answer, PeerError)}
    if not apart:
        return ok("nobody was asked for the time yet")
    name, most = max(apart.items(), key=lambda item: abs(item[1]))
    words = f"{name} is {abs(most):.1f} s {'ahead' if most > 0 else 'behind'}"
    if abs(most) > CLOCK_APART:
        return degraded(words, "set the clocks of both machines; beyond five minutes work is refused")
    return ok(words)


def look_at_peers(said: Mapping[str, Said | PeerError], waiting: Mapping[str, bool]) -> Finding:
    """Say who cannot be reached; ``waiting`` are those that dial in, and whether they are there."""
    missing = [str(answer) for answer in said.values() if isinstance(answer, PeerError)]
    missing += [f"{name}: has not dialled in" for name, there in waiting.items() if not there]
    if missing:
        return degraded(one_line(" | ".join(missing)), "work with them fails until they are back")
    return ok(f"{len(said) + len(waiting)} reached")


def unusable(error: WorkersError) -> Finding:
    """Say of a department's cluster why it cannot work; jobs wait for it."""
    what, _, remedy = str(error).removeprefix("workers: ").rpartition("; ")
    return degraded(what, remedy)


def identity_of(path: Path) -> tuple[int, int]:
    """Return which file a path leads to: device and inode."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _existing(path: Path) -> Path:
    """The nearest folder above a path that exists: where it would be made."""
    return next(each for each in (path, *path.parents) if each.exists())
