"""A store in a SQLite file (protocol.md, 4.7).

``synchronous=FULL``: a commit returns when it is on disk.  ``BEGIN IMMEDIATE``: transactions do not interleave.
``secure_delete``: what is deleted is overwritten.  The file is readable by its owner only.
"""

import fcntl
import os
import sqlite3
import threading
from pathlib import Path

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event

from veilmatch_transport.errors import CLOSED, StoreFailedError
from veilmatch_transport.settings import SettingsError

# What SQLite says in a result code (sqlite.org/rescode.html), and what to do.
_FAILURES = {
    sqlite3.SQLITE_BUSY: ("is locked by another program for too long", "find out what has it open"),
    sqlite3.SQLITE_READONLY: ("is read-only", "check its permissions and its disk"),
    sqlite3.SQLITE_IOERR: ("cannot be read or written", "check its disk"),
    sqlite3.SQLITE_CORRUPT: ("is damaged", "restore it from a backup"),
    sqlite3.SQLITE_FULL: ("cannot be written, the disk is full", "free the disk"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "check its folder and permissions"),
    sqlite3.SQLITE_NOTADB: ("is no SQLite file", "restore it from a backup, or name another store"),
}
_PRIMARY = 0xFF  # the part of an extended result code that is in the table above


def durable_engine(path: Path) -> Engine:
    """Open or make a file for one service, until ``dispose``; raises as stores.durable_engine."""
    lock = _lock(path)
    engine = _engine(path)
    closed = threading.Event()

    def close(_engine: Engine) -> None:
        closed.set()
        os.close(lock)

    def require_open(*_: object) -> None:
        if closed.is_set():
            raise StoreFailedError(CLOSED)

    event.listen(engine, "engine_disposed", close, once=True)
    event.listen(engine, "do_connect", require_open)
    # Behind BEGIN IMMEDIATE: whoever has the store next waits for a transaction that began before.
    event.listen(engine, "begin", require_open)
    return engine


def shared_engine(path: Path) -> Engine:
    """Open a file that is there already."""
    if not path.exists():
        raise SettingsError(f"{path}: there is no store yet; start the service once")
    return _engine(path)


def forget_erased(engine: Engine) -> None:
    """Empty the write-ahead log, where pages live on that were erased since."""
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def copy(engine: Engine, to: Path) -> None:
    """Copy the whole store as it is at one moment, while it is used; ``to`` is there only when it is whole."""
    unfinished = to.with_name(f"{to.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    connection = engine.raw_connection()
    try:
        target = sqlite3.connect(unfinished)
        try:
            # One step: backed up page by page, the copy would begin anew with each commit in between.
            connection.driver_connection.backup(target)  # type: ignore[union-attr]  # a sqlite3.Connection
        finally:
            target.close()
    finally:
        connection.close()
    unfinished.replace(to)
    to_disk(to.parent)


def to_disk(path: Path) -> None:
    """Have a file, or the names of those in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", hide_parameters=True)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _one_writer)
    event.listen(engine, "handle_error", lambda context: _failure(context, path), retval=True)
    return engine


def _lock(path: Path) -> int:
    """Make the store's file and its lock file; the descriptor that holds the lock while it is open."""
    # Beside the store, not on it: to close any descriptor of the store's own file would drop SQLite's locks.
    beside = path.with_name(f"{path.name}.lock")
    try:
        path.touch(mode=0o600)
        path.chmod(0o600)
        lock = os.open(beside, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise SettingsError(
            f"{path}: the store cannot be made ({error.strerror}); check its folder"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise SettingsError(
            f"{path}: another process has this store open; stop it, or name another store"
        ) from None
    return lock


def _configure(connection: object, _record: object) -> None:
    connection.isolation_level = None  # type: ignore[attr-defined]  # SQLAlchemy types it as object; BEGIN is below
    cursor = connection.cursor()  # type: ignore[attr-defined]  # same
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()


def _one_writer(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _failure(context: ExceptionContext, path: Path) -> BaseException | None:
    """What to raise for an error of SQLite's; None: as it is, a broken rule of the tables or a defect."""
    error = context.original_exception
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    if code not in _FAILURES:
        return None
    what, remedy = _FAILURES[code]
    return StoreFailedError(f"{path}: the store {what}; {remedy}")
