"""Canonical bytes: what is hashed and signed has exactly one spelling.

JSON with sorted keys, no white space, UTF-8, and only objects, arrays, text, whole numbers,
true, false and null.  Fractions stand as text (exact decimals), bytes as lower-case hex.
"""

import json
from typing import Any


def encode(value: Any) -> bytes:
    """Return the canonical bytes of ``value``.  Raises ValueError for a float or a key that is not text."""
    _refuse_floats(value)
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def decode(data: bytes) -> Any:
    """Return the value of canonical bytes.

    Raises ValueError where ``data`` is not JSON or is another spelling of what it says (white
    space, duplicate or unsorted keys, escapes, fractions): such bytes would have two hashes.
    """
    try:
        value = json.loads(data)
        again = encode(value)
    except (UnicodeError, RecursionError) as error:
        raise ValueError("not canonical JSON") from error
    if again != data:
        raise ValueError("not the canonical spelling of what it says")
    return value


def _refuse_floats(value: Any) -> None:
    match value:
        case float():
            raise ValueError("fractions stand as text in canonical bytes")
        case dict():
            for key, part in value.items():
                if not isinstance(key, str):
                    raise ValueError("keys are text in canonical bytes")  # noqa: TRY004  one cause, one class for the caller
                _refuse_floats(part)
        case list() | tuple():
            for part in value:
                _refuse_floats(part)
        case _:
            pass
