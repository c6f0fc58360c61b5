"""What a policy means, without any protocol: from departments' answers to who is eligible.

This is policies.md in numpy, over people in one order that all answers share.  The worked examples
run on it, and the demo compares the protocol's result with it.  The people are all of the household
register's and the recipient's, and whoever else; what is said of a household counts all its members.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilmatch_policy.evaluate import Amounts
from veilmatch_policy.formula import decide
from veilmatch_policy.policy import Condition, Policy
from veilmatch_policy.questions import Comparison, comparison

Truth = NDArray[np.bool_]  # one value a person
_Units = NDArray[Any]  # Python's integers: no total is wrong for want of bits

_COMPARE: Mapping[Comparison, Callable[[_Units, _Units], Truth]] = {
    "below": operator.lt,
    "at_most": operator.le,
    "above": operator.gt,
    "at_least": operator.ge,
}


@dataclass(frozen=True)
class Where:
    """What a department answers to a ``where``, by person; a household's answer at each of its members.

    ``known`` says whom the department knows, which matters for ``members`` alone.
    """

    holds: Truth = field(repr=False)
    known: Truth = field(repr=False)


@dataclass(frozen=True)
class Total:
    """Each department's amounts, by person, and the bound where it is an expression.

    A household's bound stands at each of its members.
    """

    amounts: tuple[Amounts, ...]
    bound: Amounts | None


class Households:
    """Who lives with whom.

    By person: ``numbers``, the household, from 0 without a gap, and ``sizes``, how many live in it.
    """

    def __init__(self, numbers: NDArray[np.integer]) -> None:
        """Take the number of each person's household; below 0: a household of their own."""
        alone = numbers < 0
        apart = np.where(alone, numbers.max(initial=-1) + np.cumsum(alone), numbers)
        self.numbers: NDArray[np.intp] = np.unique(apart, return_inverse=True)[1]
        self.sizes: NDArray[np.intp] = np.bincount(self.numbers)[self.numbers]

    @classmethod
    def apart(cls, people: int) -> "Households":
        """Everybody alone: what is said of a person is said of a household of one."""
        return cls(np.full(people, -1))

    def any(self, holds: Truth) -> Truth:
        """Whether it holds of any member, by person."""
        return np.bincount(self.numbers, weights=holds)[self.numbers] > 0

    def every(self, holds: Truth) -> Truth:
        """Whether it holds of every member, by person."""
        return ~self.any(~holds)

    def total(self, units: _Units) -> _Units:
        """The sum over all members, by person."""
        sums = np.zeros(len(self.numbers), dtype=object)
        np.add.at(sums, self.numbers, units)
        return sums[self.numbers]


@dataclass(frozen=True)
class Answers:
    """The answers to every condition of a policy, by name, and who lives with whom."""

    conditions: Mapping[str, Where | Total]
    households: Households


def eligible(policy: Policy, answers: Answers, *, varied: Decimal | None = None) -> Truth:
    """Who fulfils the policy's formula; for a policy of households, every member of one that does.

    Whom the recipient asks about is not part of it.  ``varied`` is as in `truths`.
    """
    found = truths(policy, answers, varied=varied)
    return decide(policy.eligible, found.__getitem__)


def truths(policy: Policy, answers: Answers, *, varied: Decimal | None = None) -> Mapping[str, Truth]:
    """Whether each condition holds, by its name and by person; what is true of a household, at every member.

    ``varied`` is the bound of the condition that the policy's what-if varies, instead of its own.
    """
    return {
        name: _holds(policy, policy.conditions[name], answer, answers.households, varied)
        for name, answer in answers.conditions.items()
    }


def _holds(
    policy: Policy,
    condition: Condition,
    answer: Where | Total,
    households: Households,
    varied: Decimal | None,
) -> Truth:
    match answer:
        case Total():
            return _total_holds(policy, condition, answer, households, varied)
        case Where(holds, known) if condition.members == "every":
            return households.every(holds | ~known)
        case Where(holds, known) if condition.members == "any":
            return households.any(holds & known)
        case Where(holds):
            return holds


def _total_holds(
    policy: Policy, condition: Condition, answer: Total, households: Households, varied: Decimal | None
) -> Truth:
    """A total against its bound, exactly, at the finest scale among all that goes into it.

    An amount that is unknown, of any member, decides as ``unknown`` says; a row that cannot be read fails.
    """
    people = len(answer.amounts[0].values)
    groups = households if policy.grain_of(condition) == "household" else Households.apart(people)
    parts = [*answer.amounts, *([answer.bound] if answer.bound is not None else [])]
    number = _number(policy, condition, varied)
    scale = max(_places(number), *(part.scale for part in parts))
    total = groups.total(reduce(operator.add, (_units(part, scale) for part in answer.amounts)))
    if answer.bound is not None:
        bound = _units(answer.bound, scale)
    else:
        times = groups.sizes if condition.per_member else np.ones(people, dtype=np.intp)
        bound = times.astype(object) * int(Fraction(number) * 10**scale)
    compared = _COMPARE[comparison(condition)](total, bound)
    known = groups.every(np.logical_and.reduce([part.known for part in parts]))
    readable = groups.every(np.logical_and.reduce([part.readable for part in parts]))
    decided: Truth = np.where(known, compared, condition.unknown == "pass") & readable
    return decided


def _number(policy: Policy, condition: Condition, varied: Decimal | None) -> Decimal:
    """The bound where it is a number; 0 where it is an expression."""
    if varied is not None and policy.vary is not None and policy.vary.condition == condition.name:
        return varied
    bound = condition.bound
    if bound is not None and bound.parameter is not None:
        return policy.parameters[bound.parameter].value
    return bound.number if bound is not None and bound.number is not None else Decimal(0)


def _places(number: Decimal) -> int:
    """How many digits a number has behind the point."""
    return max(0, -int(number.as_tuple().exponent))


def _units(part: Amounts, scale: int) -> _Units:
    units: _Units = part.values.astype(object) * 10 ** (scale - part.scale)
    return units
