"""A plan carried out in the clear, the answers of made-up departments, and random policies over them.

The people are the slots.  A failing claim is noise of 1 here, so that a sum is 0 where nobody fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from hypothesis import strategies as st

from veilmatch_policy.evaluate import Amounts
from veilmatch_policy.formula import And, AtLeast, Name, Not, Or, decide, names_in
from veilmatch_policy.meaning import Answers, Households, Total, Where, eligible
from veilmatch_policy.plan import Count, Declaration, Declarations, Fails
from veilmatch_policy.planning import derive_plan
from veilmatch_policy.policy import parse_policy
from veilmatch_policy.questions import amount_questions, ask, bound_question, where_question

DAY = date(2025, 12, 31)
RECIPIENT, REGISTER = "r", "police"
DEPARTMENTS = (RECIPIENT, "a", "b", REGISTER)


def policy_of(conditions, formula="", *, name="p", unit="person", more=""):
    """A policy of ``r``; ``conditions`` is YAML, a line a condition."""
    head = f"policy: {name}\nrecipient: r\nunit: {unit}\nhousehold: {{department: police, column: home}}\n"
    listed = "".join(f"  {line}\n" for line in conditions)
    eligible_line = f'eligible: "{formula}"\n' if formula else ""
    return parse_policy(f"{head}{more}conditions:\n{listed}{eligible_line}".encode(), "p.yaml")


def declared(policies, *, scale=0, largest=100, optional=False, household_at_most=None, **by_text):
    """What departments declare, alike of all amounts but of those whose text is a keyword."""
    return Declarations(
        {
            number: by_text.get(question.text, Declaration(scale, largest, optional))
            for number, question in enumerate(ask(policies, DAY))
            if question.kind == "amount"
        },
        household_at_most,
    )


def plan_of(*policies, dealers=("dealer",), declarations=None, register=None, **alike):
    """The plan of policies; ``alike`` are arguments of ``declared``."""
    return derive_plan(
        policies,
        declarations or declared(policies, **alike),
        reference_date=DAY,
        dealers=dealers,
        register=register,
    )


@dataclass
class World:
    """What is true: ``homes`` by person (below 0: alone), who is known, and the value of every question by number."""

    homes: np.ndarray
    known: dict
    values: dict

    @property
    def people(self):
        return len(self.homes)


def draw_world(plan, declarations, people, seed):
    """Draw everything at random; a value a household stands at each of its members."""
    rng = np.random.default_rng(seed)
    homes = rng.integers(-1, max(1, people // 2), people)
    numbers = Households(homes).numbers
    values = {}
    for number, question in enumerate(plan.questions):
        place = numbers if question.scope == "household" else np.arange(people)
        if question.kind == "condition":
            values[number] = (rng.random(people) < rng.choice([0.2, 0.5, 0.9]))[place]
            continue
        said = declarations.amounts[number]
        amounts = rng.integers(-3, 4, people) * rng.choice([1, 5, 10], people) ** said.scale
        known = (rng.random(people) < 0.8) | (not said.optional)
        values[number] = Amounts(
            np.where(known, amounts, 0)[place], known[place], np.ones(people, np.bool_), said.scale
        )
    known = {name: rng.random(people) < 0.7 for name in DEPARTMENTS}
    return World(homes, known, values)


def meant(policy, plan, world, varied=None):
    """Who is eligible by what the policy says, without any plan."""
    number = {question: n for n, question in enumerate(plan.questions)}
    conditions = {}
    for name, condition in policy.conditions.items():
        if condition.total is None:
            question = where_question(policy, condition, DAY)
            conditions[name] = Where(world.values[number[question]], world.known[question.department])
        else:
            bound = bound_question(policy, condition, DAY)
            asked = amount_questions(policy, condition, DAY).values()
            conditions[name] = Total(
                tuple(world.values[number[question]] for question in asked),
                None if bound is None else world.values[number[bound]],
            )
    return eligible(policy, Answers(conditions, Households(world.homes)), varied=varied)


class InTheClear:
    """A plan carried out with everybody's data in one place."""

    def __init__(self, plan, world):
        self.plan, self.world = plan, world
        self.homes = Households(world.homes)
        self.first = np.unique(self.homes.numbers, return_index=True)[1]
        self.sizes = self.homes.sizes[self.first]

    def presented(self, policy):
        asked = self.plan.policies[policy].among
        known = self.world.known[RECIPIENT]
        return known if asked is None else known & self.world.values[asked]

    def claim(self, claim, department, *, others):
        """What one department says of each slot; ``others`` in slots of which it says nothing."""

        def leaf(name):
            kind, _, number = name.rpartition(":")
            value = self.world.values[int(number)]
            return value.known if kind else value

        holds = decide(claim.formula, leaf)
        speaks = np.ones(self.world.people, np.bool_)
        if claim.spread == "members":
            speaks = self.world.known[department]
        elif claim.spread == "household":
            speaks = np.isin(np.arange(self.world.people), self.first)
        return np.where(speaks, holds, others)

    def part(self, part, department):
        """What one department puts into each slot."""
        if isinstance(part, Fails):
            claims = [self.claim(claim, department, others=True) for claim in part.claims]
            return (~np.logical_and.reduce(claims)).astype(object)
        if isinstance(part, Count):
            claims = [self.claim(claim, department, others=False) for claim in part.claims]
            return np.sum(claims, axis=0).astype(object)
        words = np.zeros(self.world.people, dtype=object)
        for question, factor, limit in zip(part.questions, part.factors, part.limits, strict=True):
            amounts = self.world.values[question].values.astype(object) * factor
            assert all(abs(amount) <= limit for amount in amounts)
            once = self.plan.questions[question].scope == "household"
            words += np.where(np.isin(np.arange(len(words)), self.first) | (not once), amounts, 0)
        return words

    def words(self, number):
        """The sum of a term by slot."""
        return sum(self.part(part, name) for name, part in self.plan.terms[number].parts)

    def test(self, test):
        """By slot, or by household where the term's grain is that."""
        values, members = self.words(test.term), np.ones(self.world.people, dtype=object)
        if self.plan.terms[test.term].grain == "household":
            values, members = self.homes.total(values)[self.first], self.sizes.astype(object)
        if test.kind == "bit":
            assert set(values) <= {0, 1}
            return (values == 1).astype(np.bool_)
        if test.kind == "zero":
            return (values == 0).astype(np.bool_)
        moved = values + test.once + test.each * members
        assert all(-(2**39) <= value < 2**39 for value in moved)
        return (moved < 0).astype(np.bool_)

    def circuit(self, circuit):
        """By slot, of people whom the recipient knows."""
        wires = {f"test:{number}": self.test(test) for number, test in enumerate(circuit.tests)}
        for number, formula in enumerate(circuit.households):
            wires[f"household:{number}"] = decide(formula, wires.__getitem__)[self.homes.numbers]
        for number, claim in enumerate(circuit.own):
            wires[f"own:{number}"] = self.claim(claim, RECIPIENT, others=False)
        return decide(circuit.eligible, wires.__getitem__)

    def decided(self, policy):
        """The slots that are found among those presented: one array a circuit, or the one of a linear policy."""
        planned = self.plan.policies[policy]
        if planned.answer is None:
            found = [self.circuit(circuit) for circuit in planned.circuits]
        else:
            found = [self.words(planned.answer) == 0]
            if planned.own is not None:
                found = [found[0] & self.claim(planned.own, RECIPIENT, others=False)]
        return [each.astype(np.bool_) & self.presented(policy) for each in found]


def _operators(inner):
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.one_of(
        inner.map(Not),
        several.map(And),
        several.map(Or),
        several.flatmap(lambda parts: st.integers(1, len(parts)).map(lambda least: AtLeast(least, parts))),
    )


FORMULAS = st.recursive(st.sampled_from("cdefgh").map(Name), _operators, max_leaves=7)
WHERES = st.sampled_from(["x > 0", "y > 0", "z > 0"])
SQL_AMOUNTS = st.sampled_from(["u", "v"])


@st.composite
def conditions(draw, unit):
    """A condition in YAML, of any kind that a unit allows, and whether its bound can be varied."""
    unknown = draw(st.sampled_from(["", ", unknown: pass", ", unknown: fail"]))
    kinds = ["members", "register", "total"] + ["own", "own", "person total"] * (unit == "person")
    match draw(st.sampled_from(kinds)):
        case "own":
            return (
                f"{{department: {draw(st.sampled_from(DEPARTMENTS))}, where: {draw(WHERES)}{unknown}}}",
                False,
            )
        case "members":
            members = draw(st.sampled_from(["every", "any"]))
            owner = draw(st.sampled_from(DEPARTMENTS))
            return f"{{department: {owner}, where: {draw(WHERES)}, members: {members}{unknown}}}", False
        case "register":
            return f"{{department: police, where: {draw(WHERES)}, of: household{unknown}}}", False
        case kind:
            owners = draw(st.lists(st.sampled_from(DEPARTMENTS), min_size=1, max_size=3, unique=True))
            parts = ", ".join(f"{owner}: {draw(SQL_AMOUNTS)}" for owner in owners)
            compared = draw(st.sampled_from(["below", "at_most", "above", "at_least"]))
            of = "household" if kind == "total" else "person"
            if draw(st.integers(0, 3)) == 0:
                owner = "police" if of == "household" else draw(st.sampled_from(DEPARTMENTS))
                bound = f"{{{owner}: {draw(SQL_AMOUNTS)}}}"
            else:
                per_member = draw(st.sampled_from(["", "", ", per_member: true"]))
                bound = f"{draw(st.integers(-4, 4))}{per_member}"
            number = not bound.startswith("{")
            return f"{{total: {{{parts}}}, of: {of}, {compared}: {bound}{unknown}}}", number


@st.composite
def policies(draw, name="p"):
    """A policy of any kind."""
    unit = draw(st.sampled_from(["person", "person", "household"]))
    formula = draw(FORMULAS)
    used = {each: draw(conditions(unit)) for each in dict.fromkeys(names_in(formula))}
    more = "among: k > 0\n" if draw(st.booleans()) else ""
    if draw(st.booleans()):
        more += "reveal: count\nmin_count: 1\n"
        varied = [each for each, (_, number) in used.items() if number]
        if varied and draw(st.booleans()):
            bounds = draw(st.lists(st.integers(-5, 5), min_size=1, max_size=3, unique=True))
            more += f"vary: {{{draw(st.sampled_from(varied))}: [{', '.join(map(str, bounds))}]}}\n"
    lines = [f"{each}: {text}" for each, (text, _) in used.items()]
    return policy_of(lines, str(formula), name=name, unit=unit, more=more)


@st.composite
def declarations(draw, asked):
    """What departments declare of the amounts that policies ask them."""
    passes = any(each.total and each.unknown == "pass" for one in asked for each in one.conditions.values())
    ranges = st.sampled_from([300] if passes else [None, 300])  # who is beyond no range must not pass
    return Declarations(
        {
            number: Declaration(draw(st.integers(0, 2)), draw(ranges), draw(st.booleans()))
            for number, question in enumerate(ask(asked, DAY))
            if question.kind == "amount"
        },
        draw(st.sampled_from([None, 12])),
    )
