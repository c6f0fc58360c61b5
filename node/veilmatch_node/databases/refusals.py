"""Our words for what a database refuses: its own quote cells, so they never leave this package."""

from veilmatch_node.errors import DataError, ExpressionError


def unknown(name: str, where: str) -> DataError:
    """The catalog names a database that the configuration does not."""
    return DataError(
        where, f"the node does not know the database '{name}'", "name it in the node's configuration"
    )


def closed(name: str, where: str, window: str) -> DataError:
    """It is not the time of day to read."""
    begin, end = window.split("-")
    return DataError(
        where, f"the database '{name}' may be read from {begin} to {end} only", "start this again then"
    )


def busy(name: str, where: str, connections: int) -> DataError:
    """All connections stayed in use for as long as a statement may take."""
    return DataError(
        where,
        f"the node's connections to the database '{name}' are all in use",
        "run fewer jobs at once, or raise its connections",
        detail=f"{connections} connections",
    )


def query_refused(name: str, where: str, said: str) -> ExpressionError:
    """Names or syntax: there was no row yet, so what the database ``said`` quotes the catalog's SQL."""
    return ExpressionError(
        where,
        f"the database '{name}' refuses the query",
        "correct the catalog's table, columns and expressions",
        detail=said,
    )


def row_fails(name: str, where: str, code: str) -> DataError:
    """An expression has no value for a row, by the database's error or warning ``code``."""
    return DataError(
        where,
        f"an expression fails on a row in the database '{name}'",
        "let the expression give NULL where it cannot give a value",
        detail=code,
    )


def unreachable(name: str, where: str) -> DataError:
    """No connection, or one that was lost."""
    return DataError(
        where,
        f"the database '{name}' cannot be reached",
        "check its URL, its account and that it runs",
    )


def too_slow(name: str, where: str, seconds: int) -> DataError:
    """The statement timeout."""
    return DataError(
        where,
        f"the database '{name}' did not answer in time",
        "index the identifier column, or raise the database's statement_timeout",
        detail=f"{seconds} seconds",
    )


def locked(name: str, where: str) -> DataError:
    """Somebody changes the table."""
    return DataError(
        where, f"the table is locked in the database '{name}'", "start this again when the change is done"
    )


def cannot_answer(name: str, where: str, code: str) -> DataError:
    """Whatever else the database's error ``code`` says."""
    return DataError(
        where,
        f"the database '{name}' cannot answer",
        "look into its log",
        detail=code,
    )


def no_day(where: str) -> DataError:
    """The owner's query for the day of a table gives something else."""
    return DataError(where, "as_of.query gives no single day", "let it select one date")
