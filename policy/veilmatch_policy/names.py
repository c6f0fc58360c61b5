"""Which names a policy, a condition, a department or a column may have."""

from __future__ import annotations

import re
import unicodedata

from veilmatch_policy.errors import quoted

LONGEST_NAME = 64  # characters; names become file names
FORMULA_WORDS = frozenset({"and", "or", "not", "at_least"})

# Words of the SQL subset, and the columns that every table of people has (see evaluate.py).
_SQL_WORDS = FORMULA_WORDS | frozenset(
    {"between", "case", "else", "end", "exists", "false", "from", "in", "is", "like", "null", "select"}
    | {"then", "true", "when", "where"}
)
_OWN_COLUMNS = frozenset({"person", "unreadable"})
_IDENTIFIER = re.compile(r"[^\W\d]\w*")


def is_name_character(character: str) -> bool:
    """Whether a name may contain this: a letter of any script with its marks, a digit, ``-``, ``_``."""
    return character in "-_" or unicodedata.category(character)[0] in "LM" or character.isdecimal()


def name(text: str) -> str:
    """Return ``text`` if it can name a policy, a condition, a department or a table.

    Raises ValueError, saying why, for anything but letters of any script, digits, ``-`` and ``_``
    with at least one letter, and for the formula's words.
    """
    if not all(map(is_name_character, text)) or not any(map(str.isalpha, text)) or text.startswith("-"):
        raise ValueError(f"{quoted(text)} is not a name; use letters, digits, - and _, at least one letter")
    if len(text) > LONGEST_NAME:
        raise ValueError(f"the name {quoted(text)} is longer than {LONGEST_NAME} characters")
    # Two spellings that look the same must be the same name.
    if unicodedata.normalize("NFC", text) != text:
        raise ValueError(f"the name {quoted(text)} is not in Unicode normal form C; type it anew")
    if text.lower() in FORMULA_WORDS:
        raise ValueError(f"{quoted(text)} is a word of the formula; choose another name")
    return text


def sql_name(text: str) -> str:
    """Return ``text`` if SQL can name a column or a parameter by it without quotation marks.

    Raises ValueError, saying why, otherwise.
    """
    if not _IDENTIFIER.fullmatch(text) or len(text) > LONGEST_NAME:
        raise ValueError(
            f"{quoted(text)} cannot be written in SQL; use letters, digits and _, with a letter in front"
        )
    if unicodedata.normalize("NFC", text) != text:
        raise ValueError(f"the name {quoted(text)} is not in Unicode normal form C; type it anew")
    if text.lower() in _SQL_WORDS | _OWN_COLUMNS:
        raise ValueError(f"{quoted(text)} is a word of its own in conditions; choose another name")
    return text
