"""The SQLite file in which a service keeps what must survive a crash (protocol.md, 4.7)."""

from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event


def durable_engine(path: Path) -> Engine:
    """Open, or make, a store whose committed transactions survive a power cut.

    ``synchronous=FULL``: a commit returns when it is on disk.  Transactions that read and then write
    (ledgers, sequences, states) do not interleave.  What is deleted is overwritten.  The file is readable by
    its owner only.
    """
    path.touch(mode=0o600)
    path.chmod(0o600)
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _one_writer)
    return engine


def forget_erased(engine: Engine) -> None:
    """Empty the write-ahead log, where pages live on that were erased since."""
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def _configure(connection: object, _record: object) -> None:
    connection.isolation_level = None  # type: ignore[attr-defined]  # SQLAlchemy types it as object; BEGIN is below
    cursor = connection.cursor()  # type: ignore[attr-defined]  # same
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()


def _one_writer(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
