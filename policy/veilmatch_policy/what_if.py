"""What-if: one policy counted for several bounds (policies.md, ``vary``).

``vary: {line: [6000, 7000]}`` names a threshold and its values.  The name is a parameter that one
total's bound is, or a condition, or the word ``bound`` where there is only one to vary.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from veilmatch_policy.column_types import exact_number
from veilmatch_policy.documents import Document, FieldError, kind_of
from veilmatch_policy.errors import nearest, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from veilmatch_policy.policy import Condition, Parameter

MOST_BOUNDS = 100
THE_ONLY_ONE = "bound"


class Vary(Document):
    """The bounds, in the author's order, that are tried instead of a condition's own."""

    condition: str
    bounds: tuple[Decimal, ...]


def read_vary(
    written: object, conditions: Mapping[str, Condition], parameters: Mapping[str, Parameter]
) -> Vary:
    """Read what stands under ``vary``; raises ValueError for what is wrong with it."""
    if not isinstance(written, dict) or len(written) != 1:
        raise ValueError("one threshold is varied; write {line: [6000, 7000]}, say")
    [(name, values)] = written.items()
    condition = conditions[_condition(name, conditions)]
    bounds = _bounds(name, values)
    parameter = None if condition.bound is None else condition.bound.parameter
    allowed = None if parameter is None else parameters[parameter].allow
    if allowed is not None:
        for number, bound in enumerate(bounds):
            if not allowed[0] <= bound <= allowed[1]:
                raise FieldError(
                    f"{bound} is not within [{allowed[0]}, {allowed[1]}], which {parameter} allows",
                    name,
                    number,
                )
    return Vary(condition=condition.name, bounds=bounds)


def _condition(name: str, conditions: Mapping[str, Condition]) -> str:
    """The condition whose bound is meant."""
    thresholds = {
        condition.name: condition.bound.parameter
        for condition in conditions.values()
        if condition.bound is not None and condition.bound.department is None
    }
    named = [condition for condition, parameter in thresholds.items() if parameter == name]
    if named:
        _used_once(name, named, conditions)
        return named[0]
    if name in thresholds:
        return name
    if name == THE_ONLY_ONE and len(thresholds) == 1:
        return next(iter(thresholds))
    if name in conditions:
        raise FieldError(f"{quoted(name)} has no number as its bound; vary one that has", name)
    known = {*thresholds, *(parameter for parameter in thresholds.values() if parameter is not None)}
    if name == THE_ONLY_ONE:
        raise FieldError(f"there are {len(thresholds)} bounds that are numbers; name one", name)
    raise FieldError(f"there is no bound {quoted(name)}; {nearest(name, known) or 'write a total'}", name)


def _used_once(parameter: str, bounds: list[str], conditions: Mapping[str, Condition]) -> None:
    """Only one comparison runs again for each bound, so nothing else may hang on the parameter."""
    word = re.compile(rf":{re.escape(parameter)}\b")
    used = [*bounds, *(each.name for each in conditions.values() if any(map(word.search, _texts(each))))]
    if len(used) > 1:
        where = " and ".join(used)
        raise FieldError(
            f"{quoted(parameter)} is used in {where}, and only one bound is varied; "
            "give that one a parameter of its own",
            parameter,
        )


def _texts(condition: Condition) -> list[str]:
    """The SQL of a condition."""
    bound = None if condition.bound is None else condition.bound.expression
    return [text for text in (condition.where, bound, *(condition.total or {}).values()) if text is not None]


def _bounds(name: str, values: object) -> tuple[Decimal, ...]:
    if not isinstance(values, list) or not 1 <= len(values) <= MOST_BOUNDS:
        raise FieldError(
            f"the bounds are a list of 1 to {MOST_BOUNDS} numbers; write [6000, 7000], say", name
        )
    bounds: list[Decimal] = []
    for number, value in enumerate(values):
        if not isinstance(value, str):
            raise FieldError(f"expected one value, found {kind_of(value)}", name, number)
        try:
            bound = exact_number(value)
        except ValueError as error:
            raise FieldError(str(error), name, number) from None
        if bound in bounds:
            raise FieldError(f"{bound} stands twice; write each bound once", name, number)
        bounds.append(bound)
    return tuple(bounds)
