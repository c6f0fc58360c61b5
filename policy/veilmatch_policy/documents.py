"""From a parsed YAML tree to a checked, immutable model, and from its errors to one line.

A model says its format; what its place in the file says about a part of it (a column's name is the
key that it stands under) is handed in beside the tree with `Placed`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from veilmatch_policy import names
from veilmatch_policy.column_types import exact_number, whole_number
from veilmatch_policy.errors import PolicyError, nearest, quoted
from veilmatch_policy.strict_yaml import LARGEST_FILE, Tree

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
_Model = TypeVar("_Model", bound="Document")

# pydantic's names of errors, and what it expected in an author's words.
_EXPECTED = {
    "string_type": "one value",
    "tuple_type": "a list",
    "mapping_type": "keys with values",
    "dict_type": "keys with values",
}


def from_text(convert: Callable[[str], object]) -> BeforeValidator:
    """Validate a field by converting what the file says; a value that is converted already passes."""

    def validate(value: object) -> object:
        if isinstance(value, list | dict):
            raise ValueError(f"expected one value, found {kind_of(value)}")  # noqa: TRY004  pydantic reads ValueErrors
        return convert(value) if isinstance(value, str) else value

    return BeforeValidator(validate)


def _yes_or_no(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError(f"{quoted(text)} is neither true nor false")
    return text == "true"


def _line(text: str) -> str:
    stripped = text.strip()
    if not stripped or not stripped.isprintable():
        raise ValueError("expected text on one line")
    return stripped


def _sql(text: str) -> str:
    if not text.strip() or not all(c.isprintable() or c in "\t\r\n" for c in text):
        raise ValueError("expected an expression")
    return text.strip()


def _frozen(mapping: Mapping[_Key, _Value]) -> Mapping[_Key, _Value]:
    return MappingProxyType(dict(mapping))


FrozenMapping = Annotated[Mapping[_Key, _Value], AfterValidator(_frozen)]
Name = Annotated[str, from_text(names.name)]
SqlName = Annotated[str, from_text(names.sql_name)]
Line = Annotated[str, from_text(_line)]
Sql = Annotated[str, from_text(_sql)]
Whole = Annotated[int, from_text(whole_number)]
Number = Annotated[Decimal, from_text(exact_number)]
Flag = Annotated[bool, from_text(_yes_or_no)]


class FieldError(ValueError):
    """What is wrong with one part below the value that is being checked."""

    def __init__(self, what: str, *path: str | int) -> None:
        self.path = path
        super().__init__(what)


@dataclass(frozen=True, slots=True)
class Placed:
    """A part of the tree, with the fields that its place in the file gives it."""

    tree: object
    fields: Mapping[str, object]


def placed_by_key(tree: object, field: str, **fields: object) -> object:
    """Give each part of a mapping its key as ``field``, and all of them ``fields``."""
    if not isinstance(tree, dict):
        return tree  # the model's own check says what is wrong with it
    return {key: Placed(part, {field: key, **fields}) for key, part in tree.items()}


class Document(BaseModel):
    """Base of all models: immutable, no key but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, value: object) -> object:
        fields: Mapping[str, object] = {}
        if isinstance(value, Placed):
            fields = value.fields
            value = value.tree
        if not isinstance(value, dict):
            if isinstance(value, cls):
                return value
            raise ValueError(f"expected keys with values, found {kind_of(value)}")
        known = [field.alias or key for key, field in cls.model_fields.items() if key not in fields]
        for key in value:
            if key not in known:
                raise FieldError(f"there is no key {quoted(key)}; {nearest(key, known)}", key)
        return {**value, **fields}


def kind_of(value: object) -> str:
    """What a part of a tree is, in an author's words."""
    match value:
        case dict():
            return "keys with values"
        case list():
            return "a list"
        case _:
            return "a single value"


def read_file(path: Path, where: str, refuse: type[PolicyError]) -> bytes:
    """The bytes of a file, at most one more than any document may have; raises ``refuse``."""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise refuse(where, f"cannot be read ({error.strerror})", "check the path") from None


def build(model: type[_Model], tree: Tree, refuse: type[PolicyError], **fields: object) -> _Model:
    """The model that a file's tree describes, with ``fields`` that the tree does not hold.

    Raises ``refuse`` with the file, the line, the path to the first field that is wrong, and why.
    """
    try:
        return model.model_validate(Placed(tree.root, fields))
    except ValidationError as error:
        path, what = _first(error)
        where = f"{tree.place(path)}: {_dotted(path)}" if path else tree.where
        text, _, remedy = what.partition("; ")
        raise refuse(where, text, remedy) from None


def _cause(error: ValueError) -> tuple[tuple[str | int, ...], str]:
    """What a validator raised: where below its value, and what."""
    match error:
        case FieldError():
            return error.path, str(error)
        case ValidationError():  # it chose among models
            return _first(error)
        case _:
            return (), str(error)


def _dotted(path: tuple[str | int, ...]) -> str:
    """``conditions.pensioner.where``; the parts of a list are counted from 1."""
    return ".".join(str(step + 1) if isinstance(step, int) else step for step in path)


def _first(error: ValidationError) -> tuple[tuple[str | int, ...], str]:
    """Path and message of the first thing wrong."""
    first = error.errors(include_url=False)[0]
    # pydantic marks a mapping's wrong key by an element after the key itself.
    path, context = tuple(step for step in first["loc"] if step != "[key]"), first.get("ctx", {})
    match first["type"]:
        case "missing":
            return path[:-1], f"the key {quoted(str(path[-1]))} is missing"
        case "value_error":
            inner, what = _cause(context["error"])
            return path + inner, what
        case "literal_error":
            allowed = re.findall(r"'([^']*)'", context["expected"])
            written = first["input"]
            if not isinstance(written, str):
                return path, f"expected one of {', '.join(allowed)}, found {kind_of(written)}"
            return path, f"{quoted(written)} is not possible here; {nearest(written, allowed)}"
        case kind if kind in _EXPECTED:
            return path, f"expected {_EXPECTED[kind]}, found {kind_of(first['input'])}"
        case "greater_than_equal":
            return path, f"expected {context['ge']} or more, found {first['input']}"
        case _:
            return path, first["msg"]
