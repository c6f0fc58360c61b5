"""Which applicants' households may have public rental housing, computed the plain way."""

from oracles.example_tables import Example, Policy, Table, day, days_since


def _owns_a_home(person):
    uses = zip(person.all("real_estate", "use"), person.all("real_estate", "share"), strict=True)
    return any(use == "dwelling" and share > 0 for use, share in uses)


def _public_housing(_, household):
    ages = [age for p in household for age in p.all("public_security", "age")]
    reasons = (
        len(ages) >= 5,
        bool(ages) and min(ages) >= 60,
        any(days_since(applied) >= 1095 for p in household for applied in p.all("housing", "applied")),
    )
    income = sum(p.sum("tax", "wages_year", "other_year") for p in household)
    return (
        not any(map(_owns_a_home, household))
        and sum(p.sum("traffic_police", "value") for p in household) <= 80000
        and (income < 30000 * len(household) or sum(reasons) >= 2)
    )


EXAMPLE = Example(
    "public-housing",
    {
        "housing": Table(
            "applications.csv",
            "id",
            {
                "applied": ("applied", day(year=slice(6, 10), month=slice(3, 5), day=slice(0, 2))),
                "state": ("state", {"W": "waiting", "A": "answered"}.__getitem__),
            },
        ),
        "public_security": Table(
            "residents.csv", "citizen", {"household_no": ("household", str), "age": ("age", int)}
        ),
        "real_estate": Table(
            "titles.csv",
            "证件号码",
            {"use": ("用途", {"住宅": "dwelling", "车位": "parking"}.__getitem__), "share": ("份额", int)},
        ),
        "traffic_police": Table("vehicles.csv", "owner", {"value": ("value_yuan", int)}),
        "tax": Table(
            "incomes.csv", "taxpayer", {"wages_year": ("wages", int), "other_year": ("other", int)}, "\t"
        ),
    },
    {
        "public-housing": Policy(
            "housing", _public_housing, lambda person: person.one("housing", "state") == "waiting"
        )
    },
    ("public_security", "household_no"),
)
