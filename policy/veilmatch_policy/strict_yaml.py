"""YAML without surprises: every scalar is a string, every key stands once, nothing is expanded.

A stock loader turns 0.1 into a float, 010100 into 4160 and ``no`` into false; aliases can make a
kilobyte into gigabytes.  Here a document is mappings, lists and strings, as they were written.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import yaml

from veilmatch_policy.errors import PolicyError, quoted

LARGEST_FILE = 1 << 18  # bytes; a catalog of a thousand columns
MOST_PARTS = 20_000  # keys, values and items: as many columns; below a second, whatever they are
DEEPEST_NESTING = 20  # the formats need seven

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """A parsed file: its root mapping (dict, list and str throughout) and where its parts stand."""

    where: str
    root: dict[str, object]
    lines: Mapping[Path, int]

    def place(self, path: Sequence[str | int]) -> str:
        """``FILE:LINE`` (from 1) of the part at ``path``, or of the nearest part around it."""
        steps = tuple(path)
        while steps not in self.lines:
            steps = steps[:-1]
        return f"{self.where}:{self.lines[steps]}" if steps else self.where


# Line ends that only some programs show, marks without width, and marks that turn the direction of writing.
_HIDDEN = re.compile("[\u0085\u2028\u2029\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]|\r(?!\n)")


def parse(data: bytes, where: str, refuse: type[PolicyError]) -> Tree:
    """Read one YAML document whose root is a mapping.

    Raises ``refuse``, naming file and line, for: more than 256 KiB, text that is not UTF-8 or not
    YAML, an empty file, several documents, duplicate keys, keys without a value, anchors, aliases,
    tags, merge keys, nesting deeper than 20, more than 20,000 parts.
    """
    if len(data) > LARGEST_FILE:
        raise refuse(where, f"the file is larger than {LARGEST_FILE} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise refuse(f"{where}:{line}", "the text is not UTF-8", "save the file as UTF-8") from None
    hidden = _HIDDEN.search(text)
    if hidden is not None:
        line = text[: hidden.start()].count("\n") + 1
        raise refuse(
            f"{where}:{line}",
            f"holds the invisible character U+{ord(hidden[0]):04X}, which would show another text than is read",
            "take it out",
        )
    try:
        return _Builder(text, where, refuse).tree()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # Behind the last line there is nothing to look at.
        place = f"{where}:{min(mark.line, text.rstrip().count(chr(10))) + 1}" if mark else where
        raise refuse(place, f"not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError:
        raise refuse(where, "not YAML: a character that no YAML file may hold") from None


class _Builder:
    """Builds the tree from PyYAML's events, below any resolving of types."""

    def __init__(self, text: str, where: str, refuse: type[PolicyError]) -> None:
        # libyaml: PyYAML's own scanner takes seconds for a quarter of a MiB.
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.CSafeLoader)
        self._where = where
        self._refuse = refuse
        self._lines: dict[Path, int] = {(): 1}
        self._parts = 0

    def tree(self) -> Tree:
        next(self._events)  # the stream's start
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise self._refuse(self._where, "the file is empty", "write it, or name another file")
        first = next(self._events)
        if not isinstance(first, yaml.MappingStartEvent):
            raise self._error(first, "expected keys with values", "write 'key: value' on lines of their own")
        root = self._mapping(first, ())
        next(self._events)  # the document's end
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._error(after, "a second document begins", "write one document a file")
        return Tree(self._where, root, self._lines)

    def _value(self, event: yaml.Event, path: Path) -> object:
        if len(path) > DEEPEST_NESTING:
            raise self._error(event, f"nested deeper than {DEEPEST_NESTING}")
        match event:
            case yaml.MappingStartEvent():
                return self._mapping(event, path)
            case yaml.SequenceStartEvent():
                return self._list(event, path)
            case _:
                return self._scalar(event)

    def _mapping(self, start: yaml.Event, path: Path) -> dict[str, object]:
        self._refuse_extras(start)
        mapping: dict[str, object] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event)
            if key in mapping:
                first = self._lines[*path, key]
                raise self._error(
                    event, f"the key {quoted(key)} stands twice, first in line {first}", "keep one"
                )
            self._lines[*path, key] = _line(event)
            value = next(self._events)
            if isinstance(value, yaml.ScalarEvent) and value.value == "" and not value.style:
                raise self._error(
                    event, f"the key {quoted(key)} has no value", "write one, or leave the key out"
                )
            mapping[key] = self._value(value, (*path, key))
        return mapping

    def _list(self, start: yaml.Event, path: Path) -> list[object]:
        self._refuse_extras(start)
        items: list[object] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            place = (*path, len(items))
            self._lines[place] = _line(event)
            items.append(self._value(event, place))
        return items

    def _key(self, event: yaml.Event) -> str:
        key = self._scalar(event)
        if key == "<<" and isinstance(event, yaml.ScalarEvent) and not event.style:
            raise self._error(event, "a merge key", "write the keys out")
        return key

    def _scalar(self, event: yaml.Event) -> str:
        self._refuse_extras(event)
        if not isinstance(event, yaml.ScalarEvent):
            raise self._error(event, "a key that is a list or has keys itself", "write one word")
        return str(event.value)

    def _refuse_extras(self, event: yaml.Event) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise self._error(event, f"more than {MOST_PARTS} keys and values", "split the file")
        if isinstance(event, yaml.AliasEvent):
            raise self._error(event, f"the alias *{event.anchor}", "write the value out")
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            if event.anchor is not None:
                raise self._error(event, f"the anchor &{event.anchor}", "leave it out")
            if event.tag is not None:
                raise self._error(event, f"the tag {event.tag}", "leave it out; every value is text here")

    def _error(self, event: yaml.Event, what: str, remedy: str = "") -> PolicyError:
        return self._refuse(f"{self._where}:{_line(event)}", what, remedy)


def _line(event: yaml.Event) -> int:
    """The line on which an event starts, from 1."""
    if event.start_mark is None:  # only events that a program makes have none
        raise TypeError("an event without a mark")
    return event.start_mark.line + 1
