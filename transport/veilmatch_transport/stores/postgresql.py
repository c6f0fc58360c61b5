"""A store in a PostgreSQL database: the tables of the account's current schema (protocol.md, 4.7).

Transactions are serialised by an advisory lock that each takes first, so that none reads what another is about to
change.  That a store is one service's rests on two things.  A session of its own holds an advisory lock, so that
a second service does not start.  And each owner draws a token, which its transactions compare: whose session was
lost, while another took over, does nothing more (a fencing token; Kleppmann, "Designing Data-Intensive
Applications", chapter 8).  It is random, not a count: a database that lost its newest commits in a failover would
count to the same token a second time.
"""

import secrets
import threading
from typing import Any

import psycopg
from psycopg import errors
from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event, text

from veilmatch_transport.errors import CLOSED, StoreFailedError
from veilmatch_transport.settings import SettingsError

# Advisory locks, a pair a schema; the numbers are ours and mean nothing.
_OWNERS, _TRANSACTIONS = 1_986_357_353, 1_986_357_354
_LOCK = f"SELECT pg_advisory_xact_lock({_TRANSACTIONS}, hashtext(current_schema()))"
_HOLD = f"SELECT pg_try_advisory_lock({_OWNERS}, hashtext(current_schema()))"
# A commit that is not on disk, or pages that are torn in a power cut, are no store; waiting has an end.
_SETTINGS = (
    "SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),"
    " current_schema(), set_config('lock_timeout', '30s', false)"
)
_CONNECTING = {
    "application_name": "veilmatch",
    "connect_timeout": "10",
    "keepalives_idle": "30",  # seconds
    "tcp_user_timeout": "30000",  # milliseconds
}
_DEFAULT = "does not answer, or refuses the account", "start it, or correct the URL"
_FAILURES: tuple[tuple[type[psycopg.Error], tuple[str, str]], ...] = (
    (
        errors.InsufficientPrivilege,
        ("denies the account a right", "let it make and use tables in its schema"),
    ),
    (errors.DiskFull, ("has no space left", "free its disk")),
    (errors.TooManyConnections, ("has no connection left", "allow it more, or stop what uses them")),
    (errors.LockNotAvailable, ("is held by another transaction for too long", "find out which")),
    (errors.ReadOnlySqlTransaction, ("is read-only", "name the primary, not a standby")),
    (psycopg.OperationalError, _DEFAULT),
    (psycopg.InterfaceError, _DEFAULT),
)


def durable_engine(url: URL) -> Engine:
    """Open a schema for one service, until ``dispose``; raises as stores.durable_engine."""
    engine = shared_engine(url)
    try:
        owner = _Owner(engine)
        owner.take_over()
    except BaseException:
        engine.dispose()
        raise
    event.listen(engine, "do_connect", owner.hold)
    event.listen(engine, "begin", owner.require)
    event.listen(engine, "engine_disposed", owner.release)
    return engine


def shared_engine(url: URL) -> Engine:
    """Open a schema beside the service that has it."""
    engine = create_engine(
        url.set(drivername="postgresql+psycopg", query=_CONNECTING | dict(url.query)),
        isolation_level="READ COMMITTED",  # each statement sees what was committed before the lock was had
        pool_pre_ping=True,
        hide_parameters=True,
    )
    event.listen(engine, "connect", _require_usable)
    event.listen(engine, "begin", _one_at_a_time)
    event.listen(engine, "handle_error", _failure, retval=True)
    return engine


class _Owner:
    """One service's hold on a schema."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._holding = threading.Lock()
        self._session: psycopg.Connection[Any] | None = None
        self._token = secrets.randbits(63)  # a bigint, and not negative
        self._released = False

    def take_over(self) -> None:
        """Become the owner.  Raises SettingsError where another process is."""
        self.hold()
        if self._session is None:
            raise SettingsError("store: another process has this store open; stop it, or name another schema")
        try:
            with self._engine.begin() as connection:
                connection.execute(
                    text(
                        "CREATE TABLE IF NOT EXISTS store_owner"
                        " (sole boolean PRIMARY KEY DEFAULT true CHECK (sole), token bigint NOT NULL)"
                    )
                )
                connection.execute(
                    text(
                        "INSERT INTO store_owner (token) VALUES (:token)"
                        " ON CONFLICT (sole) DO UPDATE SET token = EXCLUDED.token"
                    ),
                    {"token": self._token},
                )
        except BaseException:
            self.release()
            raise

    def hold(self, *_connecting: object) -> None:
        """Take the session's lock, also after the server was away: whenever a connection is made anew.

        Raises StoreFailedError once it was let go: what goes on in another thread must not take it back.
        """
        with self._holding:
            if self._released:
                raise StoreFailedError(CLOSED)
            try:
                if self._session is not None:
                    self._session.execute("SELECT 1")
                    return
            except psycopg.Error:
                self._session = None
            arguments, settings = self._engine.dialect.create_connect_args(self._engine.url)
            try:
                session = psycopg.connect(*arguments, **settings, autocommit=True)
                _require_usable(session)
                held = session.execute(_HOLD).fetchone()
            except psycopg.Error as error:
                raise _said(error) from None
            if held == (True,):
                self._session = session
            else:
                session.close()

    def require(self, connection: Connection) -> None:
        """Raise StoreFailedError, at the beginning of a transaction, where another process may have the store."""
        if self._released:
            raise StoreFailedError(CLOSED)
        if connection.exec_driver_sql("SELECT token FROM store_owner").scalar() != self._token:
            raise StoreFailedError("store: another process has taken it over; stop one of the two")

    def release(self, *_disposed: object) -> None:
        """Let another process have the store."""
        with self._holding:
            self._released = True
            if self._session is not None:
                self._session.close()
                self._session = None


def _one_at_a_time(connection: Connection) -> None:
    connection.exec_driver_sql(_LOCK)


def _require_usable(connection: psycopg.Connection[Any], *_record: object) -> None:
    """Raise SettingsError, and close the connection, where a store would not be safe behind it."""
    ((*durable, schema, _),) = connection.execute(_SETTINGS).fetchall()
    connection.commit()
    if schema is not None and "off" not in durable:
        return
    connection.close()
    raise SettingsError(
        "store: its PostgreSQL has no schema that the account may use; name one in search_path"
        if schema is None
        else "store: its PostgreSQL loses commits in a power cut; "
        "set fsync, full_page_writes and synchronous_commit on"
    )


def _failure(context: ExceptionContext) -> BaseException | None:
    """What to raise for an error of PostgreSQL's; None: as it is, a broken rule of the tables or a defect."""
    error = context.original_exception
    if context.is_pre_ping:  # the pool's own question: it connects anew
        return None
    return _said(error) if isinstance(error, tuple(kind for kind, _ in _FAILURES)) else None


def _said(error: BaseException) -> StoreFailedError:
    what, remedy = next((said for kind, said in _FAILURES if isinstance(error, kind)), _DEFAULT)
    return StoreFailedError(f"store: its PostgreSQL {what}; {remedy}")
