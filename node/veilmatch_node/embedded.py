"""The process's embedded DuckDB: one instance, and for each reading of the data a connection of its own.

A new instance fills its catalog of functions, 35 ms of processor time; a connection takes 10
microseconds.  What belongs to a connection, its temporary tables and registered Arrow tables, no other
one sees, and goes when it is closed.  Nobody makes a table that is not temporary.
"""

import os
import threading

import duckdb

_LEAST_MEMORY = 2 * 10**9  # bytes
# Of all readings together.  A million people whose every row has a duplicate need 200 MB; what needs all is
# an expression gone wrong.
_MEMORY = max(_LEAST_MEMORY, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4)
_SETTINGS = {
    "threads": "1",  # several nodes share a machine; a department's tables are small for DuckDB
    "memory_limit": f"{_MEMORY}B",
    "temp_directory": "",  # no row is ever spilled to a disk
    # Pages of what was closed go back to the system, within two seconds, and not when the process ends.
    "allocator_background_threads": "true",
    # DuckDB lifts what two expressions have in common out of the TRY around each, where a failing row
    # fails the query (columns.py).
    "disabled_optimizers": "common_subexpressions",
    "python_enable_replacements": "false",  # an expression sees no variable of this process
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "enable_external_access": "false",
    "lock_configuration": "true",  # the last one
}

_lock = threading.Lock()
# By process, so that a fork does not use, nor close, what its parent opened.
_instances: dict[int, duckdb.DuckDBPyConnection] = {}


def connect() -> duckdb.DuckDBPyConnection:
    """Return a new connection to the process's instance, from any thread; whoever has it closes it.

    It has no access to files or network, its settings cannot be changed, and what is created on it must be
    TEMPORARY.  Raises OSError where no file descriptor is left to open an instance with.
    """
    with _lock:
        instance = _instances.get(os.getpid())
        if instance is not None:
            try:
                return _connection(instance)
            except duckdb.Error:
                # A fatal error leaves an instance that answers nothing any more; those who use it let go of it.
                del _instances[os.getpid()]
        instance = _instances[os.getpid()] = _open()
        return _connection(instance)


def _connection(instance: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A connection that answers."""
    connection = instance.cursor()
    connection.execute("SELECT 1").fetchall()
    return connection


def _open() -> duckdb.DuckDBPyConnection:
    # DuckDB opens a file as it starts, and aborts the process where no descriptor is left: this raises OSError.
    os.close(os.open(os.devnull, os.O_RDONLY))
    instance = duckdb.connect(":memory:")
    for setting, value in _SETTINGS.items():
        instance.execute(f"SET GLOBAL {setting} = '{value}'")
    return instance
