"""Departments with everything that real tables have, and who is eligible among them in plain Python.

Nothing here is taken from veilmatch: the texts of catalogs, files and policies are written by hand, and
the answer is read off the generated rows with dictionaries, `None` for what is unknown, and Kleene's
three-valued logic.
"""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from random import Random

Value = int | Decimal | str | date
Truth = bool | None
GARBLED = object()  # a cell that is not of its column's type

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


# Three-valued logic (Kleene; SQL's).


def both(one: Truth, other: Truth) -> Truth:
    return False if one is False or other is False else None if one is None or other is None else True


def negated(one: Truth) -> Truth:
    return None if one is None else not one


def either(one: Truth, other: Truth) -> Truth:
    return negated(both(negated(one), negated(other)))


def known(test: Callable[..., bool], *values: Value | None) -> Truth:
    return None if None in values else test(*values)


# Columns a and b are whole numbers, m an amount, c a text, d a day.
TYPES = {"a": "integer", "b": "integer", "m": "decimal(2)", "c": "text", "d": "date"}
DEFAULTS = {"a": "0", "b": "7", "m": "12.50", "c": "yes", "d": "1990-06-01"}
PARSE: Mapping[str, Callable[[str], Value]] = {
    "a": int,
    "b": int,
    "m": Decimal,
    "c": str,
    "d": date.fromisoformat,
}

# Conditions that hold for most people: the AND of a dozen must not always be empty.
CONDITIONS: Mapping[str, tuple[str, Callable[[Mapping[str, Value | None]], Truth]]] = {
    "a >= 2": ("a", lambda v: known(lambda a: a >= 2, v["a"])),
    "a BETWEEN 0 AND 8": ("a", lambda v: known(lambda a: 0 <= a <= 8, v["a"])),
    "a > 6 OR b < 7": (
        "ab",
        lambda v: either(known(lambda a: a > 6, v["a"]), known(lambda b: b < 7, v["b"])),
    ),
    "NOT (a = 3 AND b <= 5)": (
        "ab",
        lambda v: negated(both(known(lambda a: a == 3, v["a"]), known(lambda b: b <= 5, v["b"]))),
    ),
    "a IS NULL OR a <> 1": ("a", lambda v: either(v["a"] is None, known(lambda a: a != 1, v["a"]))),
    "a IS NOT NULL AND b * 2 + 1 < 18": (
        "ab",
        lambda v: both(v["a"] is not None, known(lambda b: b * 2 + 1 < 18, v["b"])),
    ),
    "m <= :line": ("m", lambda v: known(lambda m: m <= Decimal("40.05"), v["m"])),
    "m + a > 3.25": ("am", lambda v: known(lambda m, a: m + a > Decimal("3.25"), v["m"], v["a"])),
    "coalesce(m, 5) > 1": ("m", lambda v: (Decimal(5) if v["m"] is None else v["m"]) > 1),
    "c IN ('yes', '是', 'perhaps')": (
        "c",
        lambda v: known(lambda c: c in {"yes", "是", "perhaps"}, v["c"]),
    ),
    "CASE WHEN c = 'no' THEN a > 4 ELSE b < 9 END": (
        "abc",
        lambda v: known(lambda a: a > 4, v["a"]) if v["c"] == "no" else known(lambda b: b < 9, v["b"]),
    ),
    "d < DATE '2005-07-01'": ("d", lambda v: known(lambda d: d < date(2005, 7, 1), v["d"])),
    "days(d) > 5000": ("d", lambda v: known(lambda d: (date(2025, 12, 31) - d).days > 5000, v["d"])),
}


# Identities and the ways in which clerks write them.


def resident_id(number: int) -> str:
    """An identity number of 18 characters, all of one county and different dates and serial numbers."""
    born = date(1925, 1, 1) + timedelta(days=977 * number % 32000)
    first = f"110105{born:%Y%m%d}{number % 1000:03}"
    return first + check_character(first)


def check_character(first17: str) -> str:
    return "10X98765432"[sum(int(c) * w for c, w in zip(first17, _WEIGHTS, strict=True)) % 11]


def spelled_resident_id(form: str, random: Random) -> str:
    ways = [form, form, form.lower(), f" {form[:6]} {form[6:14]} {form[14:]}", "".join(map(_wide, form))]
    if form[6:8] == "19":
        ways.append(form[:6] + form[8:17])  # the 15 digits of before 1999
    return random.choice(ways)


def refused_resident_id(form: str, random: Random) -> str:
    other = "0" if form[17] != "0" else "1"
    return random.choice([form[:17] + other, form[:16], f"{form[:10]}1399{form[14:]}", "", "unknown"])


def opaque_id(number: int) -> str:
    """Names that are alike but for a blank, a zero, a capital or a script: as bytes they all differ."""
    return (f"p{number}", f"P{number}", f"0{number}", f"{number}", f"p {number}", f"身份{number}")[number % 6]


def _wide(character: str) -> str:
    return chr(ord(character) + 0xFEE0)


@dataclass
class Department:
    """One department's table: rows of (identifier as written, cells as written) and what they mean."""

    name: str
    scheme: str
    missing: Mapping[str, tuple[str | None, str | None]]  # by column: for no row, for no value
    alone: str
    written: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    people: dict[str, list[dict[str, object]]] = field(default_factory=dict)

    def catalog(self) -> str:
        lines = [
            f"department: {self.name}",
            "tables:",
            "  people:",
            "    source: people.csv",
            "    id: number",
        ]
        lines += [f"    identifier: {self.scheme}", "    columns:"]
        for name, kind in TYPES.items():
            no_row, no_value = self.missing[name]
            missing = f", missing: {{no_row: {no_row or 'fail'}, no_value: {no_value or 'fail'}}}"
            if no_row == no_value:
                missing = "" if no_row is None else f", missing: {no_row}"
            lines.append(f"      {name}: {{type: {kind}, release: open, alone: {self.alone}{missing}}}")
        return "\n".join(lines) + "\n"

    def file(self, random: Random) -> str:
        header = ["number", *TYPES, "remark"]
        random.shuffle(header)
        text = io.StringIO()
        writer = csv.DictWriter(text, header, lineterminator="\n")
        writer.writeheader()
        for number, cells in self.written:
            writer.writerow({"number": number, **cells, "remark": random.choice(["", "见附件", 'a "b", c'])})
        return text.getvalue()

    def holds(self, condition: str, unknown: str | None, read: set[str], person: str) -> bool:
        """Whether a condition holds; ``read`` are all columns that the policy reads here."""
        rows = self.people.get(person, [])
        if any(row[name] is GARBLED or row[name] != rows[0][name] for row in rows for name in read):
            return False  # unreadable, or its rows contradict each other
        values: dict[str, Value | None] = {}
        for name in TYPES:
            no_row, no_value = self.missing[name]
            value = rows[0][name] if rows else None
            stand_in = no_value if rows else no_row
            values[name] = PARSE[name](stand_in) if value is None and stand_in is not None else value
        truth = CONDITIONS[condition][1](values)
        return unknown == "pass" if truth is None else truth


@dataclass(frozen=True)
class Question:
    """A policy: who asks, about whom, and what the departments are asked."""

    name: str
    recipient: str
    among: str | None
    conditions: tuple[tuple[str, str, str | None], ...]  # department, condition, unknown

    def policy(self) -> str:
        lines = [f"policy: {self.name}", f"recipient: {self.recipient}", "reference_date: 2025-12-31"]
        lines += ["parameters: {line: 40.05}"]
        if self.among is not None:
            lines.append(f'among: "{self.among}"')
        lines.append("conditions:")
        for number, (department, where, unknown) in enumerate(self.conditions):
            lines += [f"  c{number}:", f"    department: {department}", f'    where: "{where}"']
            if unknown is not None:
                lines.append(f"    unknown: {unknown}")
        return "\n".join(lines) + "\n"

    def answer(self, departments: Mapping[str, Department]) -> list[str]:
        """The eligible of the recipient's people, by normal form, sorted."""
        asked = list(self.conditions)
        if self.among is not None:
            asked.append((self.recipient, self.among, None))
        read: dict[str, set[str]] = {}
        for department, condition, _ in asked:
            read.setdefault(department, set()).update(CONDITIONS[condition][0])
        return sorted(
            person
            for person in departments[self.recipient].people
            if all(
                departments[name].holds(condition, unknown, read[name], person)
                for name, condition, unknown in asked
            )
        )


def fill(department: Department, population: int, random: Random) -> None:
    """Write rows: people of 0 to ``population`` - 1, some missing, some twice, some contradicting themselves."""
    present = random.choice([1.0, 0.95, 0.8])
    for number in range(population):
        if random.random() > present:
            continue
        form = (resident_id if department.scheme == "cn-resident-id" else opaque_id)(number)
        if department.scheme == "cn-resident-id" and random.random() < 0.03:
            department.written.append((refused_resident_id(form, random), _cells(random)[0]))
            continue
        cells, values = _cells(random)
        _write(department, form, cells, values, random)
        kind = random.random()
        if kind < 0.08:  # says the same again
            _write(
                department, form, {n: _again(n, text, random) for n, text in cells.items()}, values, random
            )
        elif kind < 0.16:  # says something else in one column
            other, others = _cells(random)
            name = random.choice(list(TYPES))
            _write(department, form, {**cells, name: other[name]}, {**values, name: others[name]}, random)
    random.shuffle(department.written)


def _write(
    department: Department, form: str, cells: dict[str, str], values: dict[str, object], random: Random
):
    spelled = spelled_resident_id(form, random) if department.scheme == "cn-resident-id" else form
    department.written.append((spelled, cells))
    department.people.setdefault(form, []).append(values)


def _cells(random: Random) -> tuple[dict[str, str], dict[str, object]]:
    """A row's cells as written, and their values."""
    cells = {
        "a": str(random.randrange(10)),
        "b": str(random.randrange(10)),
        "m": f"{random.randrange(-100, 4500) / 100:.2f}",
        "c": random.choice(["yes", "yes", "yes", "no", "是", "perhaps", "never"]),
        "d": (date(1940, 1, 1) + timedelta(days=random.randrange(26000))).isoformat(),
    }
    values: dict[str, object] = {name: PARSE[name](text) for name, text in cells.items()}
    for name in TYPES:
        if random.random() < 0.05:
            cells[name], values[name] = "", None
        elif random.random() < 0.01 and name != "c":  # any text is a text
            cells[name], values[name] = random.choice(["n/a", "1e3", "2005-02-30", "12,5"]), GARBLED
    return cells, values


def _again(name: str, text: str, random: Random) -> str:
    """Another way of writing the same value."""
    if name in {"a", "b"} and text.isdigit():
        return random.choice([text, f"0{text}", f"+{text}", f" {text} "])
    if name == "m" and "." in text:
        return random.choice([text, f"{text}00", f" {text}"])
    return text
