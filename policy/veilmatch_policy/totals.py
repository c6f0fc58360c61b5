"""The arithmetic of a total: its scale, how far it can reach, and its bound (protocol.md, 5.1).

A total is computed at the finest scale among its departments' expressions, the bound's included, in
units of 10**-scale.  What it can reach follows from the ranges that the departments declare, times
the largest household where it sums over one; it must stay below what 40 bits hold, or the sum could
turn its sign.  An amount without a declared range has its share of 40 bits, and whoever meets a
larger one stops the run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from veilmatch_policy.errors import PolicyRefusedError
from veilmatch_policy.formula import Name
from veilmatch_policy.plan import Amount, Claim, Declaration, Declarations, Part
from veilmatch_policy.policy import Condition, Policy
from veilmatch_policy.questions import comparison

LARGEST = 2**39 - 1  # of the absolute value of a total minus its bound, one unit kept for at_most


@dataclass(frozen=True)
class Total:
    """A total minus its bound as a sum.

    ``once`` and ``each`` are what the bound's number adds, once and for each member; ``optional`` are the
    claims that amounts are known, by department, for those that may be unknown.
    """

    parts: tuple[tuple[str, Part], ...]
    once: int
    each: int
    optional: tuple[tuple[str, Claim], ...]


@dataclass(frozen=True)
class _Summand:
    """An amount that is added, or with ``sign`` -1 subtracted, at most ``times`` in one sum."""

    department: str
    question: int
    declared: Declaration
    sign: int
    times: int

    def largest(self, scale: int) -> int | None:
        """How far from 0 it can be in units of 10**-scale; None where no range is declared."""
        largest = self.declared.largest
        return None if largest is None else largest * self.factor(scale)

    def factor(self, scale: int) -> int:
        """What brings it to a scale."""
        return int(10 ** (scale - self.declared.scale))


def total_of(
    policy: Policy,
    condition: Condition,
    amounts: Mapping[str, int],
    bound: tuple[str, int] | None,
    declarations: Declarations,
    *,
    household: int,
    varied: Decimal | None,
) -> Total:
    """Put a condition's total together.

    ``amounts`` are the numbers of its questions by department, ``bound`` the department and question
    of its bound where that is an expression, ``household`` the largest household where it sums over
    one, else 1, ``varied`` a bound in place of the policy's own.  Raises PolicyRefusedError for a
    bound with more decimal places than the total, and for a total that 40 bits do not hold.
    """
    place = f"{policy.name}: conditions.{condition.name}"
    summands = [
        _Summand(name, number, declarations.amounts[number], 1, household) for name, number in amounts.items()
    ]
    if bound is not None:  # an expression of the household register stands once a household
        name, number = bound
        summands.append(_Summand(name, number, declarations.amounts[number], -1, 1))
    scale = max(summand.declared.scale for summand in summands)
    figure = _figure(policy, condition, varied)
    units = Fraction(figure) * 10**scale
    if units.denominator != 1:
        raise PolicyRefusedError(
            f"{place}.{comparison(condition)}",
            f"{figure} has more decimal places than the total, which has {scale}",
            "round it, or round(..., n) no part of the total to fewer places",
        )
    once, each = (0, -int(units)) if condition.per_member else (-int(units), 0)
    if condition.unknown == "pass" and any(summand.declared.largest is None for summand in summands):
        # Who is beyond a limit that nobody declared fails: it must not be who passes.
        raise PolicyRefusedError(
            f"{place}.unknown",
            "passes whose amounts are unknown, and an amount has no declared range",
            "declare the ranges of its columns, or write unknown: fail",
        )
    limits = _limits(summands, scale, LARGEST - 1 - abs(once) - abs(each) * household)
    if limits is None:
        raise PolicyRefusedError(
            f"{place}.total",
            _too_large(summands, figure, household if condition.per_member else 1, scale),
            "declare narrower ranges, a smaller household at_most, or fewer decimal places",
        )
    of_household = policy.grain_of(condition) == "household"
    return Total(
        parts=_parts(summands, limits, scale),
        once=once,
        each=each,
        optional=tuple(
            (
                summand.department,
                Claim(
                    Name(f"known:{summand.question}"),
                    "household" if of_household and summand.sign < 0 else "everybody",
                ),
            )
            for summand in summands
            if summand.declared.optional or summand.declared.largest is None
        ),
    )


def _figure(policy: Policy, condition: Condition, varied: Decimal | None) -> Decimal:
    """The bound where it is a number; 0 where it is an expression, which is a part of the sum."""
    bound = condition.bound
    if varied is not None:
        return varied
    if bound is None:
        raise ValueError(f"the condition {condition.name} has no bound")
    if bound.parameter is not None:
        return policy.parameters[bound.parameter].value
    return bound.number if bound.number is not None else Decimal(0)


def _parts(summands: Sequence[_Summand], limits: Sequence[int], scale: int) -> tuple[tuple[str, Part], ...]:
    rows: dict[str, list[tuple[int, int, int]]] = {}
    for summand, limit in zip(summands, limits, strict=True):
        row = (summand.question, summand.sign * summand.factor(scale), limit)
        rows.setdefault(summand.department, []).append(row)
    return tuple(
        (name, Amount(*(tuple(column) for column in zip(*rows[name], strict=True)))) for name in sorted(rows)
    )


def _limits(summands: Sequence[_Summand], scale: int, room: int) -> list[int] | None:
    """How far from 0 each amount may be: as declared, or an equal share of what that leaves of half of 40 bits.

    The other half is the bound's: the limit of an amount does not depend on it.  None where ``room``, what
    the bound leaves, is not enough.
    """
    declared = [summand.largest(scale) for summand in summands]
    times = [summand.times for summand in summands]
    taken = sum(limit * time for limit, time in zip(declared, times, strict=True) if limit is not None)
    sharers = sum(time for limit, time in zip(declared, times, strict=True) if limit is None)
    share = max(0, LARGEST // 2 - taken) // sharers if sharers else 0
    if taken + share * sharers > room or (sharers and not share):
        return None
    return [share if limit is None else limit for limit in declared]


def _too_large(summands: Sequence[_Summand], figure: Decimal, times: int, scale: int) -> str:
    """What a total is made of, in an author's words; ``figure`` is its bound, ``times`` for how many members."""
    parts = [f"{summand.department} {_shown(summand.declared, summand.times)}" for summand in summands]
    if figure:
        parts.append(f"the bound {figure}{_members(times)}")
    return (
        f"by what is declared ({', '.join(parts)}) it can reach more than 40 bits hold, "
        f"{_exact(LARGEST, scale)} with {scale} decimal places"
    )


def _shown(declared: Declaration, times: int) -> str:
    if declared.largest is None:
        return "no range"
    return f"{_exact(declared.largest, declared.scale)}{_members(times)}"


def _members(times: int) -> str:
    return f" times {times} members" if times > 1 else ""


def _exact(units: int, scale: int) -> str:
    return f"{Decimal(f'{units}e-{scale}'):f}"
