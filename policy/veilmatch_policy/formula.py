"""The formula over conditions: ``pensioner AND NOT (student OR at_least(2, a, b, c))``.

    formula  = conjunct *("OR" conjunct)
    conjunct = operand *("AND" operand)
    operand  = "NOT" operand / "(" formula ")" / name / "at_least" "(" count 1*("," formula) ")"

Keywords are written in any case.  A name may hold ``-`` and digits (``nobody-claims``), so SQL's
lexer would not do.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilmatch_policy.errors import nearest, quoted
from veilmatch_policy.names import FORMULA_WORDS, is_name_character

LONGEST_FORMULA = 4096  # characters
DEEPEST_FORMULA = 32  # nested parentheses, NOT and at_least


@dataclass(frozen=True, slots=True)
class Name:
    """True where the condition of this name is."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Not:
    """True where the operand is not."""

    operand: "Formula"

    def __str__(self) -> str:
        return f"NOT {_operand(self.operand)}"


@dataclass(frozen=True, slots=True)
class And:
    """True where all operands (two or more) are."""

    operands: "tuple[Formula, ...]"

    def __str__(self) -> str:
        return " AND ".join(map(_operand, self.operands))


@dataclass(frozen=True, slots=True)
class Or:
    """True where any operand (of two or more) is."""

    operands: "tuple[Formula, ...]"

    def __str__(self) -> str:
        return " OR ".join(map(_operand, self.operands))


@dataclass(frozen=True, slots=True)
class AtLeast:
    """True where ``count`` or more of the operands are; 1 <= count <= number of operands."""

    count: int
    operands: "tuple[Formula, ...]"

    def __str__(self) -> str:
        return f"at_least({', '.join([str(self.count), *map(str, self.operands)])})"


Formula = Name | Not | And | Or | AtLeast


def parse(text: str, known: Collection[str]) -> Formula:
    """The formula that ``text`` writes over the ``known`` condition names.

    Raises ValueError with the position (characters, from 1) of the first thing that is wrong.
    """
    if len(text) > LONGEST_FORMULA:
        raise ValueError(f"the formula is longer than {LONGEST_FORMULA} characters")
    return _Parser(text, known).formula_to_the_end()


def all_of(conditions: Iterable[str]) -> Formula:
    """The formula of a policy that writes none: every condition (one or more) holds."""
    names = tuple(map(Name, conditions))
    return names[0] if len(names) == 1 else And(names)


def names_in(formula: Formula) -> Iterator[str]:
    """The condition names of a formula, from left to right, repeats included."""
    match formula:
        case Name(name):
            yield name
        case Not(operand):
            yield from names_in(operand)
        case And(operands) | Or(operands) | AtLeast(_, operands):
            for operand in operands:
                yield from names_in(operand)


def under_not(formula: Formula) -> frozenset[str]:
    """The condition names that stand under a NOT or an at_least somewhere.

    There a condition that fails for want of a value may let somebody pass, or count as an answer.
    """
    match formula:
        case Name():
            return frozenset()
        case And(operands) | Or(operands):
            return frozenset().union(*map(under_not, operands))
        case Not() | AtLeast():
            return frozenset(names_in(formula))


def decide(formula: Formula, leaf: Callable[[str], NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """What the formula says of many at once; ``leaf`` gives the truth values of each name, all of one shape."""
    match formula:
        case Name(name):
            return leaf(name)
        case Not(operand):
            return ~decide(operand, leaf)
        case And(operands):
            return np.asarray(np.logical_and.reduce([decide(operand, leaf) for operand in operands]))
        case Or(operands):
            return np.asarray(np.logical_or.reduce([decide(operand, leaf) for operand in operands]))
        case AtLeast(count, operands):
            held = np.sum([decide(operand, leaf) for operand in operands], axis=0)
            return np.asarray(held >= count)


def conjuncts(formula: Formula) -> tuple[Formula, ...]:
    """The formulas whose AND a formula is: the operands of an AND, ANDs within it taken apart; else itself."""
    if isinstance(formula, And):
        return tuple(part for operand in formula.operands for part in conjuncts(operand))
    return (formula,)


def conjunction(formula: Formula) -> tuple[str, ...] | None:
    """The condition names, each once, if the formula is nothing but their AND; else None."""
    match formula:
        case Name(name):
            return (name,)
        case And(operands):
            parts = [conjunction(operand) for operand in operands]
            names = [name for part in parts if part is not None for name in part]
            return None if None in parts else tuple(dict.fromkeys(names))
        case _:
            return None


def _operand(formula: Formula) -> str:
    """In print, with parentheses where AND, OR or NOT would take only a part of it."""
    return f"({formula})" if isinstance(formula, And | Or) else str(formula)


@dataclass(frozen=True, slots=True)
class _Token:
    text: str  # keywords in capitals, "" at the end
    position: int  # of its first character, from 1

    def __str__(self) -> str:
        return f"{quoted(self.text)} at character {self.position}" if self.text else "the end"


class _Parser:
    """Recursive descent with one token of lookahead."""

    def __init__(self, text: str, known: Collection[str]) -> None:
        self._known = known
        self._tokens = _tokens(text)
        self._next = next(self._tokens)
        self._depth = 0

    def formula_to_the_end(self) -> Formula:
        formula = self._formula()
        if self._next.text:
            raise ValueError(f"expected AND, OR or the end, found {self._next}")
        return formula

    def _formula(self) -> Formula:
        operands = [self._conjunct()]
        while self._take("OR"):
            operands.append(self._conjunct())
        return operands[0] if len(operands) == 1 else Or(tuple(operands))

    def _conjunct(self) -> Formula:
        operands = [self._operand()]
        while self._take("AND"):
            operands.append(self._operand())
        return operands[0] if len(operands) == 1 else And(tuple(operands))

    def _operand(self) -> Formula:
        self._depth += 1
        if self._depth > DEEPEST_FORMULA:
            raise ValueError(
                f"the formula nests deeper than {DEEPEST_FORMULA} at character {self._next.position}"
            )
        operand = self._nested_operand()
        self._depth -= 1
        return operand

    def _nested_operand(self) -> Formula:
        if self._take("NOT"):
            return Not(self._operand())
        if self._take("("):
            formula = self._formula()
            self._expect(")")
            return formula
        if self._next.text == "AT_LEAST":
            return self._at_least()
        return self._name()

    def _at_least(self) -> Formula:
        keyword = self._advance()
        self._expect("(")
        count = self._advance()
        if not (count.text.isascii() and count.text.isdigit()):
            raise ValueError(f"expected how many must hold, as in at_least(2, a, b), found {count}")
        operands: list[Formula] = []
        while not operands or self._next.text != ")":
            self._expect(",")
            operands.append(self._formula())
        self._expect(")")
        if not 1 <= int(count.text) <= len(operands):
            raise ValueError(
                f"at_least at character {keyword.position} asks for {count.text} of {len(operands)}"
            )
        return AtLeast(int(count.text), tuple(operands))

    def _name(self) -> Formula:
        token = self._advance()
        if not token.text or token.text in "()," or token.text.lower() in FORMULA_WORDS:
            raise ValueError(f"expected a condition, found {token}")
        if token.text not in self._known:
            raise ValueError(f"there is no condition {token}; {nearest(token.text, self._known)}")
        return Name(token.text)

    def _take(self, text: str) -> bool:
        if self._next.text != text:
            return False
        self._advance()
        return True

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise ValueError(f"expected {quoted(text)}, found {self._next}")

    def _advance(self) -> _Token:
        token = self._next
        if token.text:
            self._next = next(self._tokens)
        return token


def _tokens(text: str) -> Iterator[_Token]:
    start = 0
    while start < len(text):
        end = start + 1
        if is_name_character(text[start]):
            while end < len(text) and is_name_character(text[end]):
                end += 1
            word = text[start:end]
            yield _Token(word.upper() if word.lower() in FORMULA_WORDS else word, start + 1)
        elif text[start] in "(),":
            yield _Token(text[start], start + 1)
        elif not text[start].isspace():
            raise ValueError(f"{quoted(text[start])} at character {start + 1} has no place in a formula")
        start = end
    yield _Token("", len(text) + 1)
