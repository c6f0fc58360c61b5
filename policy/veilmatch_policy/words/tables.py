"""The columns that a policy reads in one department, and how fresh their tables are."""

from dataclasses import dataclass
from datetime import date

from veilmatch_policy.catalog import AsOfQuery, Column, Table
from veilmatch_policy.words.language import ENGLISH, Words
from veilmatch_policy.words.seen import SeenPolicy, columns


@dataclass(frozen=True)
class ColumnRead:
    """A column with what its owner's catalog says of it; ``fresh`` in words, ``stale``: a run refuses the table."""

    column: Column
    fresh: str
    stale: bool


def columns_read(
    seen: SeenPolicy, department: str, today: date, say: Words = ENGLISH
) -> tuple[ColumnRead, ...]:
    """The columns that a department, one that the reader sees, reads for a policy, and how fresh they are ``today``."""
    read = []
    for column in columns(seen, department):
        table = seen.catalogs[department].tables[column.table]
        age = _age(table, today)
        stale = age is not None and table.stale_after is not None and age > table.stale_after
        read.append(ColumnRead(column, _fresh(table, age, say), stale))
    return tuple(read)


def stale_in_words(seen: SeenPolicy, today: date, say: Words = ENGLISH) -> tuple[str, ...]:
    """Tables that the policy reads and that a run would refuse today for their age: a line each.

    A table whose day only its database knows is left to its node.
    """
    lines = []
    for name in seen.tasks:
        for table_name in dict.fromkeys(column.table for column in columns(seen, name)):
            table = seen.catalogs[name].tables[table_name]
            age = _age(table, today)
            if age is not None and table.stale_after is not None and age > table.stale_after:
                lines.append(
                    say(
                        "{department}: table {table} describes {day}, {age} days ago; a run refuses it after {limit}",
                        department=name,
                        table=table_name,
                        day=table.as_of,
                        age=age,
                        limit=table.stale_after,
                    )
                )
    return tuple(lines)


def _age(table: Table, today: date) -> int | None:
    """How many days ago the day is that a table describes; None where the catalog does not know it."""
    return (today - table.as_of).days if isinstance(table.as_of, date) else None


def _fresh(table: Table, age: int | None, say: Words) -> str:
    match table.as_of:
        case None:
            return say("the catalog does not say which day the table describes")
        case AsOfQuery():
            described = say("the database says which day the table describes")
        case day:
            described = say("describes {day}, {age} days ago", day=day, age=age)
    if table.stale_after is None:
        return described
    return say(
        "{described}; a run refuses it after {limit} days", described=described, limit=table.stale_after
    )
