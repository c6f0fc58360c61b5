"""What is asked of a table, whatever its database: columns as cells, and which types can be them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from veilmatch_node.expressions import OwnExpression
from veilmatch_policy.catalog import Column
from veilmatch_policy.errors import CatalogError

# What a database's own type is, as far as a cell's text depends on it.
Family = Literal["text", "integer", "decimal", "boolean", "date", "time", "float", "binary"]

# Which families can be read as a declared type; text can be read as any.
_READABLE: Mapping[str, frozenset[Family]] = {
    "text": frozenset({"text", "integer", "decimal", "boolean", "date", "time"}),
    "integer": frozenset({"text", "integer", "decimal"}),
    "decimal": frozenset({"text", "integer", "decimal"}),
    "boolean": frozenset({"text", "integer", "boolean"}),
    "date": frozenset({"text", "date"}),
}


@dataclass(frozen=True, slots=True)
class TableQuery:
    """The rows of one table: its identifier column, then ``columns``, in the order of the identifier.

    ``database`` is the name in the catalog, ``expressions`` are the owner's own by column, and the
    columns in ``coded`` hold local codes, which are text whatever their type.
    """

    database: str
    table: str
    identifier: str
    columns: Sequence[Column]
    expressions: Mapping[str, OwnExpression]
    coded: Collection[str]
    where: str

    def cells(self, quote: Callable[[str], str]) -> list[str]:
        """SQL for each cell of a row, the identifier first."""
        own = (self.expressions.get(column.name) for column in self.columns)
        read = (
            f"(\n{expression.sql}\n)" if expression else quote(column.name)
            for expression, column in zip(own, self.columns, strict=True)
        )
        return [quote(self.identifier), *read]

    def place(self, index: int) -> str:
        """What a line about the cell of this index names: the catalog's column, or the table."""
        return f"{self.where}.{self.columns[index - 1].name}" if index else self.where

    def check_type(self, index: int, found: str, family: Family) -> None:
        """Raise CatalogError where the cell of this index, of the database's type ``found``, is none.

        A column that was retyped since the catalog was written ends here, not as a table of unreadable
        rows.
        """
        if family == "float":
            raise CatalogError(
                self.place(index),
                f"the column is {found}, which is not exact",
                "give it an expression that casts what it is made of to numeric",
            )
        declared = self.columns[index - 1].type if index else None
        if index and self.columns[index - 1].name in self.coded:
            declared = None
        if family not in _READABLE["text" if declared is None else declared.kind]:
            wanted = "text" if declared is None else str(declared)
            raise CatalogError(
                self.place(index),
                f"the column is {found} in the database, which is not read as {wanted}",
                "correct the catalog's type, or give the column an expression that casts it",
            )
