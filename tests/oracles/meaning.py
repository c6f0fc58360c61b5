"""What any policy means, in plain Python: one person and one household after the other, all rows on one desk.

A policy is a dictionary, its expressions are Python functions of rows:

    recipient   the department whose people are asked about
    among       a function of one person's rows there, or None: all of them
    unit        "person" or "household"
    register    None, or the department, the column of its household label, and how large a household may be
    conditions  by name, one of
                {"department", "where", "of", "members", "unknown"}
                {"total", "is", "bound", "per_member", "of", "unknown"}
    eligible    ("name", n), ("not", f), ("and", f, ...), ("or", f, ...) or ("at_least", count, f, ...)

``of`` is "person" or "household", ``members`` None, "every" or "any", ``unknown`` what holds where a function
returns None.  ``total`` is a function by department, ``is`` below, at_most, above or at_least, ``bound`` a
number or a department with a function.  Departments are rows (a list of dictionaries) by person, by
department; a function gets no row of a person whom its department does not know, and of a household the
rows of all members.
"""

import operator
from collections import defaultdict
from typing import NamedTuple

_COMPARISONS = {
    "below": operator.lt,
    "at_most": operator.le,
    "above": operator.gt,
    "at_least": operator.ge,
}


class Found(NamedTuple):
    """The eligible people, sorted, and how many households they live in."""

    people: list[str]
    households: int


def evaluate(policy, departments):
    """Whom a policy finds among the recipient's people."""
    people, homes = [], 0
    own = departments[policy["recipient"]]
    among = policy["among"] or (lambda _rows: True)
    for members in households(policy["register"], departments):
        found = [
            person
            for person in members
            if person in own
            and among(own[person])
            and _true(
                policy["eligible"], lambda name, p=person, m=members: holds(policy, departments, name, p, m)
            )
        ]
        people += found
        homes += bool(found)
    return Found(sorted(people), homes)


def count(policy, departments):
    """How many persons or households a policy finds, whichever is its unit."""
    found = evaluate(policy, departments)
    return found.households if policy["unit"] == "household" else len(found.people)


def with_bound(policy, name, bound):
    """The policy with another number as the bound of one of its totals."""
    changed = {**policy["conditions"][name], "bound": bound}
    return {**policy, "conditions": {**policy["conditions"], name: changed}}


def households(register, departments):
    """Everybody in households; alone are those without a label and those of too large a household."""
    everybody = sorted({person for rows in departments.values() for person in rows})
    if register is None:
        return [[person] for person in everybody]
    department, column, at_most = register
    labelled, homes = departments[department], defaultdict(list)
    for person in everybody:
        if person in labelled:
            homes[labelled[person][0][column]].append(person)
    large = {person for members in homes.values() if len(members) > at_most for person in members}
    alone = [[person] for person in everybody if person in large or person not in labelled]
    return [members for members in homes.values() if len(members) <= at_most] + alone


def holds(policy, departments, name, person, members):
    """Whether one condition holds of a person who lives with these members, themselves included."""
    condition = policy["conditions"][name]
    group = members if condition["of"] == "household" else [person]
    if "total" in condition:
        amounts, bound = amounts_and_bound(condition, departments, group)
        if bound is None or None in amounts:
            return condition["unknown"]
        return _COMPARISONS[condition["is"]](sum(amounts), bound)
    where, rows = condition["where"], departments[condition["department"]]

    def answer(found):
        truth = where(found)
        return condition["unknown"] if truth is None else truth

    match condition["members"]:
        case "every":
            return all(answer(rows[member]) for member in members if member in rows)
        case "any":
            return any(answer(rows[member]) for member in members if member in rows)
    return answer(_rows_of(group, rows))


def amounts_and_bound(condition, departments, group):
    """Every member's amount in every department, and what their sum is compared with."""
    amounts = [
        amount(departments[department].get(member, []))
        for department, amount in condition["total"].items()
        for member in group
    ]
    bound = condition["bound"]
    if isinstance(bound, tuple):
        department, expression = bound
        bound = expression(_rows_of(group, departments[department]))
    return amounts, bound * len(group) if condition["per_member"] else bound


def _rows_of(group, rows):
    return [row for member in group for row in rows.get(member, [])]


def _true(formula, leaf):
    match formula:
        case ("name", name):
            return leaf(name)
        case ("not", operand):
            return not _true(operand, leaf)
        case ("and", *operands):
            return all(_true(operand, leaf) for operand in operands)
        case ("or", *operands):
            return any(_true(operand, leaf) for operand in operands)
        case ("at_least", least, *operands):
            return sum(_true(operand, leaf) for operand in operands) >= least
    raise ValueError(formula)
