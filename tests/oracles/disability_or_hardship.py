"""Who is disabled or in hardship and owns no second home, computed the plain way."""

from decimal import Decimal

from oracles.example_tables import COMPACT_DAY, Example, Policy, Table, amount, days_since

_GRADES = {"一级": 1, "二级": 2, "三级": 3, "四级": 4}


def _homes(person):
    """Titles to half a home or more; where the share is not written it is the whole home."""
    return sum(share is None or share >= 50 for share in person.cells("real_estate", "share"))


def _disability_or_hardship(person, _):
    income = person.sum("tax", "wages_year", "business_year") + person.sum("social_insurance", "pension_year")
    jobless_since = person.one("social_insurance", "jobless_since")
    hardships = (
        income <= 9600,
        jobless_since is not None and days_since(jobless_since) >= 180,
        person.sum("civil_affairs", "cares_for") > 0,
    )
    disabled = person.one("disability_federation", "grade", 5) <= 2
    return (disabled or sum(hardships) >= 2) and _homes(person) < 2


EXAMPLE = Example(
    "disability-or-hardship",
    {
        "civil_affairs": Table("clients.csv", "身份证号", {"cares_for": ("cares_for", int)}),
        "disability_federation": Table(
            "certificates.csv", "holder", {"grade": ("grade", _GRADES.__getitem__)}
        ),
        "tax": Table(
            "incomes.csv",
            "taxpayer",
            {"wages_year": ("wages", amount), "business_year": ("business", amount)},
        ),
        "social_insurance": Table(
            "insured.csv",
            "sfzh",
            {
                "pension_year": ("pension_monthly", lambda cell: round(Decimal(cell) * 12, 2)),
                "jobless_since": ("jobless_since", COMPACT_DAY),
            },
        ),
        "real_estate": Table("titles.csv", "owner", {"share": ("share", Decimal)}, ";"),
    },
    {"disability-or-hardship": Policy("civil_affairs", _disability_or_hardship)},
)
