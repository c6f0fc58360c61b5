"""Normal forms of identifiers (protocol.md, 3.1), for a whole column at once.

Two departments link a person exactly when both write the same normal form under the same scheme.
The module refuses what is not well formed and says why by name; it does not ask whether a number
was ever issued: there is no list of county codes, and "99" for a county is accepted.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from veilmatch_node.cells import BLANKS
from veilmatch_policy.catalog import Identifier

# Why an identifier is refused, in the order in which the reasons are tried.
EMPTY = "empty"
LENGTH = "length"
CHARACTERS = "characters"
DATE = "date"
CHECK_DIGIT = "check digit"

# GB 11643-1999: ISO 7064 MOD 11-2 over 17 digits, weights 2^(17-i) mod 11.
_WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2], np.int32)
_CHECK_CHARACTERS = np.frombuffer(b"10X98765432", np.uint8)  # for remainder 0 to 10
_LENGTH = 18
_OLD_LENGTH = 15  # before 1999: a year of two digits, no check digit
_NEW, _OLD = r"^[0-9]{17}[0-9X]$", r"^[0-9]{15}$"
_DAYS = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int32)  # by month


@dataclass(frozen=True, slots=True, repr=False)
class NormalForms:
    """One entry an input cell: the normal form (string, NULL where refused) and why it was refused.

    ``reasons`` is a string array, NULL where the identifier is accepted.
    """

    forms: pa.StringArray
    reasons: pa.StringArray


def normalise(cells: pa.StringArray, identifier: Identifier) -> NormalForms:
    """Bring a column of identifiers (string, NULL for an empty cell) into its scheme's normal form.

    ``cn-resident-id``: NFKC, blanks out, upper case, 15 digits upgraded to 18; 18 characters with a
    real date and the right check digit.  ``opaque``: as it stands.  ``text``: the catalog's steps.
    """
    match identifier.scheme:
        case "cn-resident-id":
            return _resident_ids(cells)
        case "opaque":
            return _refuse_empty(cells)
        case "text":
            forms = cells
            for step in identifier.normalise:
                match step:
                    case "nfkc":
                        forms = pc.utf8_normalize(forms, form="NFKC")
                    case "trim":
                        forms = pc.utf8_trim_whitespace(forms)
                    case "upper":
                        forms = pc.utf8_upper(forms)
            return _refuse_empty(forms)


def _refuse_empty(forms: pa.StringArray) -> NormalForms:
    return _refuse(forms, [(pc.fill_null(pc.equal(forms, ""), True), EMPTY)])


def linkage_inputs(forms: pa.StringArray, scheme: str) -> pa.LargeBinaryArray:
    """The inputs of the OPRF: scheme, 0x00, normal form (UTF-8); NULL stays NULL."""
    prefix = pa.scalar(scheme.encode() + b"\0", pa.large_binary())
    nothing_between = pa.scalar(b"", pa.large_binary())
    return pc.binary_join_element_wise(prefix, forms.cast(pa.large_binary()), nothing_between)


def normal_forms(inputs: pa.LargeBinaryArray) -> pa.StringArray:
    """The normal forms in what ``linkage_inputs`` made: no scheme has a 0x00 in its name."""
    return pc.replace_substring_regex(inputs.cast(pa.large_string()), "^[^\\x00]*\\x00", "").cast(pa.string())


def _resident_ids(cells: pa.StringArray) -> NormalForms:
    """GB 11643-1999 numbers; ASCII after NFKC, so that an 18-character form is 18 bytes."""
    text = pc.fill_null(cells, "")
    is_new, is_old = _matches(text, _NEW), np.zeros(len(text), np.bool_)
    if not is_new.all():  # what is a number as it stands, as most are, needs no cleaning
        others = pa.array(~is_new)
        text = pc.replace_with_mask(text, others, _cleaned(text.filter(others)))
        is_new, is_old = _matches(text, _NEW), _matches(text, _OLD)
    whole = is_new | is_old

    characters = np.zeros((len(text), _LENGTH), np.uint8)
    characters[is_new] = _matrix(text, is_new, _LENGTH)
    characters[is_old] = _upgrade(_matrix(text, is_old, _OLD_LENGTH))

    digits = characters[:, :17].astype(np.int32) - ord("0")
    wrong_date = whole & ~_is_date(digits[:, 6:14])
    wrong_check = whole & (_check_characters(digits) != characters[:, 17])
    ends = pa.py_buffer(np.arange(0, characters.size + 1, _LENGTH, dtype=np.int32))
    lengths = pc.utf8_length(text)
    return _refuse(
        pa.StringArray.from_buffers(len(text), ends, pa.py_buffer(characters)),
        [
            (pc.equal(lengths, 0), EMPTY),
            (pc.invert(pc.is_in(lengths, value_set=pa.array([_OLD_LENGTH, _LENGTH], pa.int32()))), LENGTH),
            (pa.array(~whole), CHARACTERS),
            (pa.array(wrong_date), DATE),
            (pa.array(wrong_check), CHECK_DIGIT),
        ],
    )


def _cleaned(text: pa.StringArray) -> pa.StringArray:
    text = pc.utf8_normalize(text, form="NFKC")
    return pc.utf8_upper(pc.replace_substring_regex(text, pattern=BLANKS, replacement=""))


def _upgrade(old: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """15 digits to 18 characters: 19 after the sixth, the check character behind; shape (n, 18)."""
    new = np.empty((len(old), _LENGTH), np.uint8)
    new[:, :6] = old[:, :6]
    new[:, 6:8] = np.frombuffer(b"19", np.uint8)
    new[:, 8:17] = old[:, 6:]
    new[:, 17] = _check_characters(new[:, :17].astype(np.int32) - ord("0"))
    return new


def _check_characters(digits: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The 18th character (ASCII) for 17 digits a row."""
    return np.take(_CHECK_CHARACTERS, (digits @ _WEIGHTS) % 11)


def _is_date(digits: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether eight digits a row, YYYYMMDD, are a day of the (proleptic) Gregorian calendar."""
    year = digits[:, :4] @ np.array([1000, 100, 10, 1], np.int32)
    month = digits[:, 4] * 10 + digits[:, 5]
    day = digits[:, 6] * 10 + digits[:, 7]
    month_exists = (month >= 1) & (month <= 12)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    days = _DAYS[np.where(month_exists, month, 0)] - ((month == 2) & ~leap)
    exists: NDArray[np.bool_] = (year >= 1) & month_exists & (day >= 1) & (day <= days)
    return exists


def _matrix(text: pa.StringArray, mask: NDArray[np.bool_], width: int) -> NDArray[np.uint8]:
    """The bytes of the cells under ``mask``, each ``width`` ASCII characters; shape (n, width)."""
    chosen = text.filter(pa.array(mask)).cast(pa.binary()).cast(pa.binary(width))
    data = chosen.buffers()[1]
    start = chosen.offset * width
    return np.frombuffer(data, np.uint8)[start : start + len(chosen) * width].reshape(-1, width)


def _refuse(forms: pa.StringArray, refusals: list[tuple[Any, str]]) -> NormalForms:
    """Keep the forms that no mask refuses; of several masks the first names the reason."""
    if not any(pc.any(mask).as_py() for mask, _ in refusals):
        return NormalForms(forms, pa.nulls(len(forms), pa.string()))
    reasons = pc.case_when(
        pc.make_struct(*(mask for mask, _ in refusals)), *(pa.scalar(reason) for _, reason in refusals)
    )
    return NormalForms(pc.if_else(pc.is_valid(reasons), None, forms), reasons)


def _matches(text: pa.StringArray, pattern: str) -> NDArray[np.bool_]:
    return np.asarray(pc.match_substring_regex(text, pattern=pattern), np.bool_)
