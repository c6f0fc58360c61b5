"""Who is eligible in the example of EU-SILC, computed the plain way.

One dictionary a person with everything that any department wrote, and one `if` a policy: this is the
join in plain text that the federation must never make.  It shares no code with the product: the
standard library's csv, unicodedata and Decimal, and the readings of the data's own README.
"""

import csv
from collections import defaultdict
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

from oracles.identity_numbers import normal_form

EXAMPLE = Path(__file__).parents[2] / "examples" / "eusilc"
REFERENCE_DATE = date(2006, 12, 31)

_IDENTIFIERS = {
    "public_security": "citizen_id",
    "tax": "taxpayer_id",
    "social_insurance": "sfzh",
    "education": "id_card",
    "housing": "idno",
    "civil_affairs": "身份证号",
}


def records(departments=EXAMPLE / "departments"):
    """For each department, its rows by normal form."""
    found = {}
    for name, column in _IDENTIFIERS.items():
        with (departments / name / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            found[name] = {normal_form(row[column]): row for row in csv.DictReader(file)}
    return found


def _yearly(cell):
    return Decimal(cell or 0)


def _monthly(cell):
    return (Decimal(cell or 0) * 12).quantize(Decimal("0.01"), ROUND_HALF_EVEN)


class _Person:
    """What all departments together know of a person; a department without a row wrote nothing."""

    def __init__(self, tables, number):
        rows = {name: table.get(number, {}) for name, table in tables.items()}
        tax, fund, housing, civil = (
            rows[name] for name in ("tax", "social_insurance", "housing", "civil_affairs")
        )
        register, education = rows["public_security"], rows["education"]
        self.registered = bool(register)
        self.citizenship = register.get("citizenship", "")
        self.householder = register.get("reference_person") == "1"
        if self.registered:
            self.age = int(register["age"])
            born = register["birth_date"]
            born = date(int(born[:4]), int(born[4:6]), int(born[6:]))
            birthday_is_past = (REFERENCE_DATE.month, REFERENCE_DATE.day) >= (born.month, born.day)
            self.completed_years = REFERENCE_DATE.year - born.year - (not birthday_is_past)
        self.wage = _yearly(tax.get("wage_income"))
        self.business = _yearly(tax.get("business_income"))
        self.capital = _yearly(tax.get("household_capital_income"))
        self.tax_adjustment = _yearly(tax.get("household_tax_adjustment"))
        self.unemployment = _monthly(fund.get("unemployment_monthly"))
        self.pension = _monthly(fund.get("old_age_monthly"))
        self.survivor = _monthly(fund.get("survivor_monthly"))
        self.sickness = _monthly(fund.get("sickness_monthly"))
        self.disability = _monthly(fund.get("disability_monthly"))
        self.jobseeker = fund.get("registered_unemployed") == "1"
        self.grant = _yearly(education.get("allowance_fen")) / 100
        self.student = education.get("student") == "1"
        self.rents = _yearly(housing.get("rental_income", "").replace(",", ""))
        self.housing_allowance = _monthly(housing.get("housing_allowance_monthly"))
        self.family_allowance = _yearly(civil.get("family_allowance"))
        self.support_received = _yearly(civil.get("transfer_received"))
        self.support_paid = _yearly(civil.get("transfer_paid"))
        self.child_income = _yearly(civil.get("income_of_under_16"))

    @property
    def income(self):
        """What the person adds to the household's disposable income."""
        return (
            self.wage
            + self.business
            + self.capital
            - self.tax_adjustment
            + self.unemployment
            + self.pension
            + self.survivor
            + self.sickness
            + self.disability
            + self.grant
            + self.rents
            + self.housing_allowance
            + self.family_allowance
            + self.support_received
            + self.child_income
            - self.support_paid
        )


def _pension_supplement(p):
    return (
        0 < p.pension + p.survivor < 9000
        and p.registered
        and p.completed_years >= 65
        and p.citizenship in {"AT", "EU"}
        and p.wage + p.business + p.capital <= 500
        and p.rents == 0
        and p.support_received == 0
    )


def _student_grant(p):
    return (
        p.student
        and p.grant == 0
        and p.registered
        and 18 <= p.age <= 29
        and p.wage + p.business <= 3600
        and p.capital < 1000
        and not p.jobseeker
        and p.unemployment + p.pension + p.survivor == 0
    )


def _jobless_parents_housing(p):
    return (
        p.family_allowance > 0
        and (p.jobseeker or p.unemployment > 0)
        and p.housing_allowance == 0
        and p.rents == 0
        and p.wage + p.business < 12000
        and p.registered
        and p.householder
        and 18 <= p.age <= 64
        and not p.student
    )


def _heating_aid(p):
    return (
        p.housing_allowance > 0
        and p.rents == 0
        and p.registered
        and p.householder
        and p.age >= 18
        and p.wage + p.business + p.capital <= 15000
        and p.unemployment + p.pension + p.survivor + p.disability <= 12000
        and p.support_received <= 2400
        and p.support_paid == 0
    )


def households(tables):
    """The members of each household of the register."""
    found = defaultdict(list)
    for number, row in tables["public_security"].items():
        found[row["household_no"]].append(number)
    return dict(found)


def households_under_poverty_line(tables):
    """The households whose equivalised income is below the line, in exact decimals."""
    line, below = Decimal("10859.236"), set()
    for household, members in households(tables).items():
        people = [_Person(tables, number) for number in members]
        # The modified OECD scale: the first adult is 0.5 more than the others.
        size = Decimal("0.5") + sum(Decimal("0.5") if p.age >= 14 else Decimal("0.3") for p in people)
        if sum(p.income for p in people) < line * size:
            below.add(household)
    return below


def weighted_share(numbers, tables):
    """The share of these people among everybody in the register, by survey weights, in per cent."""
    register = tables["public_security"]
    weights = {number: Decimal(row["survey_weight"]) for number, row in register.items()}
    return 100 * sum(weights[number] for number in numbers) / sum(weights.values())


# Policy: its recipient, and the test of a person.
_POLICIES = {
    "pension-supplement": ("social_insurance", _pension_supplement),
    "student-grant": ("education", _student_grant),
    "jobless-parents-housing": ("civil_affairs", _jobless_parents_housing),
    "heating-aid": ("housing", _heating_aid),
}
UNDER_POVERTY_LINE = "under-poverty-line"  # of households; the recipient keeps their register
POLICIES = (*_POLICIES, UNDER_POVERTY_LINE)


def eligible(policy, tables=None):
    """The normal forms of the recipient's people who are eligible, sorted."""
    tables = records() if tables is None else tables
    if policy == UNDER_POVERTY_LINE:
        below = households_under_poverty_line(tables)
        return sorted(
            n for household, members in households(tables).items() if household in below for n in members
        )
    recipient, test = _POLICIES[policy]
    return sorted(number for number in tables[recipient] if test(_Person(tables, number)))
