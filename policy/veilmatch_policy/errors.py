"""What can be wrong with a policy, a catalog, a directory or a manifest: one line each.

Every message reads ``WHERE: WHAT; REMEDY``.  Messages quote what an author wrote into a document,
never a cell or an identifier.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST_QUOTE = 60
_LONGEST_LIST = 12
_LONGEST_PART = 800  # characters of what one line says: some parts list what an author wrote


class PolicyError(Exception):
    """Base of everything that this package raises on purpose; ``str()`` is one line."""

    exit_code = 3  # of a command that ends with it (docs/exit-codes.md)

    def __init__(self, where: str, what: str, remedy: str = "") -> None:
        """Take the document and the place in it, what is wrong there, and what to do about it."""
        self.where = _one_line(where)
        self.what = _one_line(what)
        self.remedy = _one_line(remedy)
        super().__init__(f"{self.where}: {self.what}" + (f"; {self.remedy}" if self.remedy else ""))


class CatalogError(PolicyError):
    """A catalog is not what policies.md says a catalog is."""


class PolicyRefusedError(PolicyError):
    """A policy is malformed, or asks for what a catalog does not give."""


class UnknownColumnError(PolicyRefusedError):
    """An expression names a column that its department's catalog does not have."""

    def __init__(self, where: str, what: str, remedy: str = "", *, column: str) -> None:
        """Keep the column's name: the caller knows the other catalogs and whose column it is."""
        super().__init__(where, what, remedy)
        self.column = column


class DirectoryError(PolicyError):
    """The federation's directory is malformed, unsigned, or older than one already seen."""


class ManifestError(PolicyError):
    """A draft or manifest is malformed or differs from what this party derived itself."""


class ApprovalError(PolicyError):
    """A decision of a data officer is malformed, unsigned, or does not allow what is asked."""

    exit_code = 5


def quoted(text: str) -> str:
    """What an author wrote, in quotation marks, cut to a readable length."""
    return f"'{text}'" if len(text) <= _LONGEST_QUOTE else f"'{text[:_LONGEST_QUOTE]}...'"


def nearest(word: str, known: Iterable[str]) -> str:
    """The remedy for an unknown word: the nearest known one, else what there is, else nothing."""
    choices = sorted(known)
    by_folded = {choice.casefold(): choice for choice in choices}
    match difflib.get_close_matches(word.casefold(), by_folded, n=1):
        case [folded]:
            return f"did you mean {quoted(by_folded[folded])}?"
    if not choices:
        return ""
    more = ", ..." if len(choices) > _LONGEST_LIST else ""
    return f"there is {', '.join(choices[:_LONGEST_LIST])}{more}"


def _one_line(text: str) -> str:
    """Without line breaks and control characters, and not endless: an author's text must not steer a terminal."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST_PART else f"{line[:_LONGEST_PART]}..."
