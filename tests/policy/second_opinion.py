"""A second opinion on SQL expressions: a writer and an evaluator that share nothing with the package.

An expression is a tuple, its operator first: ``(">", ("column", "age"), ("number", "65"))``.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from typing import TYPE_CHECKING

from housing_tables import CATALOG

if TYPE_CHECKING:
    from datetime import date

PARAMETERS = {"line": Decimal("2.50"), "limit": 3}

# SQL's precedence; what is looser than its place asks for goes into parentheses.
LEVELS = {"or": 1, "and": 2, "not": 3, "+": 5, "-": 5, "*": 6, "negative": 7}
LEVELS |= dict.fromkeys(["=", "<>", "<", "<=", ">", ">=", "in", "between", "is null", "like"], 4)
ATOM = 8


def write(node, at_least=0):
    text = write_bare(node)
    return text if LEVELS.get(node[0], ATOM) >= at_least else f"({text})"


def write_bare(node):
    match node:
        case ("column", name):
            return name
        case ("parameter", name):
            return f":{name}"
        case ("number", text):
            return text
        case ("text", text):
            return "'" + text.replace("'", "''") + "'"
        case ("date", day):
            return f"DATE '{day}'"
        case ("truth", yes):
            return str(yes)
        case ("count(*)",):
            return "count(*)"
        case ("or" | "and" | "+" | "-" | "*" as operator, left, right):
            level = LEVELS[operator]
            return f"{write(left, level)} {operator} {write(right, level + 1)}"
        case ("=" | "<>" | "<" | "<=" | ">" | ">=" as operator, left, right):
            return f"{write(left, 5)} {operator} {write(right, 5)}"
        case ("not", inner):
            return f"NOT {write(inner, 3)}"
        case ("negative", inner):
            return f"-{write(inner, ATOM)}"
        case ("in", inner, items):
            return f"{write(inner, 5)} IN ({', '.join(write(item) for item in items)})"
        case ("between", inner, low, high):
            return f"{write(inner, 5)} BETWEEN {write(low, 5)} AND {write(high, 5)}"
        case ("is null", inner):
            return f"{write(inner, 5)} IS NULL"
        case ("like", inner, pattern):
            return f"{write(inner, 5)} LIKE {write(('text', pattern))}"
        case ("case", whens, otherwise):
            parts = [f"WHEN {write(when)} THEN {write(then)}" for when, then in whens]
            last = "" if otherwise is None else f" ELSE {write(otherwise)}"
            return f"CASE {' '.join(parts)}{last} END"
        case ("round", inner, digits):
            return f"round({write(inner)}, {digits})"
        case (name, *arguments):
            return f"{name}({', '.join(write(argument) for argument in arguments)})"


def completed_years(born, reference):
    if born > reference:
        return -completed_years(reference, born)
    last_day = reference.day == calendar.monthrange(reference.year, reference.month)[1]
    reached = (reference.month, reference.day) >= (born.month, born.day)
    reached |= reference.month == born.month and last_day and born.day > reference.day
    return reference.year - born.year - (not reached)


@dataclass
class Person:
    """One person's rows, or one row inside an aggregate, as the second evaluator sees them."""

    tables: dict
    reference: date
    row: dict | None = None
    no_rows: bool = False
    seen: set = field(default_factory=set)

    def cell(self, name):
        column = CATALOG.column(name)
        self.seen.add(column.table)
        if self.no_rows:
            found = column.missing.no_row
        elif self.row is not None:
            found = self.row.get(name)
            found = column.missing.no_value if found is None else found
        else:
            rows = self.tables[column.table]
            found = rows[0].get(name) if rows else column.missing.no_row
            found = column.missing.no_value if rows and found is None else found
        return Decimal(found) if isinstance(found, int) and not isinstance(found, bool) else found

    def aggregate(self, name, argument):
        self.seen.add("homes")
        rows = self.tables["homes"]
        if not rows and name in {"sum", "count"}:
            return Decimal(0)
        if not rows:
            used = columns_of(argument)
            if any(CATALOG.column(column).missing.no_row is None for column in used):
                return None
            return Person(self.tables, self.reference, no_rows=True).evaluate(argument)
        found = [Person(self.tables, self.reference, row=row).evaluate(argument) for row in rows]
        found = [each for each in found if each is not None]
        if name == "count":
            return Decimal(len(found))
        return {"sum": sum, "min": min, "max": max}[name](found) if found else None

    def evaluate(self, node):
        match node:
            case ("column", name):
                return self.cell(name)
            case ("parameter", name):
                return Decimal(PARAMETERS[name])
            case ("number", text):
                return Decimal(text)
            case ("text" | "date" | "truth", constant):
                return constant
            case ("count(*)",):
                self.seen.add("homes")
                return Decimal(len(self.tables["homes"]))
            case ("sum" | "count" | "min" | "max" as name, argument):
                return self.aggregate(name, argument)
            case ("and" | "or" as operator, left, right):
                decisive = operator == "or"
                both = [self.evaluate(left), self.evaluate(right)]
                return decisive if decisive in both else None if None in both else not decisive
            case ("is null", inner):
                return self.evaluate(inner) is None
            case ("coalesce", left, right):
                both = [self.evaluate(left), self.evaluate(right)]
                return both[1] if both[0] is None else both[0]
            case ("case", whens, otherwise):
                found = [(self.evaluate(when), self.evaluate(then)) for when, then in whens]
                last = None if otherwise is None else self.evaluate(otherwise)
                return next((then for when, then in found if when is True), last)
            case (name, first, *rest):
                parts = [self.evaluate(first), *map(self.operand, rest)]
                return None if any(part is None for part in parts) else strict(name, parts, self.reference)

    def operand(self, part):
        """An expression's value, a list's values, or what is no expression (a pattern, digits)."""
        if isinstance(part, list):
            return [self.evaluate(item) for item in part]
        return self.evaluate(part) if isinstance(part, tuple) else part


def strict(name, parts, reference):
    """Operators that say nothing about nothing."""
    match name, parts:
        case "in", [found, items]:
            return found in items
        case "like", [found, pattern]:
            regular = "".join({"%": ".*", "_": "."}.get(each, re.escape(each)) for each in pattern)
            return re.fullmatch(regular, found, re.DOTALL) is not None
        case "round", [number, digits]:
            scale = -number.as_tuple().exponent
            return number if scale <= digits else number.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
        case "years", [day]:
            return Decimal(completed_years(day, reference))
        case "days", [day]:
            return Decimal((reference - day).days)
        case "not", [found]:
            return not found
        case "negative", [number]:
            return -number
        case "=", [left, right]:
            return left == right
        case "<>", [left, right]:
            return left != right
        case "<", [left, right]:
            return left < right
        case "<=", [left, right]:
            return left <= right
        case ">", [left, right]:
            return left > right
        case ">=", [left, right]:
            return left >= right
        case "+", [left, right]:
            return left + right
        case "-", [left, right]:
            return left - right
        case "*", [left, right]:
            return left * right
    raise NotImplementedError(name)


def between_is_not_strict(node):
    """``x BETWEEN y AND z`` is ``x >= y AND x <= z``, also where one of them is unknown."""
    match node:
        case ("between", inner, low, high):
            inner = between_is_not_strict(inner)
            low, high = between_is_not_strict(low), between_is_not_strict(high)
            return ("and", (">=", inner, low), ("<=", inner, high))
        case tuple():
            return tuple(between_is_not_strict(part) for part in node)
        case list():
            return [between_is_not_strict(part) for part in node]
        case _:
            return node


def columns_of(node):
    if isinstance(node, tuple | list):
        if len(node) == 2 and node[0] == "column":
            return {node[1]}
        return set().union(*(columns_of(part) for part in node)) if node else set()
    return set()


def second_opinion(node, person, reference):
    evaluator = Person(person, reference)
    with localcontext(Context(prec=100)):
        found = evaluator.evaluate(between_is_not_strict(node))
    return found, not any(row["unreadable"] for table in evaluator.seen for row in person[table])
