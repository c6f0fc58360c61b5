"""YAML is read as it is written, and everything clever in it is refused with its line."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilmatch_policy import strict_yaml
from veilmatch_policy.errors import CatalogError


def read(text: str) -> object:
    return strict_yaml.parse(text.encode(), "a.yaml", CatalogError).root


@pytest.mark.parametrize(
    "scalar",
    [
        "0.1",
        "010100",
        "no",
        "yes",
        "null",
        "~",
        "2025-12-31",
        "1e3",
        "0x10",
        ".inf",
        "12:30:00",
        "1_000",
        "true",
    ],
)
def test_every_scalar_stays_text(scalar: str) -> None:
    assert read(f"key: {scalar}\nlist: [{scalar}]\n") == {"key": scalar, "list": [scalar]}


def test_keys_are_text_too() -> None:
    assert read("010100: a\nno: b\n") == {"010100": "a", "no": "b"}


def test_a_byte_order_mark_is_nothing() -> None:
    assert strict_yaml.parse(b"\xef\xbb\xbfa: b", "a.yaml", CatalogError).root == {"a": "b"}


def test_a_quoted_empty_value_is_a_value() -> None:
    assert read('a: ""') == {"a": ""}


def test_an_unquoted_less_than_merge_is_refused_and_a_quoted_one_is_a_key() -> None:
    assert read('"<<": b') == {"<<": "b"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.yaml: the file is empty"),
        ("\n# nothing\n", "a.yaml: the file is empty"),
        ("just words", "a.yaml:1: expected keys with values; write 'key: value' on lines of their own"),
        ("- a\n- b", "a.yaml:1: expected keys with values; write 'key: value' on lines of their own"),
        ("a: 1\nb: 2\na: 3", "a.yaml:3: the key 'a' stands twice, first in line 1; keep one"),
        ("x:\n  a: 1\n  a: 1", "a.yaml:3: the key 'a' stands twice, first in line 2; keep one"),
        ("l: [{a: 1, a: 1}]", "a.yaml:1: the key 'a' stands twice, first in line 1; keep one"),
        ("a:\nb: 1", "a.yaml:1: the key 'a' has no value; write one, or leave the key out"),
        ("a: &x 1", "a.yaml:1: the anchor &x; leave it out"),
        ("a: &x {b: 1}", "a.yaml:1: the anchor &x; leave it out"),
        ("a: 1\nb: *x", "a.yaml:2: the alias *x; write the value out"),
        ("*x : 1", "a.yaml:1: the alias *x; write the value out"),
        (
            "a: !!python/object/apply:os.system [ls]",
            "a.yaml:1: the tag tag:yaml.org,2002:python/object/apply:os.system",
        ),
        ("a: !!str 1", "a.yaml:1: the tag tag:yaml.org,2002:str; leave it out; every value is text here"),
        ("a: ! 1", "a.yaml:1: the tag !; leave it out; every value is text here"),
        ("<<: {a: 1}", "a.yaml:1: a merge key; write the keys out"),
        ("a: 1\n---\nb: 2", "a.yaml:2: a second document begins; write one document a file"),
        ("[a]: 1", "a.yaml:1: a key that is a list or has keys itself; write one word"),
        ("? {a: 1}\n: 1", "a.yaml:1: a key that is a list or has keys itself; write one word"),
        ("a: 1\n b: 2", "a.yaml:2: not YAML: mapping values are not allowed in this context"),
        ("a: [1, 2", "a.yaml:1: not YAML: did not find expected ',' or ']'"),
        ("a: \x00", "a.yaml: not YAML: a character that no YAML file may hold"),
        ("a: " + "[" * 30 + "]" * 30, "a.yaml:1: nested deeper than 20"),
    ],
)
def test_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(CatalogError) as refused:
        read(text)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_text_that_is_not_utf8() -> None:
    with pytest.raises(CatalogError, match=r"^a\.yaml:2: the text is not UTF-8; save the file as UTF-8$"):
        strict_yaml.parse("a: b\nc: 收入".encode("gb18030"), "a.yaml", CatalogError)


def test_a_file_that_is_too_large() -> None:
    with pytest.raises(CatalogError, match=r"^a\.yaml: the file is larger than 262144 bytes$"):
        strict_yaml.parse(b"#" * (strict_yaml.LARGEST_FILE + 1), "a.yaml", CatalogError)


def test_the_place_of_a_part_and_of_what_is_missing_in_it() -> None:
    tree = strict_yaml.parse(b"a:\n  b:\n    - c: 1\n      d: 2\n", "a.yaml", CatalogError)
    assert tree.place(("a", "b", 0, "d")) == "a.yaml:4"
    assert tree.place(("a", "b", 0, "e")) == "a.yaml:3"
    assert tree.place(()) == "a.yaml"


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"?,# \n<%~\t0.é税\u2028\x85"), max_size=60))
def test_nothing_but_a_refusal_is_raised(text: str) -> None:
    with contextlib.suppress(CatalogError):
        read(text)
