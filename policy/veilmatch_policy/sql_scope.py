"""What the names in an expression stand for: one department's columns, the policy's parameters."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from veilmatch_policy.errors import PolicyRefusedError, UnknownColumnError, nearest, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from veilmatch_policy.catalog import Catalog, Column, Table
    from veilmatch_policy.column_types import CellValue


class Scope:
    """Looks names up and remembers those that were found, each once.

    The arguments are those of `expression.bind`.  Every method raises PolicyRefusedError, `column`
    UnknownColumnError where the department has no such column.
    """

    def __init__(
        self, catalog: Catalog, parameters: Mapping[str, CellValue], where: str, elsewhere: Mapping[str, str]
    ) -> None:
        self.columns: dict[str, Column] = {}
        self.tables: dict[str, Table] = {}
        self.parameters: dict[str, CellValue] = {}
        self._catalog = catalog
        self._defined = parameters
        self._where = where
        self._elsewhere = elsewhere
        self._aggregated: dict[str, Table] | None = None  # the tables met inside the aggregate that we are in

    def column(self, name: str) -> Column:
        """The department's column of that name, spelled exactly so."""
        column = self._catalog.column(name)
        if column is None:
            raise self._unknown_column(name)
        table = self._catalog.tables[column.table]
        if self._aggregated is not None:
            self._aggregated[table.name] = table
        elif table.rows == "many":
            remedy = f"aggregate it, as in max({name}) or count({name})"
            raise self.refused(f"{quoted(name)} has many rows a person", remedy)
        self.columns[name] = column
        self.tables[table.name] = table
        return column

    def parameter(self, name: str) -> CellValue:
        """The value of the policy's parameter of that name."""
        if name not in self._defined:
            remedy = nearest(name, self._defined) or "define it under parameters"
            raise self.refused(f"there is no parameter {quoted(name)}", remedy)
        self.parameters[name] = self._defined[name]
        return self.parameters[name]

    @contextmanager
    def aggregate(self, shown: str) -> Iterator[None]:
        """Inside, columns are of one table with many rows a person; messages show ``shown``."""
        if self._aggregated is not None:
            raise self.refused(f"{shown} is inside another aggregate", "aggregate once")
        self._aggregated = {}
        yield
        tables, self._aggregated = list(self._aggregated.values()), None
        if len(tables) != 1:
            of = " and ".join(table.name for table in tables) or "no table"
            raise self.refused(f"{shown} ranges over the rows of {of}", "use columns of one table")
        if tables[0].rows == "one":
            what = f"{shown} aggregates the table {tables[0].name}, which has one row a person"
            raise self.refused(what, "write the column itself")

    def table_to_count(self, shown: str) -> Table:
        """The table whose rows a bare count counts: the department's only one with many rows a person."""
        if self._aggregated is not None:
            raise self.refused(f"{shown} is inside another aggregate", "aggregate once")
        many = [table for table in self._catalog.tables.values() if table.rows == "many"]
        if len(many) != 1:
            what = (
                f"{shown} needs one table with many rows a person, {self._catalog.department} has {len(many)}"
            )
            raise self.refused(what, "write count(column) with a column that is never empty")
        self.tables[many[0].name] = many[0]
        return many[0]

    def refused(self, what: str, remedy: str = "") -> PolicyRefusedError:
        """The error to raise for something wrong in this expression."""
        return PolicyRefusedError(self._where, what, remedy)

    def _unknown_column(self, name: str) -> UnknownColumnError:
        department = self._catalog.department
        if owner := self._elsewhere.get(name):
            what = f"{quoted(name)} is a column of {owner}; this condition is asked of {department}"
            return UnknownColumnError(
                self._where, what, f"ask {owner} in a condition of its own", column=name
            )
        askable = [column.name for column in self._catalog.columns() if column.release != "never"]
        what = f"{department} has no column {quoted(name)}"
        return UnknownColumnError(self._where, what, nearest(name, askable), column=name)
