"""The formula over conditions."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilmatch_policy.formula import (
    And,
    AtLeast,
    Formula,
    Name,
    Not,
    Or,
    all_of,
    conjunction,
    conjuncts,
    names_in,
    parse,
    under_not,
)

KNOWN = ("a", "b", "c", "nobody-claims", "低收入", "2b", "android")


def operators(inner: st.SearchStrategy[Formula]) -> st.SearchStrategy[Formula]:
    several = st.lists(inner, min_size=2, max_size=4).map(tuple)
    return st.one_of(
        inner.map(Not),
        several.map(And),
        several.map(Or),
        several.flatmap(lambda parts: st.integers(1, len(parts)).map(lambda count: AtLeast(count, parts))),
    )


FORMULAS = st.recursive(st.sampled_from(KNOWN).map(Name), operators, max_leaves=12)


@given(FORMULAS)
def test_what_is_printed_reads_back(formula: Formula) -> None:
    assert parse(str(formula), KNOWN) == formula


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("a", Name("a")),
        ("nobody-claims", Name("nobody-claims")),
        ("a AND b OR c", Or((And((Name("a"), Name("b"))), Name("c")))),
        ("a or b and c", Or((Name("a"), And((Name("b"), Name("c")))))),
        ("NOT a And b", And((Not(Name("a")), Name("b")))),
        ("not (a and b)", Not(And((Name("a"), Name("b"))))),
        ("AT_LEAST ( 2 , a,b, NOT c)", AtLeast(2, (Name("a"), Name("b"), Not(Name("c"))))),
        ("低收入 AND 2b\n AND android", And((Name("低收入"), Name("2b"), Name("android")))),
    ],
)
def test_reading(text: str, formula: Formula) -> None:
    assert parse(text, KNOWN) == formula


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a condition, found the end"),
        ("a AND", "expected a condition, found the end"),
        ("a b", "expected AND, OR or the end, found 'b' at character 3"),
        ("a AND OR b", "expected a condition, found 'OR' at character 7"),
        ("(a AND b", "expected ')', found the end"),
        ("a)", "expected AND, OR or the end, found ')' at character 2"),
        ("a & b", "'&' at character 3 has no place in a formula"),
        (
            "a AND nobody_claims",
            "there is no condition 'nobody_claims' at character 7; did you mean 'nobody-claims'?",
        ),
        ("A", "there is no condition 'A' at character 1; did you mean 'a'?"),
        ("at_least(a, b)", "expected how many must hold, as in at_least(2, a, b), found 'a' at character 10"),
        ("at_least(0, a, b)", "at_least at character 1 asks for 0 of 2"),
        ("a OR at_least(3, a, b)", "at_least at character 6 asks for 3 of 2"),
        ("at_least(1)", "expected ',', found ')' at character 11"),
        ("at_least", "expected '(', found the end"),
        ("a" * 4097, "the formula is longer than 4096 characters"),
        ("(" * 40 + "a" + ")" * 40, "the formula nests deeper than 32 at character 33"),
        ("not " * 40 + "a", "the formula nests deeper than 32 at character 129"),
    ],
)
def test_refused_with_the_position(text: str, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse(text, KNOWN)
    assert str(refused.value) == message


@given(st.text(alphabet=st.sampled_from("ab2(), ANDORTnotat_least-&\n低"), max_size=40))
def test_nothing_but_a_value_error_is_raised(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse(text, KNOWN)


def test_a_conjunction_is_an_and_of_names_however_nested() -> None:
    assert conjunction(parse("(a AND b) AND (c AND a)", KNOWN)) == ("a", "b", "c")
    assert conjunction(parse("a", KNOWN)) == ("a",)


@pytest.mark.parametrize(
    "text", ["NOT a", "a OR b", "a AND (b OR c)", "at_least(2, a, b)", "a AND NOT NOT b"]
)
def test_everything_else_is_none(text: str) -> None:
    assert conjunction(parse(text, KNOWN)) is None


def test_conjuncts_are_what_an_and_joins_however_nested() -> None:
    a, b, c = map(Name, "abc")
    assert conjuncts(parse("(a AND (b OR c)) AND (NOT c AND b)", KNOWN)) == (a, Or((b, c)), Not(c), b)
    assert conjuncts(parse("a OR b AND c", KNOWN)) == (Or((a, And((b, c)))),)


def test_names_and_the_default() -> None:
    assert list(names_in(parse("a AND NOT at_least(1, b, a OR c)", KNOWN))) == ["a", "b", "a", "c"]
    assert all_of(["a"]) == Name("a")
    assert all_of(["a", "b"]) == And((Name("a"), Name("b")))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a AND b OR c", set()),
        ("a AND NOT b", {"b"}),
        ("NOT (a OR b AND NOT c)", {"a", "b", "c"}),
        ("a OR at_least(1, b, c AND 2b)", {"b", "c", "2b"}),
        ("a AND (b OR NOT a)", {"a"}),
    ],
)
def test_what_stands_under_not_or_at_least(text: str, names: set[str]) -> None:
    assert under_not(parse(text, KNOWN)) == names
