"""From the text of a policy's SQL to a syntax tree: the first of two gates.

sqlglot reads far more than the subset, and folds much of it into the nodes that the subset has
(``ifnull(a, 1)`` into coalesce, ``'x'::date`` into a date literal, ``1_000`` into 1000, comments into
nothing).  So the tokens, as they are spelled, are held against an allow-list before anything is
parsed.  The second gate, on the tree, is the table at the end of sql_binder.py.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from sqlglot import Dialect, Token, TokenType
from sqlglot.errors import ParseError, SqlglotError

from veilmatch_policy.errors import PolicyRefusedError, quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlglot import exp

LONGEST_TEXT = 10_000  # characters: several screens, more than a person reviews
DEEPEST_TREE = 50  # levels; sqlglot and the binder recurse, some ten Python frames a level

FUNCTIONS = ("round", "coalesce", "years", "days", "count", "sum", "min", "max")

_KEYWORDS = frozenset(
    {"AND", "OR", "NOT", "IN", "BETWEEN", "IS", "NULL", "LIKE", "CASE", "WHEN", "THEN", "ELSE", "END"}
    | {"TRUE", "FALSE"}
)
_SYMBOLS = frozenset({"=", "<>", "!=", "<", "<=", ">", ">=", "+", "-", "*", "(", ")", ",", ":"})
_CLOSING = frozenset({")", "END", "TRUE", "FALSE", "NULL"})
_SPELLED_FREELY = frozenset({TokenType.VAR, TokenType.IDENTIFIER, TokenType.NUMBER, TokenType.STRING})
_SUBSET = (
    "allowed are columns, numbers, 'text', DATE '2025-12-31', true, false, :parameter, = <> < <= > >=, + - "
    "*, AND OR NOT, IN, BETWEEN, IS NULL, LIKE, CASE WHEN and the functions " + ", ".join(FUNCTIONS)
)
_NO_CASTS = "there are no casts; the catalog gives every column its type"
_NO_SUBQUERIES = "there are no subqueries; aggregate with count, sum, min or max"
_NO_DIVISION = "there is no division; multiply the other side of the comparison"
_INSTEAD = {
    ";": "write one expression",
    "/": _NO_DIVISION,
    "//": _NO_DIVISION,
    "::": _NO_CASTS,
    "CAST": _NO_CASTS,
    ".": "column names are unique in a department, write the column alone; write numbers as 0.5",
    "==": "write =",
    "!": "write NOT",
    "SELECT": _NO_SUBQUERIES,
    "EXISTS": _NO_SUBQUERIES,
    "DATE": "write DATE '2025-12-31'",
    "DISTINCT": "aggregates range over all rows of a person",
}

_WORD = re.compile(r"[^\W\d]\w*")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")

_DUCKDB = Dialect.get_or_raise("duckdb")


def parse(text: str, *, names: Collection[str], where: str) -> exp.Expr:
    """Parse one expression.

    ``names`` are the columns: one of them stands for its column also where SQL has a keyword of that
    spelling.  ``where`` is the expression's place, for messages.  The tree is at most DEEPEST_TREE
    levels deep.  Raises PolicyRefusedError for what is not on the list of spellings.
    """
    if len(text) > LONGEST_TEXT:
        raise PolicyRefusedError(
            where, f"{len(text)} characters are too long", f"an expression has at most {LONGEST_TEXT}"
        )
    for character in text:
        # Control, format and surrogate characters reorder or hide what a reviewer reads.
        if unicodedata.category(character)[0] == "C" and character not in "\t\r\n":
            raise PolicyRefusedError(where, f"the invisible character U+{ord(character):04X}", "take it out")
    try:
        tokens = _DUCKDB.tokenize(text)
    except SqlglotError:
        raise PolicyRefusedError(where, "a quotation mark or comment is not closed", "close it") from None
    if not tokens:
        raise PolicyRefusedError(where, "there is no expression here", "write one, such as age >= 65")
    tree = _parse(_admit(text, tokens, names, where), text, where)
    if _depth(tree) > DEEPEST_TREE:
        raise _too_deep(where)
    return tree


def _admit(text: str, tokens: Sequence[Token], names: Collection[str], where: str) -> list[Token]:
    """Hold every token against the allow-list; make the columns' names plain identifiers."""
    _refuse_between(text, tokens, where)
    spelled = [text[token.start : token.end + 1] for token in tokens]
    admitted = []
    for index, (token, source) in enumerate(zip(tokens, spelled, strict=True)):
        before = spelled[index - 1].upper() if index else ""
        after = spelled[index + 1] if index + 1 < len(spelled) else ""
        word = _WORD.fullmatch(source) is not None
        if source == ":":
            # sqlglot takes "(:" for DuckDB's prefix alias; "$" names a parameter too, and nothing else.
            admitted.append(Token(TokenType.PARAMETER, "$"))
        elif word and before == ":":
            admitted.append(Token(TokenType.VAR, source))
        elif word and after == "(" and source.upper() not in _KEYWORDS:
            _check_function(source, where)
            admitted.append(token)
        elif word and source in names and not (source.upper() == "DATE" and after.startswith("'")):
            admitted.append(Token(TokenType.IDENTIFIER, source))
        else:
            _check_spelling(token, source, before, after, where)
            admitted.append(token)
    return admitted


def _refuse_between(text: str, tokens: Sequence[Token], where: str) -> None:
    """Refuse whatever the tokenizer passed over, comments and unusual blanks."""
    ends = [0, *(token.end + 1 for token in tokens)]
    starts = [*(token.start for token in tokens), len(text)]
    for end, start in zip(ends, starts, strict=True):
        gap = text[end:start].strip(" \t\r\n")
        if gap.startswith(("--", "/*")):
            raise PolicyRefusedError(
                where, "a comment inside an expression", "put it into the YAML, behind #"
            )
        if gap:
            raise PolicyRefusedError(
                where, f"the character U+{ord(gap[0]):04X}", "separate words by plain blanks"
            )


def _check_function(name: str, where: str) -> None:
    if name.lower() not in FUNCTIONS:
        remedy = _INSTEAD.get(name.upper(), f"the functions are {', '.join(FUNCTIONS)}")
        raise PolicyRefusedError(where, f"the function {quoted(name)} is not allowed", remedy)


def _check_spelling(token: Token, source: str, before: str, after: str, where: str) -> None:
    upper = source.upper()
    match token.token_type:
        case TokenType.NUMBER if not _NUMBER.fullmatch(source):
            raise PolicyRefusedError(
                where, f"the number {quoted(source)}", "write plain digits, such as 7200.50, without exponent"
            )
        case TokenType.IDENTIFIER if after == "(":
            raise PolicyRefusedError(where, f"a quoted name called as a function, {quoted(source)}", _SUBSET)
        case TokenType.PLUS if not before or before in (_SYMBOLS | _KEYWORDS) - _CLOSING:
            raise PolicyRefusedError(where, "a plus sign in front of a number", "leave it out")
        case TokenType.DATE if after.startswith("'"):
            return
    if token.token_type not in _SPELLED_FREELY and upper not in _KEYWORDS | _SYMBOLS:
        raise PolicyRefusedError(where, f"{quoted(source)} is not allowed", _INSTEAD.get(upper, _SUBSET))


def _parse(tokens: list[Token], text: str, where: str) -> exp.Expr:
    try:
        trees = _DUCKDB.parser().parse(tokens, text)
    except RecursionError:
        raise _too_deep(where) from None
    except ParseError as error:
        near = str(error.errors[0].get("highlight") or "") if error.errors else ""
        raise PolicyRefusedError(
            where,
            f"this is not an expression near {quoted(near)}" if near else "this is not an expression",
            _SUBSET,
        ) from None
    except SqlglotError:
        raise PolicyRefusedError(where, "this is not an expression", _SUBSET) from None
    match trees:
        case [tree] if tree is not None:
            return tree
    raise PolicyRefusedError(where, "this is not one expression", "write one expression")


def _depth(tree: exp.Expr) -> int:
    """Levels of the tree, without recursion."""
    levels, level = 0, [tree]
    while level:
        levels += 1
        level = [child for node in level for child in node.iter_expressions()]
    return levels


def _too_deep(where: str) -> PolicyRefusedError:
    return PolicyRefusedError(
        where,
        f"nested more than {DEEPEST_TREE} deep (a chain of as many ANDs counts too)",
        "split it into several conditions, or write IN (...)",
    )
