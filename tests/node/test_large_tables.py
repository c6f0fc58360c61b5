"""Shows that the text of a database's table is never in memory as a whole: the peak at five million rows."""

import subprocess
import sys
from pathlib import Path

import pytest
from database_servers import postgres, postgres_server

READ = """
import resource, sys, time
from datetime import date
from pathlib import Path
from veilmatch_node.databases import Database, Databases
from veilmatch_node.source import load
from veilmatch_policy.catalog import parse_catalog
begun = time.monotonic()
department = load(
    parse_catalog(sys.argv[2].encode(), "tax/catalog.yaml"), Path("nowhere"), reference_date=date(2025, 1, 1),
    databases=Databases({"main": Database(url=sys.argv[1])}),
)
print(department.people, time.monotonic() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""
CATALOG = """
department: tax
tables:
  people:
    source: {database: main, table: people}
    id: id
    identifier: opaque
    rows: one
    columns:
      wage: {type: integer}
      rent: {type: decimal(4)}
      born: {type: date}
      sick: {type: integer, expression: "lpad(wage::text, 300, '0')"}
"""


PEOPLE = """
CREATE TABLE people AS
SELECT lpad(i::text, 18, '0') AS id, (i % 100000)::bigint AS wage, (i / 7.0)::numeric(12, 4) AS rent,
       date '1950-01-01' + i % 20000 AS born
FROM generate_series(1, 5000000) AS i
"""


@pytest.mark.campaign
def test_five_million_rows():
    # As text the table is 2 GB and more.
    with postgres_server() as url:
        postgres(url, PEOPLE)
        read = [sys.executable, "-c", READ, url, CATALOG]
        found = subprocess.run(read, check=True, capture_output=True, text=True, cwd=Path(__file__).parent)
    count, seconds, peak = found.stdout.split()[-3:]
    sys.stdout.write(f"{int(count) / float(seconds):,.0f} rows a second, peak {peak} MB\n")
    assert int(count) == 5_000_000
    assert int(peak) < 2200
