"""Departments whose tables hold amounts, and expressions over them, each in SQL and in plain Python.

Columns a (whole), b (one decimal place) and c (two) are amounts, t is a text, home is the household register's.
An `Expression` is what a policy writes, with a function of a department's rows that says the same; the
functions know SQL's NULL as None and what the catalog puts in the place of what is missing.
"""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from random import Random

TYPES = {"a": "integer", "b": "decimal(1)", "c": "decimal(2)", "t": "text"}
SCALES = {"a": 0, "b": 1, "c": 2}
DEFAULTS = {"a": Decimal(0), "b": Decimal("2.5"), "c": Decimal("-1.25"), "t": "yes"}
FURTHEST = 10  # from 0, of an amount
RATE, LINE = Decimal("1.5"), Decimal("4.5")
PARAMETERS = f"rate: {RATE}, line: {LINE}"


class View:
    """A person's or a household's rows in one department, with the catalog's values for what is missing."""

    def __init__(self, rows, missing):
        self.rows = [
            {
                name: missing.get(name, (None, None))[1] if value is None else value
                for name, value in row.items()
            }
            for row in rows
        ]
        self._no_row = {name: no_row for name, (no_row, _) in missing.items()}

    def __getitem__(self, column):
        """The value in the only row."""
        return self.rows[0][column] if self.rows else self._no_row[column]

    def values(self, column):
        return [row[column] for row in self.rows if row[column] is not None]

    def sum(self, column):
        """0 of no rows, NULL where none of the rows has a value."""
        values = self.values(column)
        return sum(values) if values or not self.rows else None

    def least(self, column, choose=min):
        values = self.values(column)
        if not self.rows:
            return self._no_row[column]
        return choose(values) if values else None

    def most(self, column):
        return self.least(column, max)

    def count(self):
        return len(self.rows)

    def sum_by(self, function):
        return sum(map(function, self.rows))


@dataclass(frozen=True)
class Expression:
    """``meaning`` is of a `View`; ``scale`` is the decimal places of an amount."""

    text: str
    meaning: Callable[[View], object]
    scale: int = 0


def known(function, *values):
    """NULL where a value is."""
    return None if None in values else function(*values)


def _both(one, other):
    return False if one is False or other is False else None if None in (one, other) else True


def _not(truth):
    return None if truth is None else not truth


def _rounded(value):
    return value.quantize(Decimal("0.1"), ROUND_HALF_UP)


def _size(row):
    return Decimal("0.5" if row["a"] is not None and row["a"] >= 0 else "0.3")


AMOUNTS_OF_A_ROW = (
    Expression("a", lambda v: v["a"]),
    Expression("b", lambda v: v["b"], 1),
    Expression("c", lambda v: v["c"], 2),
    Expression("a + b", lambda v: known(lambda a, b: a + b, v["a"], v["b"]), 1),
    Expression("c - b", lambda v: known(lambda c, b: c - b, v["c"], v["b"]), 2),
    Expression("-c", lambda v: known(lambda c: -c, v["c"]), 2),
    Expression(":rate * a", lambda v: known(lambda a: RATE * a, v["a"]), 1),
    Expression("round(c, 1)", lambda v: known(_rounded, v["c"]), 1),
    Expression("coalesce(c, 0.25)", lambda v: Decimal("0.25") if v["c"] is None else v["c"], 2),
    Expression("CASE WHEN t = 'yes' THEN a ELSE b END", lambda v: v["a"] if v["t"] == "yes" else v["b"], 1),
    Expression("CASE WHEN a > 0 THEN c END", lambda v: v["c"] if known(lambda a: a > 0, v["a"]) else None, 2),
    Expression("3 + 0 * a", lambda v: known(lambda _: Decimal(3), v["a"])),
)
AMOUNTS_OF_ROWS = (
    Expression("sum(a)", lambda v: v.sum("a")),
    Expression("sum(b)", lambda v: v.sum("b"), 1),
    Expression("sum(c)", lambda v: v.sum("c"), 2),
    Expression("max(c)", lambda v: v.most("c"), 2),
    Expression("min(b)", lambda v: v.least("b"), 1),
    Expression("count(*)", View.count),
    Expression("count(b)", lambda v: len(v.values("b"))),
    Expression("max(a) - min(a)", lambda v: known(lambda x, y: x - y, v.most("a"), v.least("a"))),
    Expression("sum(b) - 2 * count(*)", lambda v: known(lambda total: total - 2 * v.count(), v.sum("b")), 1),
)
BOUNDS_OF_HOUSEHOLDS = (
    *AMOUNTS_OF_ROWS,
    Expression(":line * count(*)", lambda v: LINE * v.count(), 1),
    Expression(
        ":line * (0.5 + sum(CASE WHEN a >= 0 THEN 0.5 ELSE 0.3 END))",
        lambda v: LINE * (Decimal("0.5") + v.sum_by(_size)),
        2,
    ),
    Expression(
        "CASE WHEN count(*) = 1 THEN 5 ELSE 7.5 END",
        lambda v: Decimal(5) if v.count() == 1 else Decimal("7.5"),
        1,
    ),
)
CONDITIONS_OF_A_ROW = (
    Expression("a >= 0", lambda v: known(lambda a: a >= 0, v["a"])),
    Expression("b < 2.5", lambda v: known(lambda b: b < Decimal("2.5"), v["b"])),
    Expression("a + b > c", lambda v: known(lambda a, b, c: a + b > c, v["a"], v["b"], v["c"])),
    Expression("t IN ('yes', '是')", lambda v: known(lambda t: t in {"yes", "是"}, v["t"])),
    Expression("a IS NULL OR a <> 1", lambda v: v["a"] is None or v["a"] != 1),
    Expression(
        "NOT (a = 3 AND t = 'no')",
        lambda v: _not(_both(known(lambda a: a == 3, v["a"]), known(lambda t: t == "no", v["t"]))),
    ),
    Expression("c BETWEEN -6 AND :line", lambda v: known(lambda c: -6 <= c <= LINE, v["c"])),
    Expression("coalesce(a, 0) < 100", lambda v: True),
    Expression("coalesce(a, 0) > 100", lambda v: False),
)
CONDITIONS_OF_ROWS = (
    Expression("count(*) >= 2", lambda v: v.count() >= 2),
    Expression("sum(a) > 0", lambda v: known(lambda total: total > 0, v.sum("a"))),
    Expression("max(b) <= 1.5", lambda v: known(lambda b: b <= Decimal("1.5"), v.most("b"))),
    Expression("min(c) < 0", lambda v: known(lambda c: c < 0, v.least("c"))),
    Expression(
        "sum(CASE WHEN t = 'yes' THEN 1 ELSE 0 END) >= 1",
        lambda v: v.sum_by(lambda row: row["t"] == "yes") >= 1,
    ),
    Expression("count(*) < 1000", lambda v: True),
)


@dataclass
class Department:
    """One department's table ``people``; ``missing`` by column: what stands for no row, for no value.

    ``at_most`` is the largest household of the register's, None elsewhere.
    """

    name: str
    many: bool
    missing: dict[str, tuple[object, object]]
    ranged: bool
    at_most: int | None = None
    rows: dict[str, list[dict[str, object]]] = field(default_factory=dict)

    @property
    def amounts(self):
        return AMOUNTS_OF_ROWS if self.many else AMOUNTS_OF_A_ROW

    @property
    def conditions(self):
        return CONDITIONS_OF_ROWS if self.many else CONDITIONS_OF_A_ROW

    def means(self, expression):
        """The expression as a function of this department's rows."""
        return lambda rows: expression.meaning(View(rows, self.missing))

    def fill(self, people, homes, present, random: Random):
        """Give people rows, each with this probability; ``homes`` are their households' labels."""
        for person in people:
            if random.random() < present:
                number = random.choice((1, 1, 2, 4)) if self.many else 1
                label = {"home": homes[person]} if self.at_most else {}
                self.rows[person] = [label | _row(random) for _ in range(number)]

    def catalog(self):
        rows = "many" if self.many else "one"
        lines = [
            f"department: {self.name}",
            "tables:",
            "  people:",
            "    source: people.csv",
            "    id: number",
        ]
        lines += ["    identifier: opaque", f"    rows: {rows}"]
        if self.at_most:
            lines.append(f"    household: {{column: home, at_most: {self.at_most}, larger: single}}")
        lines.append("    columns:")
        if self.at_most:
            lines.append("      home: {type: text, release: open, alone: approval}")
        for name, kind in TYPES.items():
            no_row, no_value = ("fail" if each is None else each for each in self.missing[name])
            more = f", range: [-{FURTHEST}, {FURTHEST}]" if self.ranged and name in SCALES else ""
            missing = f"missing: {{no_row: {no_row}, no_value: {no_value}}}{more}"
            lines.append(f"      {name}: {{type: {kind}, release: open, alone: approval, {missing}}}")
        return "\n".join(lines) + "\n"

    def file(self, random: Random):
        """The text of people.csv, its rows in any order."""
        header = ["number", *(["home"] if self.at_most else []), *TYPES]
        written = [{"number": person, **row} for person, rows in self.rows.items() for row in rows]
        random.shuffle(written)
        text = io.StringIO()
        writer = csv.DictWriter(text, header, lineterminator="\n")
        writer.writeheader()
        writer.writerows(written)
        return text.getvalue()


def _row(random: Random):
    row: dict[str, object] = {}
    for name, scale in SCALES.items():
        furthest = FURTHEST * 10**scale
        units = (
            random.choice((-furthest, furthest, 0))
            if random.random() < 0.1
            else random.randint(-furthest, furthest)
        )
        row[name] = Decimal(units).scaleb(-scale)
    row["t"] = random.choice(("yes", "yes", "no", "是"))
    return {name: None if random.random() < 0.05 else value for name, value in row.items()}
