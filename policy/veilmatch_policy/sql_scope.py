"""What the names in an expression stand for: one department's columns, the policy's parameters.

And what its aggregates range over: a person's rows, or the rows of all members of a household.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from veilmatch_policy.errors import PolicyRefusedError, UnknownColumnError, nearest, quoted
from veilmatch_policy.sql_types import MOST_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from veilmatch_policy.catalog import Catalog, Column, Table
    from veilmatch_policy.column_types import CellValue

Grain = Literal["person", "household"]


@dataclass
class Ranged:
    """What an aggregate was found to range over: columns and tables by name."""

    columns: dict[str, Column] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)

    @property
    def table(self) -> Table:
        """The one table whose rows are aggregated, once `Scope.aggregate` has seen that it is one."""
        [table] = self.tables.values()
        return table


class Scope:
    """Looks names up and remembers those that were found, each once.

    The arguments are those of `expression.bind`.  Every method raises PolicyRefusedError, `column`
    UnknownColumnError where the department has no such column.
    """

    def __init__(
        self,
        catalog: Catalog,
        parameters: Mapping[str, CellValue],
        where: str,
        elsewhere: Mapping[str, str],
        grain: Grain,
    ) -> None:
        self.columns: dict[str, Column] = {}
        self.tables: dict[str, Table] = {}
        self.parameters: dict[str, CellValue] = {}
        self._catalog = catalog
        self._defined = parameters
        self._where = where
        self._elsewhere = elsewhere
        self._aggregated: Ranged | None = None  # what the aggregate that we are in has met
        self._members: int | None = None  # of the largest household; None: the expression is of persons
        if grain == "household":
            if catalog.household is None:
                raise self.refused(
                    f"{catalog.department} keeps no household register, so it has no household to ask about",
                    "ask the department that keeps it",
                )
            self._members = catalog.household[1].at_most

    def column(self, name: str) -> Column:
        """The department's column of that name, spelled exactly so."""
        column = self._catalog.column(name)
        if column is None:
            raise self._unknown_column(name)
        table = self._catalog.tables[column.table]
        if self._aggregated is not None:
            self._aggregated.columns[name] = column
            self._aggregated.tables[table.name] = table
        elif self._members is not None:
            raise self.refused(f"a household has no single {quoted(name)}", f"write max({name}), say")
        elif table.rows == "many":
            remedy = f"aggregate it, as in max({name}) or count({name})"
            raise self.refused(f"{quoted(name)} has many rows a person", remedy)
        self.columns[name] = column
        self.tables[table.name] = table
        return column

    def optional(self, column: Column) -> bool:
        """Whether the cells that are seen of a column, here where we are, can be NULL."""
        # A row that is aggregated is there; whether there is none, the aggregate knows.
        no_row = self._aggregated is None and column.missing.no_row is None
        return no_row or column.missing.no_value is None

    def parameter(self, name: str) -> CellValue:
        """The value of the policy's parameter of that name."""
        if name not in self._defined:
            remedy = nearest(name, self._defined) or "define it under parameters"
            raise self.refused(f"there is no parameter {quoted(name)}", remedy)
        self.parameters[name] = self._defined[name]
        return self.parameters[name]

    @contextmanager
    def aggregate(self, shown: str) -> Iterator[Ranged]:
        """Inside, columns are of one table with several rows; messages show ``shown``.

        What is given inside is complete after it.
        """
        if self._aggregated is not None:
            raise self.refused(f"{shown} is inside another aggregate", "aggregate once")
        self._aggregated = ranged = Ranged()
        yield ranged
        self._aggregated = None
        if len(ranged.tables) != 1:
            of = " and ".join(ranged.tables) or "no table"
            raise self.refused(f"{shown} ranges over the rows of {of}", "use columns of one table")
        if not self._several_rows(ranged.table):
            what = f"{shown} aggregates the table {ranged.table.name}, which has one row a person"
            household = "" if self._catalog.household is None else ", or of: household beside it"
            raise self.refused(what, f"write the column itself{household}")

    def table_to_count(self, shown: str) -> Table:
        """The table whose rows a bare count counts: the department's only one with several rows."""
        if self._aggregated is not None:
            raise self.refused(f"{shown} is inside another aggregate", "aggregate once")
        several = [table for table in self._catalog.tables.values() if self._several_rows(table)]
        if len(several) != 1:
            rows = "with many rows a person" if self._members is None else "to count the rows of"
            what = f"{shown} needs one table {rows}, {self._catalog.department} has {len(several)}"
            raise self.refused(what, "write count(column) with a column that is never empty")
        self.tables[several[0].name] = several[0]
        return several[0]

    def most_rows(self, table: Table) -> int:
        """How many rows an aggregate over a table can range over, at most."""
        return (MOST_ROWS if table.rows == "many" else 1) * (self._members or 1)

    def _several_rows(self, table: Table) -> bool:
        return table.rows == "many" or self._members is not None

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
