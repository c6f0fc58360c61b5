"""Reads an example's tables and answers its policies the plain way: the join in plain text.

A person is what all departments know of them together, and a policy is one Python function of a person
and the members of their household.  Nothing here is taken from veilmatch.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from oracles.identity_numbers import rows_by_person

EXAMPLES = Path(__file__).parents[2] / "examples"
REFERENCE_DATE = date(2025, 12, 31)


@dataclass(frozen=True)
class Table:
    """One department's file; ``columns`` by the catalog's name: the file's column, and how to read a cell."""

    file: str
    identifier: str
    columns: Mapping[str, tuple[str, Callable[[str], object]]]
    delimiter: str = ","

    def people(self, folder):
        """Rows of values by normal form; an empty cell is None."""
        return {
            number: [
                {name: read(row[cell]) if row[cell] else None for name, (cell, read) in self.columns.items()}
                for row in rows
            ]
            for number, rows in rows_by_person(folder / self.file, self.identifier, self.delimiter).items()
        }


class Person:
    """A person's rows by department; a department that is not there does not know the person."""

    def __init__(self, rows):
        self._rows = rows

    def known_to(self, department):
        return department in self._rows

    def cells(self, department, column):
        """The values in all rows, None where one is empty."""
        return [row.get(column) for row in self._rows.get(department, [])]

    def all(self, department, column):
        """The values in all rows, without the empty ones."""
        return [value for value in self.cells(department, column) if value is not None]

    def one(self, department, column, default=None):
        """The value in the only row, or the default."""
        values = self.all(department, column)
        return values[0] if values else default

    def sum(self, department, *columns):
        return sum(sum(self.all(department, column)) for column in columns)


@dataclass(frozen=True)
class Policy:
    """Who is eligible: ``test`` of a person and of the members of their household, themselves included."""

    recipient: str
    test: Callable[[Person, list[Person]], bool]
    among: Callable[[Person], bool] = lambda _person: True


@dataclass(frozen=True)
class Example:
    """A folder of `examples/`: its tables by department, and the column that says who lives with whom."""

    folder: str
    tables: Mapping[str, Table]
    policies: Mapping[str, Policy]
    register: tuple[str, str] | None = None

    def people(self):
        """Everybody whom some department knows, by normal form."""
        rows = defaultdict(dict)
        for department, table in self.tables.items():
            folder = EXAMPLES / self.folder / "departments" / department
            for number, found in table.people(folder).items():
                rows[number][department] = found
        return {number: Person(known) for number, known in rows.items()}

    def households(self, people):
        """The numbers of the members by household; whoever the register does not have is one alone."""
        found = defaultdict(list)
        for number, person in people.items():
            label = person.one(*self.register) if self.register else None
            found[number if label is None else label].append(number)
        return dict(found)

    def presented(self, policy):
        """The recipient's people whom the policy is about, sorted."""
        chosen = self.policies[policy]
        return sorted(
            number
            for number, person in self.people().items()
            if person.known_to(chosen.recipient) and chosen.among(person)
        )

    def eligible(self, policy):
        """Those of them who are eligible, sorted, and in how many households they live."""
        test, people = self.policies[policy].test, self.people()
        presented = set(self.presented(policy))
        numbers, households = [], 0
        for members in self.households(people).values():
            household = [people[number] for number in members]
            found = [n for n in members if n in presented and test(people[n], household)]
            numbers += found
            households += bool(found)
        return sorted(numbers), households

    def worked_case(self, policy, given, others):
        """Whether the first of a household's people, as a policy's example gives them, is eligible."""
        chosen = self.policies[policy]
        household = [Person(_rows(each)) for each in (given, *others)]
        person = household[0]
        return (not person.known_to(chosen.recipient) or chosen.among(person)) and chosen.test(
            person, household
        )


def _rows(given):
    """The rows of a worked case, its values read by their looks."""
    return {
        department: [
            {column: _value(text) for column, text in row.items()}
            for row in (rows if isinstance(rows, list | tuple) else [rows])
        ]
        for department, rows in given.items()
    }


def _value(text):
    if text in {"true", "false"}:
        return text == "true"
    for read in (Decimal, date.fromisoformat):
        try:
            return read(text)
        except (ArithmeticError, ValueError):
            continue
    return text


def amount(cell):
    """1,234.50"""
    return Decimal(cell.replace(",", ""))


def day(*, year, month, day):
    """A reader of dates whose parts are at these places of the cell."""
    return lambda cell: date(int(cell[year]), int(cell[month]), int(cell[day]))


COMPACT_DAY = day(year=slice(0, 4), month=slice(4, 6), day=slice(6, 8))  # 20251231
SPACED_DAY = day(year=slice(0, 4), month=slice(5, 7), day=slice(8, 10))  # 2025-12-31, whatever is between


def days_since(earlier):
    return (REFERENCE_DATE - earlier).days
