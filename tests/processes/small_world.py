"""Three small departments and policies over them, with the plain answers; shared by tests/cli and tests/processes.

Everything is made from the people in `PEOPLE`; the plain answers are read off the same list in plain Python.
"""

from dataclasses import dataclass
from pathlib import Path


def resident_id(number: int) -> str:
    """A well-formed resident identity number (GB 11643-1999) of nobody."""
    body = f"110199{19300101 + number % 28}{number // 28 % 1000:03d}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(weight * int(digit) for weight, digit in zip(weights, body, strict=True))
    return body + "10X98765432"[total % 11]


@dataclass(frozen=True)
class Person:
    """One person; None: the department does not know it."""

    id: str
    age: int | None
    wage: int | None
    pension: str | None


PEOPLE = tuple(
    Person(
        id=resident_id(number),
        age=None if number % 11 == 5 else 50 + number % 40,
        wage=None if number % 3 == 0 else 1000 * (number % 9),
        pension=None if number % 5 == 4 else f"{100 * (number % 13)}.50",
    )
    for number in range(60)
)

POLICE = """\
department: police
title: Public security
tables:
  residents:
    source: residents.csv
    id: citizen
    identifier: cn-resident-id
    columns:
      age: {type: integer, range: [0, 130], alone: approval}
      note: {type: text, release: never}
"""

TAX = """\
department: tax
title: Tax bureau
tables:
  income:
    source: income.csv
    id: id_number
    identifier: cn-resident-id
    refused_at_most: 5
    columns:
      wage: {type: integer, range: [0, 5000000], missing: 0}
"""

SOCIAL = """\
department: social
title: Social insurance
tables:
  pensions:
    source: pensions.csv
    id: id
    identifier: cn-resident-id
    columns:
      pension: {type: decimal(2), range: [0, 20000]}
"""

CATALOGS = {"police": POLICE, "tax": TAX, "social": SOCIAL}
FILES = {"police": "residents.csv", "tax": "income.csv", "social": "pensions.csv"}

SUPPLEMENT = """\
policy: supplement
version: 3
title: Supplement for old people with a small income
purpose: "Example Act, section 1"
reference_date: 2025-12-31
recipient: social
among: "pension > 0"
among_at_most: 1000
parameters: {line: {value: 4000, allow: [3000, 5000]}}
conditions:
  old: {department: police, where: "age >= 65"}
  low-wage: {department: tax, where: "wage < :line"}
  small-pension: {department: social, where: "pension < 1000"}
examples:
  - {given: {police: {age: 70}, social: {pension: 812.55}}, expect: eligible}
  - {given: {police: {age: 64}, social: {pension: 812.55}}, expect: not eligible}
"""

OLD_AGE = """\
policy: old-age
version: 1
recipient: social
conditions:
  old: {department: police, where: "age >= 80"}
"""

# The recipient is a department that contributes to the other policies.
TAX_CARD = """\
policy: tax-card
version: 1
recipient: tax
conditions:
  young: {department: police, where: "age < 70"}
  pensioner: {department: social, where: "pension BETWEEN 200 AND 900"}
"""

POLICIES = {"supplement": SUPPLEMENT, "old-age": OLD_AGE, "tax-card": TAX_CARD}


def plain_answers() -> dict[str, list[str]]:
    """The eligible of each policy, sorted."""
    return {
        "supplement": sorted(
            person.id
            for person in PEOPLE
            if person.pension is not None
            and 0 < float(person.pension) < 1000
            and person.age is not None
            and person.age >= 65
            and (person.wage or 0) < 4000
        ),
        "old-age": sorted(
            person.id for person in PEOPLE if person.pension is not None and (person.age or 0) >= 80
        ),
        "tax-card": sorted(
            person.id
            for person in PEOPLE
            if person.wage is not None
            and person.age is not None
            and person.age < 70
            and person.pension is not None
            and 200 <= float(person.pension) <= 900
        ),
    }


def tables() -> dict[str, str]:
    """The departments' files, as text."""
    police = [f"{p.id},{p.age}," for p in PEOPLE if p.age is not None]
    tax = [f"{p.id},{p.wage}" for p in PEOPLE if p.wage is not None]
    social = [f"{p.id},{p.pension}" for p in PEOPLE if p.pension is not None]
    return {
        "police": "\n".join(["citizen,age,note", *police]) + "\n",
        "tax": "\n".join(["id_number,wage", *tax]) + "\n",
        "social": "\n".join(["id,pension", *social]) + "\n",
    }


def write_departments(folder: Path, **changed: str) -> Path:
    """Write the departments' folders below ``folder``; ``changed`` are other catalogs by department."""
    for name, catalog in (CATALOGS | changed).items():
        home = folder / name
        home.mkdir(parents=True)
        (home / "catalog.yaml").write_text(catalog, encoding="utf-8")
        (home / FILES[name]).write_text(tables()[name], encoding="utf-8")
    return folder


def write_policy(folder: Path, name: str, text: str | None = None) -> Path:
    """Write a policy's file."""
    path = folder / f"{name}.yaml"
    path.write_text(POLICIES[name] if text is None else text, encoding="utf-8")
    return path
