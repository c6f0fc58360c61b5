"""A copy of a service's store and log in a folder, made while it serves, and put back (docs/operations.md).

The folder holds ``store.sqlite``, ``log``, and ``backup.json``: whose, when, and the SHA-256 of both.  The log is
copied last: it has all that the store has.  A store in PostgreSQL is copied by PostgreSQL's own tools.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import URL

from veilmatch_transport.settings import SettingsError, read_file
from veilmatch_transport.stores import Schema, shared_engine, sqlite
from veilmatch_transport.stores.sqlite import to_disk

_STORE, _LOG, _ABOUT = "store.sqlite", "log", "backup.json"
# What SQLite has beside a file, and takes up with whatever file has the name.
_BESIDE = ("-wal", "-shm", "-journal")


class About(BaseModel):
    """What ``backup.json`` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    party: str
    made: datetime
    store: str  # SHA-256, hex
    log: str


class Places(NamedTuple):
    """Where a restored store and its log are while it is made safe."""

    store: Path | URL
    log: Path


def write_backup(to: Path, *, party: str, store: Path | URL, schema: Schema, log: Path) -> About:
    """Copy a service's store and log into a new folder; the folder is there only when it is whole.

    Raises SettingsError where the folder is there already, or the store is none that can be copied here.
    """
    if to.exists():
        raise SettingsError(f"{to}: is there already; name a new folder with --to")
    if isinstance(store, URL):
        raise SettingsError("store: is in PostgreSQL; copy it with pg_dump, and then the log, as a file")
    unfinished = to.with_name(f"{to.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700, parents=True)
    engine = shared_engine(store, schema)
    try:
        sqlite.copy(engine, unfinished / _STORE)
    finally:
        engine.dispose()
    _copy(log, unfinished / _LOG)
    about = About(
        party=party,
        made=datetime.now(UTC),
        store=_digest(unfinished / _STORE),
        log=_digest(unfinished / _LOG),
    )
    (unfinished / _ABOUT).write_text(about.model_dump_json(indent=2), encoding="utf-8")
    unfinished.rename(to)
    return about


@contextmanager
def restoring(
    source: Path | None,
    *,
    party: str,
    store: Path | URL,
    log: Path,
    log_lost: bool,
    goes_on_from: Callable[[Path, Path], bool],
) -> Iterator[Places]:
    """Yield where a restored store is, to be made safe there; both are in their own places when the body has ended.

    A log that is lost is begun from the backup's, or anew, and is in its place last: until then the loss has to be
    said again.

    ``source`` is a folder of `write_backup`; without one the store was put in its place by other means.
    ``goes_on_from`` says whether a log holds all that an earlier copy of it held.  Raises
    SettingsError where the backup is not whole or another party's, where there is a store already, and where the log
    is not the one that goes on from the backup's, or is not there and not said to be lost.
    """
    if log.exists() == log_lost:
        raise SettingsError(
            f"{log}: is there; leave --log-lost out"
            if log_lost
            else f"{log}: the log is not there; put it back, or say --log-lost (docs/operations.md)"
        )
    if source is None:
        if isinstance(store, Path) and not store.exists():
            raise SettingsError(f"{store}: there is no store; name a backup with --from")
        with _begun(log, None, lost=log_lost) as begun:
            yield Places(store, begun)
        return
    if isinstance(store, URL):
        raise SettingsError("store: is in PostgreSQL; restore it with pg_restore, then leave --from out")
    for left in (store, *_beside(store)):
        if left.exists():
            raise SettingsError(
                f"{left}: there is a store already; move it away first, with all files beside it"
            )
    _require_whole(source, party)
    if not log_lost and not goes_on_from(log, source / _LOG):
        raise SettingsError(f"{log}: does not go on from the backup's log; take the newest log that there is")
    place = store.with_name(f"{store.name}.restored")
    beside = (place, *_beside(place), place.with_name(f"{place.name}.lock"))
    _remove(beside)  # what an earlier attempt left
    try:
        with _begun(log, source / _LOG, lost=log_lost) as begun:
            _copy(source / _STORE, place)
            yield Places(place, begun)
            _put(place, store)
    finally:
        _remove(beside)


@contextmanager
def _begun(log: Path, earlier: Path | None, *, lost: bool) -> Iterator[Path]:
    """Yield where the log is; one that was lost is in its place when the body has ended, a copy of an ``earlier``."""
    if not lost:
        yield log
        return
    place = log.with_name(f"{log.name}.restored")
    _remove([place])
    try:
        if earlier is not None:
            _copy(earlier, place)
        yield place
        _put(place, log)
    finally:
        _remove([place])


def _put(place: Path, to: Path) -> None:
    """Give a file its name, on the disk, before anything else is done."""
    place.rename(to)
    to_disk(to.parent)


def _beside(store: Path) -> list[Path]:
    return [store.with_name(f"{store.name}{suffix}") for suffix in _BESIDE]


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _require_whole(source: Path, party: str) -> None:
    """Hold a backup's files against what it says of itself.  Raises SettingsError."""
    try:
        about = About.model_validate_json(read_file(source / _ABOUT))
    except ValidationError:
        raise SettingsError(
            f"{source / _ABOUT}: says nothing of a backup; name another with --from"
        ) from None
    if about.party != party:
        raise SettingsError(f"{source}: is a backup of {about.party}; name one of {party} with --from")
    for name, digest in ((_STORE, about.store), (_LOG, about.log)):
        if _digest(source / name) != digest:
            raise SettingsError(f"{source / name}: is not what was backed up; take another backup")


def _digest(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(path: Path, to: Path) -> None:
    """Copy a file, for its owner only, to the disk.  A record that is being written may be cut off."""
    with (
        path.open("rb") as source,
        os.fdopen(os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as target,
    ):
        shutil.copyfileobj(source, target)
        target.flush()
        os.fsync(target.fileno())
