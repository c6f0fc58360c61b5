"""SQL expressions of a policy, bound to one department's catalog (policies.md, "A policy").

An expression is text until `bind` has read it, found its columns in the catalog of the department that
is asked, and given every part a type.  What `bind` returns has one meaning: every operation is in
parentheses, every number is an exact DECIMAL, every parameter a constant.  evaluate.py fills in what
the catalog says of missing values and runs it.  The subset itself is the table in sql_binder.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sqlglot import exp

from veilmatch_policy.errors import PolicyRefusedError
from veilmatch_policy.sql_binder import bind_tree
from veilmatch_policy.sql_scope import Grain, Scope
from veilmatch_policy.sql_syntax import parse
from veilmatch_policy.sql_types import BOOLEAN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from veilmatch_policy.catalog import Catalog, Column, Table
    from veilmatch_policy.column_types import CellValue, ColumnType


@dataclass(frozen=True)
class Expression:
    """An expression whose every name and type is known.

    ``scope`` is of what there is one value: a person, or a household.  ``columns``, ``tables`` and
    ``parameters`` are those that it uses, each once.  ``largest`` is how far from 0 an amount can be by
    the declared ranges, in units of 10**-``type.scale``; None where a column that it adds up declares none,
    where it depends on how many rows a person has, and for a condition.  ``optional``: the value can be
    unknown, because a column that decides it has no ``missing``; False only where it never is.
    ``tree`` is the SQL of `bind_tree`; evaluate.py copies it and changes the copy.
    """

    text: str
    where: str
    kind: Literal["condition", "amount"]
    scope: Grain
    type: ColumnType
    largest: int | None
    optional: bool
    columns: tuple[Column, ...]
    tables: tuple[Table, ...]
    parameters: tuple[str, ...]
    tree: exp.Expr = field(repr=False, compare=False)

    @property
    def counted(self) -> tuple[Table, ...]:
        """The tables whose rows it counts without reading a column: it tells who has a row at all."""
        stars = (
            count.this for count in self.tree.find_all(exp.Count) if isinstance(count.this.this, exp.Star)
        )
        names = {star.table for star in stars}
        return tuple(table for table in self.tables if table.name in names)


def bind(
    text: str,
    catalog: Catalog,
    *,
    kind: Literal["condition", "amount"],
    parameters: Mapping[str, CellValue],
    where: str,
    elsewhere: Mapping[str, str] | None = None,
    scope: Grain = "person",
) -> Expression:
    """Give every name in ``text`` its column of ``catalog``, every part its type.

    A condition is true or false, an amount is a number.  Aggregates range over a person's rows, or with
    ``scope`` "household" over those of all its members, in tables with one row a person too; that is for
    the department that keeps the household register.  ``parameters`` are the values of the policy's
    parameters by name.  ``where`` is the expression's place and ``elsewhere`` the owners of other
    departments' columns by name, both for messages.  Raises UnknownColumnError for a column that the
    catalog does not have, PolicyRefusedError for whatever else is not in the subset or does not fit.
    """
    tree = parse(text, names={column.name for column in catalog.columns()}, where=where)
    names = Scope(catalog, parameters, where, elsewhere or {}, scope)
    bound = bind_tree(tree, names)
    if kind == "condition" and bound.type != BOOLEAN:
        raise PolicyRefusedError(
            where, f"a condition is true or false, this is {bound.type}", "compare it with something"
        )
    if kind == "amount" and not bound.type.numeric:
        raise PolicyRefusedError(
            where,
            f"an amount is a number, this is {bound.type}",
            "count with CASE WHEN ... THEN 1 ELSE 0 END",
        )
    return Expression(
        text=text,
        where=where,
        kind=kind,
        scope=scope,
        type=bound.type,
        largest=bound.largest if kind == "amount" and bound.declared else None,
        optional=bound.optional,
        columns=tuple(names.columns.values()),
        tables=tuple(names.tables.values()),
        parameters=tuple(names.parameters),
        tree=bound.sql,
    )
