"""The catalog and the loader's tables that the tests of evaluate.py share."""

from __future__ import annotations

from itertools import chain

from veilmatch_policy.catalog import parse_catalog

CATALOG = parse_catalog(
    b"""
department: housing
tables:
  people:
    source: people.csv
    id: id_number
    identifier: opaque
    rows: one
    columns:
      age: {type: integer, range: [-1000, 1000]}
      rent: {type: decimal(2), missing: 0, range: [-1000, 1000]}
      rate: {type: decimal(3), missing: {no_row: 1.5, no_value: fail}, range: [-1000, 1000]}
      sex: {type: text, missing: {no_row: fail, no_value: "it's"}}
      alive: {type: boolean}
      disabled: {type: boolean, missing: false}
      born: {type: date, missing: {no_row: 1990-06-15, no_value: fail}}
  cars:
    source: cars.csv
    id: id_number
    identifier: opaque
    rows: one
    columns:
      car_value: {type: integer, missing: {no_row: 0, no_value: fail}}
      \xe8\xbd\xa6: {type: text}
  homes:
    source: homes.csv
    id: id_number
    identifier: opaque
    rows: many
    columns:
      area: {type: decimal(1), range: [-1000, 1000]}
      floor: {type: integer, missing: {no_row: 7, no_value: 3}}
      kind: {type: text, missing: none}
      let: {type: boolean}
      bought: {type: date}
""",
    "housing/catalog.yaml",
)


def load(connection, rows):
    """Make the loader's tables: rows[table] is a list of dicts with person, perhaps unreadable, and cells."""
    for table in CATALOG.tables.values():
        columns = [f'"{column.name}" {_stored(column.type)}' for column in table.columns.values()]
        declared = ", ".join(["person INTEGER NOT NULL", "unreadable BOOLEAN NOT NULL", *columns])
        connection.execute(f'CREATE OR REPLACE TABLE "t_{table.name}" ({declared})')
        cells = [
            [row["person"], row.get("unreadable", False), *(row.get(name) for name in table.columns)]
            for row in rows.get(table.name, [])
        ]
        if cells:
            marks = ", ".join(f"({', '.join('?' * len(row))})" for row in cells)
            connection.execute(f'INSERT INTO "t_{table.name}" VALUES {marks}', [*chain(*cells)])


def _stored(column_type):
    if column_type.kind == "decimal":
        return f"DECIMAL(18, {column_type.scale})"  # narrower than 38, as a loader may choose
    return {"integer": "BIGINT", "text": "VARCHAR", "boolean": "BOOLEAN", "date": "DATE"}[column_type.kind]
