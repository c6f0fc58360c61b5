"""The policies that are measured, and the same questions as SQL over all tables on one desk."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from veilmatch.bench.federation_data import HOUSEHOLD_MEMBERS, MEAN_AMOUNT, PARTS, RECIPIENT, REGISTER

_POLICY = """
policy: {name}
title: Measured as {name}
recipient: social
{household}conditions:
{conditions}"""
_TOTAL = """  old: {{department: register, where: "register_points < 90"}}
  little: {{of: {scope}, total: {{{total}}}, below: {bound}}}
"""
_SHARE = 0.9  # of the mean total: about half of the people are below it


class PolicyKind(StrEnum):
    """What is asked."""

    AND = "and"  # a condition a department
    TOTAL = "total"  # one condition, and a total over all departments below a bound
    HOUSEHOLD_TOTAL = "household-total"  # the same over the household
    TOTAL_TWICE = "total-twice"  # two policies in one job, which share the total and differ in its bound


@dataclass(frozen=True)
class Question:
    """One policy: its file, and the SQL over tables ``t_DEPARTMENT`` that asks the same."""

    name: str
    path: Path
    sql: str


def write_questions(folder: Path, kind: PolicyKind, departments: Sequence[str]) -> list[Question]:
    """Write the policies of a kind, those of one job, over these departments."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind is PolicyKind.AND:
        return [_all_fit(folder, departments)]
    members = HOUSEHOLD_MEMBERS if kind is PolicyKind.HOUSEHOLD_TOTAL else 1
    bound = round(_SHARE * MEAN_AMOUNT * members * sum(PARTS[name] for name in departments))
    bounds = {"first": bound, "second": bound // 2} if kind is PolicyKind.TOTAL_TWICE else {kind.value: bound}
    return [
        _total(folder, name, bound, departments, household=kind is PolicyKind.HOUSEHOLD_TOTAL)
        for name, bound in bounds.items()
    ]


def _all_fit(folder: Path, departments: Sequence[str]) -> Question:
    conditions = "".join(
        f'  {name}-fits: {{department: {name}, where: "{name}_points < 90 AND {name}_amount >= 0"}}\n'
        for name in departments
    )
    where = " AND ".join(
        f"coalesce({name}_points, 0) < 90 AND coalesce({name}_amount, 0) >= 0" for name in departments
    )
    sql = f"SELECT id FROM {_joined(RECIPIENT, departments)} WHERE {where} ORDER BY id"  # noqa: S608  names are ours
    return _question(folder, "everybody", conditions, "", sql)


def _total(folder: Path, name: str, bound: int, departments: Sequence[str], *, household: bool) -> Question:
    total = ", ".join(f"{each}: {each}_amount" for each in departments)
    conditions = _TOTAL.format(scope="household" if household else "person", total=total, bound=bound)
    amount = " + ".join(f"coalesce({each}_amount, 0)" for each in departments)
    old = "coalesce(register_points, 0) < 90"
    if not household:
        where = f"{old} AND {amount} < {bound}"
        sql = f"SELECT id FROM {_joined(RECIPIENT, departments)} WHERE {where} ORDER BY id"  # noqa: S608  as above
        return _question(folder, name, conditions, "", sql)
    # Households are the register's: those of their members who are not the recipient's count too.
    joined = _joined(REGISTER, departments)
    sums = f"SELECT id, {old} AS old, sum({amount}) OVER (PARTITION BY home) AS total FROM {joined}"  # noqa: S608  as above
    asked = f"({sums}) AS living SEMI JOIN t_{RECIPIENT} USING (id)"
    sql = f"SELECT id FROM {asked} WHERE old AND total < {bound} ORDER BY id"  # noqa: S608  as above
    return _question(folder, name, conditions, "household: {department: register, column: home}\n", sql)


def _joined(first: str, departments: Sequence[str]) -> str:
    return f"t_{first}" + "".join(f" LEFT JOIN t_{name} USING (id)" for name in departments if name != first)


def _question(folder: Path, name: str, conditions: str, household: str, sql: str) -> Question:
    path = folder / f"{name}.yaml"
    path.write_text(_POLICY.format(name=name, household=household, conditions=conditions), encoding="utf-8")
    return Question(name, path, sql)
