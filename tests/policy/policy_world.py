"""Three departments and a policy over them, for the tests of catalogs, policies and checks."""

from datetime import date

from veilmatch_policy.catalog import Catalog, parse_catalog
from veilmatch_policy.policy import Policy, parse_policy

REFERENCE_DATE = date(2025, 12, 31)

TAX = """\
department: tax
title: Tax bureau
tables:
  income:
    source: {file: income.csv, encoding: gb18030, delimiter: ";", null: ["", "NULL", "-"]}
    id: id_number
    identifier: cn-resident-id
    rows: one
    as_of: 2025-12-31
    stale_after: 45d
    refused_at_most: 2%
    columns:
      wage_year: {type: integer, unit: yuan/year, release: approval, missing: 0, range: [0, 5000000]}
      rent_year: {type: decimal(2), missing: {no_row: 0, no_value: fail}, purposes: [relief], alone: approval}
      employer_name: {type: text, release: never}
      sex: {type: text, recipients: [housing]}
    codes:
      sex: {"1": male, "2": female}
  payments:
    source: {database: main, table: v_payments}
    id: id_number
    identifier: {scheme: text, normalise: [nfkc, trim, upper]}
    rows: many
    as_of: {query: "select max(updated) from v_payments"}
    refused_at_most: 20
    columns:
      paid: {type: decimal(2), expression: "cast(cents as decimal(12,2)) / 100"}
"""

POLICE = """\
department: police
title: Public security
tables:
  residents:
    source: residents.csv
    id: id_number
    identifier: opaque
    household: {column: household_id, at_most: 20, larger: single}
    columns:
      age: {type: integer, range: [0, 130]}
      alive: {type: boolean, missing: {no_value: true}}
      county: {type: text, missing: fail}
      born: {type: date}
"""

SOCIAL = """\
department: social
title: Social insurance
tables:
  pensions:
    source: pensions.parquet
    id: id_number
    identifier: cn-resident-id
    columns:
      pension_month: {type: decimal(2)}
      disabled: {type: boolean, release: never}
"""

POLICY = """\
policy: top-up
version: 1
title: Income supplement
purpose: Elderly Income Supplement Act, section 12
reference_date: 2025-12-31
recipient: social
among: "pension_month > 0"
among_at_most: 50000
parameters: {line: {value: 7200.50, allow: [6000, 9000], law: Decree 14}}
conditions:
  pensioner:
    department: police
    where: "age >= 65 AND alive"
  low-wage:
    department: tax
    where: "wage_year < :line"
  small-pension:
    department: social
    where: "pension_month < 1000"
examples:
  - {given: {police: {age: 70}, tax: {wage_year: 0}, social: {pension_month: 812.55}}, expect: eligible}
  - {given: {police: {age: 70}, social: {pension_month: 812.55}}, expect: eligible}
  - {given: {police: {age: 70}, tax: {wage_year: 7201}}, expect: not eligible}
"""


def catalogs(**changed: str) -> dict[str, Catalog]:
    """All catalogs by department, with the text of some changed."""
    texts = {"tax": TAX, "police": POLICE, "social": SOCIAL} | changed
    return {name: parse_catalog(text.encode(), f"{name}/catalog.yaml") for name, text in texts.items()}


def policy(text: str = POLICY) -> Policy:
    return parse_policy(text.encode(), "top-up.yaml")


def changed(text: str, old: str, new: str) -> str:
    """The text with the one occurrence of ``old`` replaced."""
    assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times"
    return text.replace(old, new)
