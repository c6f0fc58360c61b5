"""The types of columns, and exact values of those types from text.

There is no floating point: a number is an int or a Decimal with all its digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal
from typing import Literal, get_args

from veilmatch_policy.errors import nearest, quoted

Kind = Literal["integer", "decimal", "text", "boolean", "date"]
CellValue = int | Decimal | str | bool | date

LARGEST_SCALE = 12  # digits behind the point
LARGEST_PRECISION = 38  # digits in all: DuckDB's widest DECIMAL
LARGEST_WHOLE = 18  # digits before the point of a decimal cell, so that conditions can calculate with it
_INTEGER_BITS = 64  # DuckDB's BIGINT, two's complement

# Python's own context would round to 28 digits.
_EXACT = Context(prec=LARGEST_PRECISION + LARGEST_SCALE)

_TYPE = re.compile(r"(?P<kind>[a-z]+)\s*(?:\(\s*(?P<scale>[0-9]{1,4})\s*\))?")
_NUMBER = re.compile(r"-?(?P<whole>[0-9]+)(?:\.(?P<fraction>[0-9]+))?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def exact_number(text: str) -> Decimal:
    """The number that ``text`` writes in plain digits (``-12.50``), with its scale.

    Raises ValueError for anything else: exponents, separators, blanks, more than 38 digits.
    """
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError(f"{quoted(text)} is not a number; write plain digits, such as 7200.50")
    if len(found["whole"]) + len(found["fraction"] or "") > LARGEST_PRECISION:
        raise ValueError(f"{quoted(text)} has more than {LARGEST_PRECISION} digits")
    return Decimal(text)


def whole_number(text: str) -> int:
    """The integer that ``text`` writes in plain digits; raises ValueError for anything else."""
    if not (number := exact_number(text)) == number.to_integral_value():
        raise ValueError(f"{quoted(text)} is not a whole number")
    return int(number)


def iso_date(text: str) -> date:
    """The date that ``text`` writes as YYYY-MM-DD; raises ValueError for anything else."""
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError(f"{quoted(text)} is not a date; write it as 2025-12-31")


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A column's declared type; ``scale`` is the digits behind the point (0 but for decimals)."""

    kind: Kind
    scale: int = 0

    @classmethod
    def from_text(cls, text: str) -> ColumnType:
        """Read ``integer``, ``decimal(2)``, ``text``, ``boolean`` or ``date``; raises ValueError."""
        kinds: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}
        found = _TYPE.fullmatch(text.strip())
        kind = kinds.get(found["kind"]) if found else None
        if found is None or kind is None:
            written = found["kind"] if found else text
            raise ValueError(f"{quoted(text)} is not a column type; {nearest(written, kinds)}")
        if (kind == "decimal") != (found["scale"] is not None):
            raise ValueError(
                f"{quoted(text)} is not a column type; only decimal has a scale, as in decimal(2)"
            )
        scale = int(found["scale"] or 0)
        if scale > LARGEST_SCALE:
            raise ValueError(
                f"the scale {scale} is too fine; decimal(0) to decimal({LARGEST_SCALE}) are possible"
            )
        return cls(kind, scale)

    @property
    def numeric(self) -> bool:
        """Whether values of this type can be added and ordered as numbers."""
        return self.kind in {"integer", "decimal"}

    @property
    def largest(self) -> int:
        """How far from 0 a cell of this type can be, in units of its last digit; 0 for other than numbers."""
        match self.kind:
            case "integer":
                return 1 << (_INTEGER_BITS - 1)
            case "decimal":
                return int(10 ** (LARGEST_WHOLE + self.scale)) - 1
            case _:
                return 0

    def value(self, text: str) -> CellValue:
        """The value that ``text`` writes, of this type; raises ValueError when it writes none."""
        match self.kind:
            case "integer":
                integer = whole_number(text)
                if not -(2 ** (_INTEGER_BITS - 1)) <= integer < 2 ** (_INTEGER_BITS - 1):
                    raise ValueError(f"{quoted(text)} does not fit into {_INTEGER_BITS} bits")
                return integer
            case "decimal":
                return self._decimal(text)
            case "boolean":
                if text.lower() not in {"true", "false"}:
                    raise ValueError(f"{quoted(text)} is neither true nor false")
                return text.lower() == "true"
            case "date":
                return iso_date(text)
            case "text":
                return text

    def number(self, text: str) -> Decimal:
        """As `value`, for the numeric types: the number as a Decimal with this type's scale."""
        value = self.value(text)
        if isinstance(value, int | Decimal) and self.numeric:
            return Decimal(value)
        raise ValueError(f"{quoted(text)} is {self}, not a number")

    def _decimal(self, text: str) -> Decimal:
        number = exact_number(text)
        scaled = number.quantize(Decimal((0, (1,), -self.scale)), context=_EXACT)
        if scaled != number:
            raise ValueError(
                f"{quoted(text)} has more than the {self.scale} digits behind the point of {self}"
            )
        if len(scaled.as_tuple().digits) > LARGEST_WHOLE + self.scale:
            raise ValueError(f"{quoted(text)} has more than {LARGEST_WHOLE} digits before the point")
        return scaled

    def __str__(self) -> str:
        return f"decimal({self.scale})" if self.kind == "decimal" else self.kind


@dataclass(frozen=True, slots=True)
class Missing:
    """What a condition sees where nothing is known; None: the condition fails.

    ``no_row`` is for a person without a row in the column's table, ``no_value`` for an empty cell.
    """

    no_row: CellValue | None = None
    no_value: CellValue | None = None
