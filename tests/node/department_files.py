"""Small departments for the tests: a catalog's text and files in a folder."""

from datetime import date

from veilmatch_node.source import load
from veilmatch_policy.catalog import parse_catalog

DAY = date(2025, 12, 31)

# Four numbers with valid check digits; 99 for a county was never issued.
ANNA, BODO, CARL, DORA = (
    "110199197001010011",
    "110199197001010038",
    "110199197001010054",
    "110199197001010070",
)


def catalog(columns, *, source="people.csv", rows="one", more=""):
    """The catalog of a department `tax` with one table `people`; ``columns`` are YAML lines."""
    indented = "".join(f"      {line}\n" for line in columns)
    # An empty mapping is written so.
    listed = f"    columns:\n{indented}" if columns else "    columns: {}\n"
    text = (
        "department: tax\ntables:\n  people:\n"
        f"    source: {source}\n    id: id\n    identifier: cn-resident-id\n    rows: {rows}\n{listed}{more}"
    )
    return parse_catalog(text.encode(), "tax/catalog.yaml")


def read(folder, columns, data, *, needed=None, **keywords):
    """Load the department whose table is ``data``, text or bytes."""
    (folder / "people.csv").write_bytes(data if isinstance(data, bytes) else data.encode())
    return load(catalog(columns, **keywords), folder, needed=needed, reference_date=DAY)


def table(department, name="people"):
    """The rows of ``t_<name>`` without the person's number: by identifier, (unreadable, cells...)."""
    found = department.connection.execute(f'SELECT * FROM "t_{name}" ORDER BY person, rowid').fetchall()
    normal = department.identifiers.to_pylist()
    return [(normal[person], *rest) for person, *rest in found]


def listed(department):
    return [tuple(row) for row in department.report.tables[0].listed]
