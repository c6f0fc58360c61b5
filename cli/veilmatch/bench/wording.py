"""Numbers and parameters in a report's words."""

import math


def number(value: float) -> str:
    """A number in three digits, or all of its whole ones; below a thousandth with its power of ten."""
    if value == 0:
        return "0"
    if abs(value) < 0.000_999_5:
        digits, exponent = f"{value:.2e}".split("e")
        return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def shown(value: int | str) -> str:
    """A parameter's value."""
    return f"{value:,}" if isinstance(value, int) else value


def counted(count: int, things: str) -> str:
    """``1 round``, ``3 rounds``, ``1,000 people``."""
    one = {"people": "person"}.get(things, things.removesuffix("s"))
    return f"{count:,} {one if count == 1 else things}"


def each(item: str) -> str:
    """``a person``, ``an identity``."""
    return f"{'an' if item[0] in 'aeiou' else 'a'} {item}"
