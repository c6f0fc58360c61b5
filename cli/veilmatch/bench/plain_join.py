"""The floor of a whole run: the same question as one SQL join, all tables on one desk, in DuckDB."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from veilmatch.bench.federation_data import Tables
from veilmatch.bench.questions import Question

FILES, LOADED = "DuckDB, files read", "DuckDB, tables loaded"


class PlainJoin:
    """Departments' files, and the same as tables in memory; as many threads as the machine has cores."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, tables: Tables) -> None:
        self._connection = connection
        self._files = {
            name: f"read_csv('{str(tables.file(name)).replace(chr(39), chr(39) * 2)}', types = {{'id': 'VARCHAR'}})"
            for name in tables.departments
        }
        for name, file in self._files.items():
            connection.execute(f"CREATE TABLE t_{name} AS FROM {file}")

    def from_files(self, question: Question) -> float:
        """Seconds of the question over the files."""
        named = ", ".join(f"t_{name} AS (FROM {file})" for name, file in self._files.items())
        return self._seconds(f"WITH {named} {question.sql}")

    def from_tables(self, question: Question) -> float:
        """Seconds of the question over the tables."""
        return self._seconds(question.sql)

    def answer(self, question: Question) -> pa.Array:
        """Who is eligible: identifiers, sorted."""
        table: pa.Table = self._connection.sql(question.sql).to_arrow_table()
        return table["id"].combine_chunks()

    def _seconds(self, sql: str) -> float:
        began = time.perf_counter()
        self._connection.sql(sql).to_arrow_table()
        return time.perf_counter() - began


@contextmanager
def plain_join(tables: Tables) -> Iterator[PlainJoin]:
    """Load the tables, for as long as the context is open."""
    with duckdb.connect() as connection:
        yield PlainJoin(connection, tables)
