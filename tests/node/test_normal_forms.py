"""Normal forms of identifiers: GB 11643-1999 and the two open schemes."""

import calendar
import json
import unicodedata
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from veilmatch_node.identifiers import linkage_inputs, normalise
from veilmatch_policy.catalog import Identifier

RESIDENT = Identifier(scheme="cn-resident-id")
VECTORS = Path(__file__).parents[3] / "shared" / "data" / "vectors" / "gb11643.json"

# GB 11643-1999, the two worked examples of the standard.
BEIJING, SHANTOU = "11010519491231002X", "440524188001010014"


def forms(*cells, identifier=RESIDENT):
    found = normalise(pa.array(cells, pa.string()), identifier)
    return found.forms.to_pylist(), found.reasons.to_pylist()


def check_digit(first17):
    """ISO 7064 MOD 11-2 by its definition: the whole number leaves 1 modulo 11 (X counts 10)."""
    total = 0
    for digit in first17:
        total = (total + int(digit)) * 2 % 11
    return "0123456789X"[(12 - total) % 11]


@pytest.mark.parametrize("number", [BEIJING, SHANTOU])
def test_the_standards_examples_are_accepted(number):
    assert forms(number) == ([number], [None])


@pytest.mark.parametrize(
    "spelling",
    [
        "11010519491231002x",
        "１１０１０５１９４９１２３１００２Ｘ",
        "110105491231002",
        "１１０１０５４９１２３１００２",
        " 110105 19491231\u3000002X\t",
        "\u00a0110105491231002\u2003\n",
    ],
)
def test_spellings_of_one_number_have_one_normal_form(spelling):
    assert forms(spelling) == ([BEIJING], [None])


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "empty"),
        ("", "empty"),
        (" \u3000\t", "empty"),
        ("1101051949123100", "length"),
        ("11010519491231002XX", "length"),
        ("T10105194912310021", "characters"),
        ("1101051949123100X2", "characters"),
        ("11010549123100X", "characters"),
        ("١١٠١٠٥٤٩١٢٣١٠٠٢", "characters"),  # digits, but not the standard's
        ("110105\u200b49123102", "characters"),  # a zero-width space is not a blank
        ("110105194913310022", "date"),
        ("110105190002290022", "date"),  # 1900 was no leap year
        ("110105000001010022", "date"),
        ("110105490229002", "date"),
        ("110105194912310021", "check digit"),
    ],
)
def test_refused_with_a_reason(cell, reason):
    assert forms(cell) == ([None], [reason])


def test_no_list_of_counties():
    number = "33990119700101001"
    assert forms(number + check_digit(number)) == ([number + check_digit(number)], [None])


@pytest.mark.skipif(not VECTORS.exists(), reason="the shared vector files are not beside the repository")
def test_vectors_of_python_stdnum():
    vectors = json.loads(VECTORS.read_text())
    for case in vectors["valid"]:
        assert forms(case["number"]) == ([case["number"]], [None])
    for case in vectors["invalid"]:
        [form], _ = forms(case["number"])
        assert (form is not None) == case["why"].startswith("division"), case
    for case in vectors["old_15_digit"]:
        assert forms(case["old"]) == ([case["new"]], [None])
    spellings, normal = vectors["equal_after_normalising"]
    assert forms(*spellings)[0] == [normal] * len(spellings)


@given(
    area=st.integers(0, 999999),
    year=st.integers(0, 9999),
    month=st.integers(0, 13),
    day=st.integers(0, 32),
    order=st.integers(0, 999),
    last=st.sampled_from("0123456789X"),
)
@example(area=110105, year=2000, month=2, day=29, order=2, last="0")
def test_agrees_with_the_definition(area, year, month, day, order, last):
    first17 = f"{area:06d}{year:04d}{month:02d}{day:02d}{order:03d}"
    real = year >= 1 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]
    if real:
        date(year, month, day)
    expected = None if real else "date"
    if real and last != check_digit(first17):
        expected = "check digit"
    [form], [reason] = forms(first17 + last)
    assert reason == expected
    assert form == (first17 + last if reason is None else None)


@given(
    st.lists(
        st.one_of(st.none(), st.text(), st.text("0123456789xX１ ", min_size=15, max_size=18)), max_size=8
    )
)
def test_a_normal_form_is_its_own_normal_form(cells):
    found, reasons = forms(*cells)
    for cell, form, reason in zip(cells, found, reasons, strict=True):
        assert (form is None) != (reason is None)
        if form is not None:
            assert forms(form) == ([form], [None])
            assert cell is not None


def test_opaque_is_left_as_it_is():
    opaque = Identifier(scheme="opaque")
    assert forms(" ａ", "", None, identifier=opaque) == ([" ａ", None, None], [None, "empty", "empty"])


def test_text_applies_its_steps_in_order():
    steps = Identifier(scheme="text", normalise=("nfkc", "trim", "upper"))
    assert forms("\u3000ａb ", " ", identifier=steps) == (["AB", None], [None, "empty"])
    trimmed_first = Identifier(scheme="text", normalise=("trim", "nfkc"))
    # U+00A8 is no blank until NFKC takes it apart.
    assert unicodedata.normalize("NFKC", "\u00a8")[0] == " "
    assert forms("\u00a8x", identifier=trimmed_first)[0][0].startswith(" ")


def test_the_linkage_input_names_its_scheme():
    found = normalise(pa.array([BEIJING, "", None], pa.string()), RESIDENT)
    inputs = linkage_inputs(found.forms, "cn-resident-id")
    assert inputs.to_pylist() == [b"cn-resident-id\x0011010519491231002X", None, None]


def test_normal_forms_do_not_print_themselves():
    assert BEIJING not in repr(normalise(pa.array([BEIJING]), RESIDENT))
