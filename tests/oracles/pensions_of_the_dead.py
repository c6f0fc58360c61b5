"""Whose pension is still paid though they are dead, computed the plain way."""

from decimal import Decimal

from oracles.example_tables import SPACED_DAY, Example, Policy, Table, days_since


def _paid(person):
    return person.sum("social_insurance", "pension_month") > 0


def _dead(person, _):
    died = person.one("civil_affairs", "died")
    cremated = died is not None and days_since(died) >= 60
    registered_as_dead = person.one("public_security", "state") == "dead"
    treated = any(days_since(day) < 60 for day in person.all("medical_insurance", "day"))
    return (cremated or registered_as_dead) and not treated


_POLICY = Policy("social_insurance", _dead, _paid)

EXAMPLE = Example(
    "pensions-of-the-dead",
    {
        "social_insurance": Table("pensions.csv", "sfzh", {"pension_month": ("pension", Decimal)}),
        "public_security": Table(
            "residents.csv", "citizen", {"state": ("state", {"1": "alive", "2": "dead", "3": "abroad"}.get)}
        ),
        "civil_affairs": Table("cremations.csv", "身份证号", {"died": ("死亡日期", SPACED_DAY)}),
        "medical_insurance": Table("treatments.csv", "insured", {"day": ("day", SPACED_DAY)}, ";"),
    },
    {"pensions-of-the-dead": _POLICY, "how-many": _POLICY},
)
