"""The SQLite file in which a service keeps what must survive a crash (protocol.md, 4.7)."""

import fcntl
import os
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event

from veilmatch_transport.settings import SettingsError


def durable_engine(path: Path) -> Engine:
    """Open, or make, a store whose committed transactions survive a power cut.

    ``synchronous=FULL``: a commit returns when it is on disk.  Transactions that read and then write
    (ledgers, sequences, states) do not interleave.  What is deleted is overwritten.  The file is readable by
    its owner only.

    The store is this engine's alone until ``dispose``: two services over one store would each believe
    what they remember of it.  Raises SettingsError where another holds it, or it cannot be made.
    """
    lock = _lock(path)
    engine = _engine(path)
    event.listen(engine, "engine_disposed", lambda _engine: os.close(lock), once=True)
    return engine


def shared_engine(path: Path) -> Engine:
    """Open a store beside the service that has it, for what keeps nothing of it in memory.

    Raises SettingsError where there is none yet.
    """
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


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _one_writer)
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
