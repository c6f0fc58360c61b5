"""Shows that a policy's own reference date also reaches what departments compute their columns with."""

import pytest
from fakes.federation import Federation, Given, csv_text

from veilmatch_policy.errors import PolicyRefusedError

CATALOG = """
department: {name}
tables:
  people:
    source: people.csv
    id: number
    identifier: opaque
    columns:
      age_{name}: {{type: integer, release: open, alone: approval,
                    expression: "date_diff('year', CAST(born AS DATE), :reference_date)"}}
"""
# The epoch's date is in 2025: everybody is 65 then.
POLICY = """
policy: NAME
reference_date: DAY
recipient: social
conditions:
  old: {department: tax, where: "age_tax >= 65"}
"""


def policy(name, day):
    return POLICY.replace("NAME", name).replace("DAY", day)


@pytest.fixture
def federation(tmp_path):
    people = csv_text(("number", "born"), [(f"p{year}", f"{year}-01-01") for year in range(1930, 1961, 10)])
    tables = {name: Given(CATALOG.format(name=name), {"people.csv": people}) for name in ("social", "tax")}
    with Federation(tmp_path, tables) as opened:
        opened.link()
        yield opened


def test_each_policy_is_answered_for_its_own_day(federation):
    federation.run(policy("in-2000", "2000-12-31"))
    federation.run(policy("in-2025", "2025-12-31"))
    assert federation.eligible("in-2000") == ["p1930"]
    assert federation.eligible("in-2025") == ["p1930", "p1940", "p1950", "p1960"]


def test_policies_of_two_days_are_two_jobs(federation):
    with pytest.raises(PolicyRefusedError, match="one reference date"):
        federation.run(policy("in-2000", "2000-12-31"), policy("in-2025", "2025-12-31"))
