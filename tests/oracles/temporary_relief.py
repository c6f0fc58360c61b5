"""Which families' declarations of hardship are true, computed the plain way."""

from decimal import Decimal

from oracles.example_tables import SPACED_DAY, Example, Policy, Table, amount, days_since


def _declared_lately(person):
    return 0 <= days_since(person.one("civil_affairs", "declared")) <= 30


def _temporary_relief(_, household):
    income = sum(
        12 * p.sum("social_insurance", "wage_month", "benefit_month") + p.sum("tax", "profit_year")
        for p in household
    )
    savings = sum(p.sum("bank_clearing", "balance") for p in household)
    return (
        income <= 12 * 860 * len(household)
        and savings <= 20000
        and all(value <= 50000 for p in household for value in p.all("traffic_police", "value"))
        and any(p.one("social_insurance", "jobless") for p in household)
    )


EXAMPLE = Example(
    "temporary-relief",
    {
        "civil_affairs": Table(
            "families.csv", "id_number", {"family": ("family", str), "declared": ("declared", SPACED_DAY)}
        ),
        "social_insurance": Table(
            "insured.csv",
            "sfzh",
            {
                "wage_month": ("wage", Decimal),
                "benefit_month": ("benefit", Decimal),
                "jobless": ("失业", lambda cell: cell == "是"),
            },
        ),
        "tax": Table(
            "self_employed.csv", "taxpayer", {"profit_year": ("profit_fen", lambda cell: Decimal(cell) / 100)}
        ),
        "bank_clearing": Table("accounts.csv", "holder", {"balance": ("balance", amount)}, ";"),
        "traffic_police": Table(
            "vehicles.csv", "owner", {"value": ("value", lambda cell: int(cell.removesuffix("元")))}
        ),
    },
    {"temporary-relief": Policy("civil_affairs", _temporary_relief, _declared_lately)},
    ("civil_affairs", "family"),
)
