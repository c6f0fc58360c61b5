"""The databases that a node knows: who may read them now, and their tables as cells."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import Protocol

import numpy as np
import pyarrow as pa
import structlog

from veilmatch_node.cells import Cells
from veilmatch_node.databases import refusals
from veilmatch_node.databases.query import TableQuery
from veilmatch_node.databases.settings import Database, Kind
from veilmatch_policy.clock import Clock, utc_now

_IDENTIFIER = ":id"  # no catalog's column is called this
_log = structlog.get_logger(__name__)


class _Reader(Protocol):
    """What the module of each kind of database does."""

    def read(self, database: Database, query: TableQuery, /) -> Iterator[pa.Table]: ...

    def read_day(self, database: Database, query: str, name: str, where: str, /) -> date: ...

    def can_write(self, database: Database, name: str, where: str, /) -> bool: ...


def _reader(kind: Kind) -> _Reader:
    """The module for a kind of database: a node loads the drivers of its own databases only."""
    if kind == "mysql":
        from veilmatch_node.databases import mysql  # noqa: PLC0415  loads its driver

        return mysql
    from veilmatch_node.databases import postgresql  # noqa: PLC0415  same

    return postgresql


def can_write(database: Database, name: str) -> bool:
    """Tell whether the account of ``database`` could change a table, a schema or other accounts.

    Raises DataError, about ``name``, when the database cannot be reached.
    """
    return _reader(database.kind).can_write(database, name, name)


class Databases:
    """A node's databases by their names in the catalog; safe to use from several threads.

    Each database has no more than its ``connections`` at a time: a reader waits for one for as long as a
    statement may take.  An account that could write is told of once, in the service's log.
    ``told`` hears how many seconds each read took.
    """

    def __init__(
        self,
        databases: Mapping[str, Database],
        *,
        clock: Clock = utc_now,
        told: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._databases = dict(databases)
        self._clock = clock
        self._told = told
        self._slots = {
            name: threading.BoundedSemaphore(database.connections)
            for name, database in self._databases.items()
        }
        self._checked: set[str] = set()

    def dialect(self, name: str, where: str) -> Kind:
        """The SQL that the owner's expressions are in.  Raises DataError for a name that nobody knows."""
        return self._known(name, where).kind

    def read_table(self, query: TableQuery) -> Iterator[Cells]:
        """The rows of a table as batches of text cells, at least one batch.

        The cells' columns have the catalog's names; expressions are evaluated by the database.  Rows are
        numbered in the order of the identifier column.  Raises DataError when the database cannot be
        reached, must not be read now or fails, CatalogError when a column's type is not what the catalog
        says.
        """
        names = [_IDENTIFIER, *(column.name for column in query.columns)]
        first = 1
        with self._connection(query.database, query.where) as database:
            self._warn_once(query.database, database)
            for batch in _reader(database.kind).read(database, query):
                rows = np.arange(first, first + batch.num_rows)
                first += batch.num_rows
                yield Cells(batch.rename_columns(names), _IDENTIFIER, rows)
        if first == 1:
            empty = pa.table({name: pa.array([], pa.string()) for name in names})
            yield Cells(empty, _IDENTIFIER, np.arange(0))

    def read_day(self, name: str, query: str, *, where: str) -> date:
        """Run the owner's own query for the day that a table describes.

        Raises DataError when the database cannot be reached, must not be read now or gives no single day.
        """
        with self._connection(name, where) as database:
            return _reader(database.kind).read_day(database, query, name, where)

    def _known(self, name: str, where: str) -> Database:
        database = self._databases.get(name)
        if database is None:
            raise refusals.unknown(name, where)
        return database

    @contextmanager
    def _connection(self, name: str, where: str) -> Iterator[Database]:
        """One of the database's connections, within its window."""
        database = self._known(name, where)
        slot = self._slots[name]
        if not slot.acquire(timeout=database.statement_timeout):
            raise refusals.busy(name, where, database.connections)
        try:
            if database.window is not None and not database.may_be_read(self._clock()):
                raise refusals.closed(name, where, database.window)
            began = time.monotonic()
            yield database
            self._told(time.monotonic() - began)
        finally:
            slot.release()

    def _warn_once(self, name: str, database: Database) -> None:
        if name in self._checked:
            return
        if can_write(database, name):
            _log.warning("the account of this database could write to it", database=name)
        self._checked.add(name)
