"""Federations and policies with totals, households and formulas, as texts and as `oracles.meaning` reads them."""

from dataclasses import dataclass
from decimal import Decimal
from random import Random

from formula_departments import (
    BOUNDS_OF_HOUSEHOLDS,
    CONDITIONS_OF_ROWS,
    DEFAULTS,
    LINE,
    PARAMETERS,
    Department,
)
from hypothesis import strategies as st
from oracles import meaning

SIZES = (2, 2, 3, 3, 4, 6)  # departments
HOUSEHOLDS = (1, 1, 2, 2, 3, 4, 5, 12)  # members
COMPARISONS = ("below", "at_most", "above", "at_least")


@dataclass(frozen=True)
class Asked:
    """A policy: its text, what it means, and for a what-if the condition with the bounds to try."""

    name: str
    text: str
    policy: dict
    reveal: str
    vary: tuple[str, tuple[Decimal, ...]] | None

    def found(self, departments) -> meaning.Found:
        """Whom it finds; see `meaning.evaluate`."""
        return meaning.evaluate(self.policy, {name: each.rows for name, each in departments.items()})

    def truths(self, departments) -> dict[str, dict[str, bool]]:
        """What each condition is, of everybody."""
        rows = {name: each.rows for name, each in departments.items()}
        homes = meaning.households(self.policy["register"], rows)
        return {
            name: {
                person: meaning.holds(self.policy, rows, name, person, members)
                for members in homes
                for person in members
            }
            for name in self.policy["conditions"]
        }

    def counts(self, departments) -> list[int]:
        """The count, or one for each bound of the what-if."""
        rows = {name: each.rows for name, each in departments.items()}
        if self.vary is None:
            return [meaning.count(self.policy, rows)]
        condition, bounds = self.vary
        return [meaning.count(meaning.with_bound(self.policy, condition, bound), rows) for bound in bounds]


@st.composite
def worlds(draw, sizes=SIZES, most_people=30, policies=2):
    """Departments by name, the texts of their files, and policies over them."""
    names = [f"d{number}" for number in range(draw(st.sampled_from(sizes)))]
    register = draw(st.sampled_from((None, *names, *names)))
    random = Random(draw(st.integers(0, 2**32)))
    people, homes = _population(draw(st.integers(0, most_people)), random)
    departments = {}
    for name in names:
        at_most = draw(st.sampled_from((4, 12, 12))) if name == register else None
        missing = {
            column: (draw(st.sampled_from((None, default))), draw(st.sampled_from((None, default, default))))
            for column, default in DEFAULTS.items()
        }
        many = at_most is None and draw(st.booleans())
        departments[name] = Department(name, many, missing, draw(st.booleans()), at_most)
        present = draw(st.sampled_from((1.0, 0.95, 0.7) if at_most else (1.0, 0.95, 0.7, 0.3, 0.0)))
        departments[name].fill(people, homes, present, random)
    files = {name: department.file(random) for name, department in departments.items()}
    asked = [_Author(draw, f"q{number}", departments, register).policy() for number in range(policies)]
    return departments, files, asked


def _population(size, random):
    people = [f"p{number:02}" for number in range(size)]
    homes, left = {}, list(people)
    while left:
        members = random.choice(HOUSEHOLDS)
        homes |= dict.fromkeys(left[:members], f"h{len(homes)}")
        left = left[members:]
    return people, homes


class _Author:
    """Writes one policy, in YAML and as a dictionary side by side."""

    def __init__(self, draw, name, departments, register):
        self._draw = draw
        self._name = name
        self._departments = departments
        self._register = departments.get(register)
        self._recipient = self._one_of(list(departments))
        self._others = [other for other in departments if other != self._recipient]
        self._rows = {name: department.rows for name, department in departments.items()}
        self._parameters = [PARAMETERS]

    def policy(self):
        household = self._register is not None and self._draw(st.booleans())
        unit = self._one_of(("person", "household", "household")) if household else "person"
        recipient = self._departments[self._recipient]
        among = self._one_of((None, None, *recipient.conditions))
        register = None if self._register is None else (self._register.name, "home", self._register.at_most)
        names = [f"c{number}" for number in range(self._one_of((1, 1, 2, 2, 3, 4, 5)))]
        formula = self._formula(names)
        self._policy = {
            "recipient": self._recipient,
            "among": None if among is None else recipient.means(among),
            "unit": unit,
            "register": register,
            "conditions": {},
            "eligible": formula,
        }
        lines = []
        strict = _under_not(formula)
        for name in names:
            lines += [f"  {name}:", *(f"    {line}" for line in self._condition(name, unit, name in strict))]
        reveal, vary = self._reveal()
        text = [f"policy: {self._name}", "reference_date: 2025-12-31", f"recipient: {self._recipient}"]
        text += [f"unit: {unit}", *([] if among is None else [f'among: "{among.text}"'])]
        if register is not None:
            text.append(f"household: {{department: {register[0]}, column: home}}")
        text += [f"parameters: {{{', '.join(self._parameters)}}}", "conditions:", *lines]
        text += [f'eligible: "{_written(formula)}"', f"reveal: {reveal}"]
        text += ["min_count: 1"] if reveal == "count" else []
        if vary is not None:
            text.append(f"vary: {{{vary[0]}: [{', '.join(map(_plain, vary[1]))}]}}")
        return Asked(self._name, "\n".join(text) + "\n", self._policy, reveal, vary)

    def _condition(self, name, unit, strict):
        """The lines of a condition, which is added to the policy's dictionary."""
        first = not self._policy["conditions"]  # asks another department: there must be something to match
        unknown = self._one_of(("pass", "fail") if strict else (None, "pass", "fail"))
        kinds = ["total"] * 3 + ["members"] * (2 if self._register is not None else 0)
        if unit == "person":
            kinds += ["where"]
        if self._register is not None and not (first and self._register.name == self._recipient):
            kinds.append("register")
        kind = self._one_of(kinds)
        if kind == "total":
            condition, lines = self._total(name, unit, first)
            if unknown == "pass" and not self._declared(condition):
                unknown = "fail"  # who is beyond a range that nobody declared must not be who passes
        else:
            condition, lines = self._where(kind, unit, first)
        self._policy["conditions"][name] = {**condition, "unknown": unknown == "pass"}
        return lines if unknown is None else [*lines, f"unknown: {unknown}"]

    def _declared(self, condition):
        """Whether all of a total's amounts have declared ranges."""
        asked = (
            [*condition["total"], *condition["bound"][:1]]
            if isinstance(condition["bound"], tuple)
            else condition["total"]
        )
        return all(self._departments[each].ranged and not self._departments[each].many for each in asked)

    def _where(self, kind, unit, first):
        of, members = "household" if kind == "register" else "person", None
        department = self._register
        if kind != "register":
            department = self._departments[self._one_of(self._others if first else list(self._departments))]
        where = self._one_of(CONDITIONS_OF_ROWS if kind == "register" else department.conditions)
        lines = [f"department: {department.name}", f'where: "{where.text}"']
        if kind == "members":
            members = self._one_of(("every", "any"))
            lines.append(f"members: {members}")
        elif kind == "register" and (unit == "person" or self._draw(st.booleans())):
            lines.append("of: household")
        meant = {
            "department": department.name,
            "where": department.means(where),
            "of": of,
            "members": members,
        }
        return meant, lines

    def _total(self, name, unit, first):
        of = unit if self._register is None else self._one_of(("household", unit))
        asked = self._draw(st.lists(st.sampled_from(list(self._departments)), min_size=1, unique=True))
        if first and not set(asked) - {self._recipient}:
            asked.append(self._one_of(self._others))
        parts = {each: self._one_of(self._departments[each].amounts) for each in asked}
        condition = {
            "total": {each: self._departments[each].means(part) for each, part in parts.items()},
            "is": self._one_of(COMPARISONS),
            "bound": Decimal(0),
            "per_member": False,
            "of": of,
        }
        said = of != unit or self._draw(st.booleans())
        lines = [*([f"of: {of}"] if said else []), "total:"]
        lines += [f'  {each}: "{part.text}"' for each, part in parts.items()]
        condition, bound = self._bound(name, condition, max(part.scale for part in parts.values()))
        lines.append(f"{condition['is']}: {bound}")
        return condition, lines + (["per_member: true"] if condition["per_member"] else [])

    def _bound(self, name, condition, scale):
        """A total's bound: a number that somebody's total is or nearly is, a parameter, or an expression."""
        if self._draw(st.integers(0, 3)) == 0:
            if condition["of"] == "household":
                department, texts = self._register, BOUNDS_OF_HOUSEHOLDS
            else:
                department = self._departments[self._one_of(list(self._departments))]
                texts = department.amounts
            bound = self._one_of(texts)
            meant = (department.name, department.means(bound))
            return condition | {"bound": meant}, f'{{{department.name}: "{bound.text}"}}'
        condition = condition | {"per_member": self._draw(st.booleans())}
        unit = Decimal(1).scaleb(-scale)
        number = self._one_of(self._totals(condition, unit)) + self._one_of((0, 0, 0, 0, unit, -unit))
        if self._draw(st.booleans()):
            self._parameters.append(f"{name}: {_plain(number)}")
            return condition | {"bound": number}, f'":{name}"'
        return condition | {"bound": number}, _plain(number)

    def _totals(self, condition, unit):
        """What the total is of the recipient's people, a head where the bound is; 0 where there are none."""
        found = set()
        own = self._rows[self._recipient]
        for members in meaning.households(self._policy["register"], self._rows):
            groups = [members] if condition["of"] == "household" else [[person] for person in members]
            for group in groups:
                if own.keys().isdisjoint(group):
                    continue
                amounts, _ = meaning.amounts_and_bound(condition, self._rows, group)
                heads = len(group) if condition["per_member"] else 1
                if None not in amounts and (each := Decimal(sum(amounts)) / heads) % unit == 0:
                    found.add(each)
        return sorted(found) or [Decimal(0)]

    def _reveal(self):
        """How it is revealed, and the bounds of a what-if."""
        if self._one_of(("members", "members", "count")) == "members":
            return "members", None
        conditions = self._policy["conditions"]
        numbers = [name for name, each in conditions.items() if isinstance(each.get("bound"), Decimal)]
        if not numbers or self._draw(st.booleans()):
            return "count", None
        varied = self._one_of(numbers)
        own = conditions[varied]["bound"]
        return "count", (
            varied,
            (own, own - LINE, own + 1) if -own.as_tuple().exponent >= 1 else (own, own + 1),
        )

    def _formula(self, names):
        """A formula in which every name stands, some of them twice."""
        operands = [("name", name) for name in self._draw(st.permutations(names))]
        operands += [("name", name) for name in names[1:2] if self._draw(st.booleans())]
        operands = [("not", each) if self._draw(st.integers(0, 4)) == 0 else each for each in operands]
        while len(operands) > 1:
            taken = self._draw(st.integers(2, len(operands)))
            kind = self._one_of(("and", "and", "or", "at_least"))
            least = [self._draw(st.integers(1, taken))] if kind == "at_least" else []
            joined = (kind, *least, *operands[:taken])
            negated = self._draw(st.integers(0, 5)) == 0
            operands = [*operands[taken:], ("not", joined) if negated else joined]
        return operands[0]

    def _one_of(self, values):
        return self._draw(st.sampled_from(values))


def _under_not(formula, inside=False):
    match formula:
        case ("name", name):
            return {name} if inside else set()
        case ("not", operand):
            return _under_not(operand, inside=True)
        case ("at_least", _, *operands):
            return set().union(*(_under_not(operand, inside=True) for operand in operands))
        case (_, *operands):
            return set().union(*(_under_not(operand, inside) for operand in operands))


def _written(formula):
    match formula:
        case ("name", name):
            return name
        case ("not", operand):
            return f"NOT ({_written(operand)})"
        case ("at_least", least, *operands):
            return f"at_least({least}, {', '.join(map(_written, operands))})"
        case (kind, *operands):
            return f" {kind.upper()} ".join(f"({_written(operand)})" for operand in operands)


def _plain(number):
    return f"{number:f}"
