"""Who is entitled to the income supplement and does not claim it, computed the plain way."""

from decimal import Decimal

from oracles.example_tables import COMPACT_DAY, REFERENCE_DATE, Example, Policy, Table, amount
from oracles.identity_numbers import birthdays_passed


def _has_a_pension(person):
    return person.sum("social_insurance", "pension_month") > 0


def _age(person):
    return birthdays_passed(person.one("public_security", "born"), REFERENCE_DATE)


def _registered(household):
    return [person for person in household if person.known_to("public_security")]


def _income(household):
    return sum(
        12 * p.sum("social_insurance", "pension_month") + p.sum("tax", "wages_year", "interest_year")
        for p in household
    )


def _nobody_claims(household):
    return all(p.sum("civil_affairs", "paid") == 0 for p in household)


def _unclaimed_supplement(person, household):
    if not person.known_to("public_security"):
        return False
    line = 14400 if len(_registered(household)) == 1 else 21600
    return (
        person.one("public_security", "alive")
        and _age(person) >= 65
        and _nobody_claims(household)
        and _income(household) < line
    )


def _income_a_head_at_most(line):
    def test(_, household):
        return (
            any(_age(p) >= 65 for p in _registered(household))
            and _nobody_claims(household)
            and _income(household) <= line * len(household)
        )

    return test


LINES = (7200, 9600, 10800, 12000)
_RECIPIENT = "social_insurance"


def households_entitled():
    """How many households are entitled under each line, by line."""
    return {line: _with_line(line).eligible("what-if-line")[1] for line in LINES}


def _with_line(line):
    policies = {
        "unclaimed-supplement": Policy(_RECIPIENT, _unclaimed_supplement, _has_a_pension),
        "what-if-line": Policy(_RECIPIENT, _income_a_head_at_most(line), _has_a_pension),
    }
    return Example("pension-supplement", _TABLES, policies, ("public_security", "household_id"))


_TABLES = {
    "social_insurance": Table(
        "pensions.csv",
        "sfzh",
        {"pension_month": ("pension", lambda cell: Decimal(cell.replace(".", "").replace(",", ".")))},
        ";",
    ),
    "public_security": Table(
        "residents.csv",
        "number",
        {
            "household_id": ("household", str),
            "born": ("born", COMPACT_DAY),
            "alive": ("alive", lambda cell: cell == "1"),
        },
    ),
    "tax": Table(
        "incomes.csv", "taxpayer", {"wages_year": ("wages", amount), "interest_year": ("interest", amount)}
    ),
    "civil_affairs": Table("supplements.csv", "身份证号", {"paid": ("金额", Decimal)}, "|"),
}
EXAMPLE = _with_line(9600)
