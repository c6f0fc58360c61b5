"""A department's catalog: what it has and what it is willing to answer (policies.md).

Nothing that is not in the catalog can be asked.  A catalog holds no address and no secret.
"""

import codecs
import hashlib
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from veilmatch_policy import strict_yaml
from veilmatch_policy.column_types import CellValue, ColumnType, Missing, exact_number, iso_date, whole_number
from veilmatch_policy.documents import (
    Document,
    FieldError,
    FrozenMapping,
    Line,
    Name,
    Sql,
    SqlName,
    Whole,
    build,
    from_text,
    kind_of,
    placed_by_key,
    read_file,
)
from veilmatch_policy.errors import CatalogError, nearest, quoted

FAIL = "fail"  # the word of `missing` that makes the condition fail, in a text column too
MOST_MEMBERS = 10_000  # that a register may declare: a layer of the household order each (protocol.md, 5.2)
LARGEST_HOUSEHOLD = 32  # where a register declares none (protocol.md, 5.1)
_MISSING = ("no_row", "no_value")
_DAYS = re.compile(r"([0-9]{1,5})d")


class FileSource(Document):
    """A file in the department's folder; ``null`` are the cells that mean "no value"."""

    file: Line
    encoding: Line = "utf-8"
    delimiter: str = ","
    null: tuple[str, ...] = ("",)

    @field_validator("file")
    @classmethod
    def _inside_the_folder(cls, file: str) -> str:
        path = PurePosixPath(file)
        if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in file:
            raise ValueError(f"{quoted(file)} is not inside the department's folder; name a file in it")
        return file

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str) -> str:
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise ValueError(f"{quoted(encoding)} is not an encoding; write utf-8 or gb18030, say") from None
        return encoding

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, delimiter: str) -> str:
        if len(delimiter) != 1:
            raise ValueError(f"the delimiter {quoted(delimiter)} is not one character")
        return delimiter


class DatabaseSource(Document):
    """A table or view of a database that the node's configuration names."""

    database: Name
    table: Line


class AsOfQuery(Document):
    """The owner's own query for the day that a table describes."""

    query: Sql


class Identifier(Document):
    """How a table names a person; ``normalise`` applies to the scheme ``text``, in its order."""

    scheme: Literal["cn-resident-id", "opaque", "text"]
    normalise: tuple[Literal["nfkc", "trim", "upper"], ...] = ()

    @model_validator(mode="after")
    def _normal_form(self) -> Self:
        if self.normalise and self.scheme != "text":
            raise ValueError(f"the scheme {self.scheme} has its own normal form; leave normalise out")
        return self


class HouseholdColumn(Document):
    """The register's household label; households of more than ``at_most`` count as single persons.

    ``column`` is one of the table's columns, or of its source's where it is none of them.
    """

    column: Line
    at_most: Annotated[Whole, Field(ge=1, le=MOST_MEMBERS)] = LARGEST_HOUSEHOLD
    larger: Literal["single"] = "single"


class Column(Document):
    """One column: its type, who may ask for it, and what stands where it has no value.

    ``range`` is inclusive.  ``expression`` is the owner's own SQL over the source's columns.
    ``purposes`` and ``recipients`` are who may ask, None for any.  ``alone`` "never" refuses a
    policy in which this department's answer could be read off alone.
    """

    name: SqlName
    table: str
    type: Annotated[ColumnType, from_text(ColumnType.from_text)]
    unit: Line | None = None
    release: Literal["open", "approval", "never"] = "approval"
    missing: Missing = Missing()
    range: tuple[Decimal, Decimal] | None = None
    expression: Sql | None = None
    title: Line | None = None
    means: Line | None = None
    law: Line | None = None
    purposes: tuple[str, ...] | None = None
    recipients: tuple[Name, ...] | None = None
    alone: Literal["never", "approval"] = "never"

    @field_validator("missing", mode="before")
    @classmethod
    def _missing_of_its_type(cls, value: object, info: ValidationInfo) -> object:
        column_type = info.data.get("type")
        if not isinstance(column_type, ColumnType):  # refused already
            return Missing()
        match value:
            case Missing():
                return value
            case dict():
                for key in value:
                    if key not in _MISSING:
                        raise FieldError(f"there is no key {quoted(key)}; {nearest(key, _MISSING)}", key)
                return Missing(**{key: _stand_in(written, column_type) for key, written in value.items()})
            case _:
                stand_in = _stand_in(value, column_type)
                return Missing(no_row=stand_in, no_value=stand_in)

    @field_validator("range", mode="before")
    @classmethod
    def _range_of_its_type(cls, value: object, info: ValidationInfo) -> object:
        column_type = info.data.get("type")
        if not isinstance(column_type, ColumnType) or not isinstance(value, list):
            return value
        if not column_type.numeric:
            raise ValueError(f"a column of type {column_type} has no range; leave it out")
        if len(value) != 2 or not all(isinstance(bound, str) for bound in value):
            raise ValueError("a range is the lowest and the highest value; write [0, 5000000], say")
        low, high = (column_type.number(bound) for bound in value)
        if low > high:
            raise ValueError(f"the range begins at {low}, above its end {high}; exchange them")
        return low, high


def _stand_in(written: object, column_type: ColumnType) -> CellValue | None:
    if not isinstance(written, str):
        raise ValueError(f"expected one value, found {kind_of(written)}")  # noqa: TRY004  pydantic reads ValueErrors
    return None if written == FAIL else column_type.value(written)


def _source(value: object) -> object:
    match value:
        case str():
            return FileSource(file=value)
        case {"database": _}:
            return DatabaseSource.model_validate(value)
        case dict():
            return FileSource.model_validate(value)
        case list():
            raise ValueError("expected a file or a table of a database, found a list")
        case _:
            return value


def _identifier(value: object) -> object:
    return {"scheme": value} if isinstance(value, str) else value


def _as_of(value: object) -> object:
    match value:
        case str():
            return iso_date(value)
        case dict():
            return AsOfQuery.model_validate(value)
        case list():
            raise ValueError("expected a date or a query, found a list")
        case _:
            return value


def _days(text: str) -> int:
    found = _DAYS.fullmatch(text)
    if not found:
        raise ValueError(f"{quoted(text)} is not a number of days; write 45d, say")
    return int(found[1])


def _rows_or_share(text: str) -> int | Decimal:
    amount = exact_number(text.removesuffix("%"))
    if text.endswith("%") and 0 <= amount <= 100:
        return amount / 100
    if not text.endswith("%") and amount >= 0:
        return whole_number(text)
    raise ValueError(f"{quoted(text)} is not a number of rows or a share of them; write 20 or 2%, say")


class Table(Document):
    """One table or file: where it is, how it names people, and its columns.

    ``as_of`` is the day that it describes; a run refuses when that is more than ``stale_after`` days
    ago.  ``codes`` translates, by column, local codes to the federation's.  ``refused_at_most`` is how
    many rows may be refused before a run stops: an int is rows, a Decimal a share of all, None any.
    """

    name: Name
    source: Annotated[FileSource | DatabaseSource, BeforeValidator(_source)]
    id: Line
    identifier: Annotated[Identifier, BeforeValidator(_identifier)]
    rows: Literal["one", "many"] = "one"
    as_of: Annotated[date | AsOfQuery | None, BeforeValidator(_as_of)] = None
    stale_after: Annotated[int | None, from_text(_days)] = None
    columns: FrozenMapping[SqlName, Column]
    codes: FrozenMapping[str, FrozenMapping[str, str]] = Field(default={}, validate_default=True)
    household: HouseholdColumn | None = None
    refused_at_most: Annotated[int | Decimal | None, from_text(_rows_or_share)] = None

    @field_validator("columns", mode="before")
    @classmethod
    def _name_columns(cls, value: object, info: ValidationInfo) -> object:
        return placed_by_key(value, "name", table=info.data.get("name"))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.stale_after is not None and self.as_of is None:
            raise ValueError("stale_after without as_of; say which day the table describes")
        if self.household is not None and self.rows == "many":
            raise FieldError("a household register has one row a person; write rows: one", "household")
        for name, codes in self.codes.items():
            column = self.columns.get(name)
            if column is None:
                what = f"{quoted(name)} is not a column of this table; {nearest(name, self.columns)}"
                raise FieldError(what, "codes", name)
            for local, standard in codes.items():
                try:
                    column.type.value(standard)
                except ValueError as error:
                    raise FieldError(str(error), "codes", name, local) from None
        return self


class Catalog(Document):
    """What one department answers; ``digest`` is the SHA-256 of the file's bytes."""

    department: Name
    title: Line = ""
    tables: FrozenMapping[Name, Table]
    digest: bytes

    @field_validator("tables", mode="before")
    @classmethod
    def _name_tables(cls, value: object) -> object:
        return placed_by_key(value, "name")

    @model_validator(mode="after")
    def _each_column_once(self) -> Self:
        seen: dict[str, Column] = {}
        for column in self.columns():
            # SQL does not tell capitals from small letters.
            first = seen.setdefault(column.name.casefold(), column)
            if first is not column:
                what = f"the column {quoted(column.name)} is also in the table {first.table}"
                remedy = "names are unique in a department; rename one and give it an expression"
                raise FieldError(f"{what}; {remedy}", "tables", column.table, "columns", column.name)
        return self

    @model_validator(mode="after")
    def _one_household_register(self) -> Self:
        registers = [table.name for table in self.tables.values() if table.household is not None]
        if len(registers) > 1:
            what = f"the table {registers[0]} is a household register too; a department keeps one"
            raise FieldError(what, "tables", registers[1], "household")
        return self

    @property
    def household(self) -> tuple[Table, HouseholdColumn] | None:
        """The department's household register: the table, and what it says of it; None if it keeps none."""
        for table in self.tables.values():
            if table.household is not None:
                return table, table.household
        return None

    def columns(self) -> Iterator[Column]:
        """Every column of every table, in the catalog's order."""
        for table in self.tables.values():
            yield from table.columns.values()

    def column(self, name: str) -> Column | None:
        """The column of that name, in whichever table it is; None if there is none."""
        return next((column for column in self.columns() if column.name == name), None)


def load_catalog(path: Path) -> Catalog:
    """Read a department's ``catalog.yaml``; raises CatalogError, also when it cannot be read."""
    where = f"{path.parent.name}/{path.name}"
    return parse_catalog(read_file(path, where, CatalogError), where)


def parse_catalog(data: bytes, where: str) -> Catalog:
    """Read a catalog's bytes; ``where`` names the file in messages.  Raises CatalogError."""
    tree = strict_yaml.parse(data, where, CatalogError)
    return build(Catalog, tree, CatalogError, digest=hashlib.sha256(data).digest())
