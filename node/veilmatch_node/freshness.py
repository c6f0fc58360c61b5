"""Whether the data is fresh enough to be asked: ``as_of`` and ``stale_after`` of the catalog (policies.md)."""

from collections.abc import Collection
from datetime import date, timedelta

from veilmatch_node.databases import Databases
from veilmatch_node.errors import DataError
from veilmatch_policy.catalog import AsOfQuery, Catalog, DatabaseSource, Table
from veilmatch_policy.errors import CatalogError


def check_fresh(catalog: Catalog, tables: Collection[str], *, today: date, databases: Databases) -> None:
    """Raise DataError where a table of ``tables`` describes a day too long ago.

    Raises CatalogError where ``stale_after`` has no day to count from.
    """
    for name in tables:
        table = catalog.tables[name]
        if table.stale_after is None:
            continue
        day = _day(table, f"{catalog.department}.{name}", databases)
        if today - day > timedelta(days=table.stale_after):
            raise DataError(
                f"{catalog.department}.{name}",
                f"describes a day more than {table.stale_after} days ago",
                "bring the data up to date and correct as_of",
                detail=day.isoformat(),
            )


def _day(table: Table, where: str, databases: Databases) -> date:
    match table.as_of, table.source:
        case date() as day, _:
            return day
        case AsOfQuery(query=query), DatabaseSource(database=database):
            return databases.read_day(database, query, where=where)
    # The catalog has as_of wherever it has stale_after, so what is left is a query without a database.
    raise CatalogError(where, "as_of.query needs a table of a database", "write the day itself")
