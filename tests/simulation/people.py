"""Departments of a few people, and questions about them, each as a policy's text and as plain Python."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from fakes.federation import DEALER, Given, csv_text
from oracles import meaning

REGISTER = "d1"  # keeps the households
_CATALOG = """
department: {name}
tables:
  people:
    source: people.csv
    id: number
    identifier: opaque
{household}    columns:
      a: {{type: integer, release: {release}, alone: approval, missing: 0, range: [0, 20]}}
      home: {{type: text, release: {release}, alone: approval}}
"""
_HOUSEHOLD = "    household: {column: home, at_most: 8, larger: single}\n"
_COMPARISONS = {"at_most": "<=", "at_least": ">="}

Rows = Mapping[str, Mapping[str, list[dict]]]  # by department, by person


@dataclass(frozen=True)
class Spec:
    """A federation to build: how large, what of, and what its officers allow (None: machines approve)."""

    departments: int = 3
    people: int = 12
    seed: int = 0
    mode: str = "shared-key"
    runs: tuple[int, int] | None = None  # an epoch, a year

    @property
    def names(self) -> list[str]:
        return [f"d{number}" for number in range(self.departments)]

    def rows(self) -> Rows:
        """Everybody's rows; nobody is known everywhere."""
        random = Random(self.seed)
        rows: dict[str, dict[str, list[dict]]] = {name: {} for name in self.names}
        for number in range(self.people):
            person, home = f"secret-{number:02}", f"h{number // 3}"
            for name in self.names:
                if random.random() < 0.8:
                    rows[name][person] = [{"a": random.randint(0, 20), "home": home}]
        return rows

    def given(self, rows: Rows) -> dict[str, Given]:
        """Catalogs and files; a dealer without data is among them."""
        release = "open" if self.runs is None else "approval"
        given = {
            name: Given(
                _CATALOG.format(name=name, release=release, household=_HOUSEHOLD if name == REGISTER else ""),
                {
                    "people.csv": csv_text(
                        ("number", "a", "home"),
                        [(person, row["a"], row["home"]) for person, [row] in rows[name].items()],
                    )
                },
            )
            for name in self.names
        }
        return {**given, DEALER: Given(f"department: {DEALER}\ntables: {{}}\n", {})}


@dataclass(frozen=True)
class Question:
    """A policy over departments by number.

    ``kind``: "where" (a condition at each of ``others``: linear), "total" (of all amounts, a person's or, with
    ``homes``, a household's) or "count" (of whom the total finds).
    """

    kind: str
    recipient: int
    others: tuple[int, ...]
    bound: int
    homes: bool = False
    among: bool = False
    is_: str = field(default="at_most")

    @property
    def name(self) -> str:
        """Says all that the policy asks: the same name, the same policy."""
        others = "-".join(map(str, self.others))
        parts = [self.kind, self.is_.replace("_", "-"), str(self.recipient), others, str(self.bound)]
        return "-".join([*parts, *(["homes"] if self.homes else []), *(["among"] if self.among else [])])

    def text(self) -> str:
        recipient, sign = f"d{self.recipient}", _COMPARISONS[self.is_]
        lines = [f"policy: {self.name}", f"recipient: {recipient}"]
        if self.homes:
            lines += ["unit: household", f"household: {{department: {REGISTER}, column: home}}"]
        if self.among:
            lines.append('among: "a >= 3"')
        lines.append("conditions:")
        if self.kind == "where":
            for other in self.others:
                lines.append(f'  c{other}: {{department: d{other}, where: "a {sign} {self.bound}"}}')
        else:
            total = ", ".join(f"d{each}: a" for each in self._asked)
            lines += ["  c:", f"    total: {{{total}}}", f"    {self.is_}: {self.bound}"]
        if self.kind == "count":
            lines += ["reveal: count", "min_count: 1"]
        return "\n".join(lines) + "\n"

    @property
    def _asked(self) -> list[int]:
        return sorted({*self.others, self.recipient})

    def meaning(self) -> dict:
        """As `oracles.meaning` reads it."""

        def amount(rows):
            return sum(row["a"] for row in rows)

        def where(rows):
            return amount(rows) <= self.bound if self.is_ == "at_most" else amount(rows) >= self.bound

        of = "household" if self.homes else "person"
        if self.kind == "where":
            conditions = {
                f"c{other}": {
                    "department": f"d{other}",
                    "where": where,
                    "of": "person",
                    "members": None,
                    "unknown": False,
                }
                for other in self.others
            }
        else:
            total = {f"d{each}": amount for each in self._asked}
            conditions = {
                "c": {
                    "total": total,
                    "is": self.is_,
                    "bound": self.bound,
                    "per_member": False,
                    "of": of,
                    "unknown": False,
                }
            }
        return {
            "recipient": f"d{self.recipient}",
            "among": (lambda rows: amount(rows) >= 3) if self.among else None,
            "unit": of,
            "register": (REGISTER, "home", 8) if self.homes else None,
            "conditions": conditions,
            "eligible": ("and", *(("name", name) for name in conditions)),
        }

    def found(self, rows: Rows) -> list[str]:
        """Whom it finds."""
        return meaning.evaluate(self.meaning(), rows).people

    def count(self, rows: Rows) -> int:
        """How many it finds."""
        return meaning.count(self.meaning(), rows)
