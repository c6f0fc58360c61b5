"""A policy's formula as terms and tests: which sums are opened, and what is asked of them.

What one department can say by itself it says by itself: a formula over its own conditions is one
claim.  An AND of several departments' claims is one sum of noise that is 0 where all hold
(protocol.md, 4.3), and so is an OR, of the opposites; ``at_least`` of claims is a sum that is counted; a total
is a sum that is compared.  Everything else is left to gates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from veilmatch_policy.formula import And, AtLeast, Formula, Name, Not, Or, conjuncts
from veilmatch_policy.plan import (
    Circuit,
    Claim,
    Count,
    Declarations,
    Fails,
    Grain,
    Part,
    PolicyPlan,
    Question,
    Spread,
    Term,
    Test,
)
from veilmatch_policy.policy import Condition, Policy
from veilmatch_policy.questions import (
    among_question,
    amount_questions,
    bound_question,
    comparison,
    where_question,
)
from veilmatch_policy.totals import total_of


@dataclass(frozen=True)
class _Said:
    """A claim and the department that makes it."""

    department: str
    claim: Claim


class Terms:
    """Collects the terms of a job's policies, each once."""

    def __init__(
        self, questions: Sequence[Question], declarations: Declarations, reference_date: date, household: int
    ) -> None:
        """Take what was asked and declared; ``household`` is the size of the largest household."""
        self.numbers: Mapping[Question, int] = {question: n for n, question in enumerate(questions)}
        self.declarations = declarations
        self.reference_date = reference_date
        self.household = household
        self._terms: dict[Term, int] = {}

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms so far; a term's number is its place."""
        return tuple(self._terms)

    def add(self, term: Term) -> int:
        """Return a term's number."""
        return self._terms.setdefault(term, len(self._terms))

    def plan(self, policy: Policy) -> PolicyPlan:
        """Plan one policy.  Raises PolicyRefusedError where a total cannot be held in 40 bits."""
        asked = among_question(policy, self.reference_date)
        among = None if asked is None else self.numbers[asked]
        linear = self._linear(policy, -1 if among is None else among)
        if linear is not None:
            answer, own = linear
            return PolicyPlan(policy, among, answer, own, ())
        bounds: list[Decimal | None] = [None] if policy.vary is None else list(policy.vary.bounds)
        circuits = tuple(_Compiler(self, policy, bound).circuit() for bound in bounds)
        return PolicyPlan(policy, among, None, None, circuits)

    def _linear(self, policy: Policy, among: int) -> tuple[int, Claim | None] | None:
        """The one sum of a policy that is an AND of departments' own claims; None for any other."""
        if policy.reveal == "count" or policy.unit == "household":
            return None
        compiler = _Compiler(self, policy, None)
        said: list[_Said] = []
        for operand in conjuncts(policy.eligible):
            claim = compiler.claim(operand)
            if claim is None or claim.claim.spread != "everybody":
                return None
            said.append(claim)
        own = [each.claim for each in said if each.department == policy.recipient]
        others = [each for each in said if each.department != policy.recipient]
        if not others:
            return None
        return self.add(Term("person", _fails(others), "answer", among)), _joined(own)


class _Compiler:
    """One policy's circuit, for one bound of its what-if."""

    def __init__(self, terms: Terms, policy: Policy, varied: Decimal | None) -> None:
        self._terms = terms
        self._policy = policy
        self._varied = varied
        self._tests: dict[Test, int] = {}
        self._own: dict[Claim, int] = {}
        self._households: dict[Formula, int] = {}

    def circuit(self) -> Circuit:
        """Compile the policy's formula."""
        formula = self._policy.eligible
        eligible = self._carried(formula) if self._policy.unit == "household" else self._person(formula)
        return Circuit(tuple(self._tests), tuple(self._own), tuple(self._households), eligible)

    def claim(self, formula: Formula) -> _Said | None:
        """What one department says by itself; None where a formula needs two, a total, or a household's sum."""
        match formula:
            case Name(name):
                condition = self._policy.conditions[name]
                if condition.total is not None or condition.department is None:
                    return None
                if condition.members is not None:
                    return None
                question = where_question(self._policy, condition, self._terms.reference_date)
                spread: Spread = "household" if question.scope == "household" else "everybody"
                claim = Claim(Name(str(self._terms.numbers[question])), spread)
                return _Said(condition.department, claim)
            case Not(operand):
                said = self.claim(operand)
                return said and _Said(
                    said.department, Claim(_opposite(said.claim.formula), said.claim.spread)
                )
            case And(operands) | Or(operands) | AtLeast(_, operands):
                parts = [self.claim(operand) for operand in operands]
                first = parts[0]
                if first is None or any(
                    part is None
                    or (part.department, part.claim.spread) != (first.department, first.claim.spread)
                    for part in parts
                ):
                    return None
                inner = tuple(part.claim.formula for part in parts if part is not None)
                whole = (
                    AtLeast(formula.count, inner) if isinstance(formula, AtLeast) else type(formula)(inner)
                )
                return _Said(first.department, Claim(whole, first.claim.spread))

    def _person(self, formula: Formula) -> Formula:
        """A formula over people's results."""
        if self._grain(formula) == "household":
            return self._carried(formula)
        return self._gates(formula, "person")

    def _carried(self, formula: Formula) -> Formula:
        """A formula over households' results, as the bit that each of their people is given."""
        found = self._gates(formula, "household")
        return Name(f"household:{self._households.setdefault(found, len(self._households))}")

    def _gates(self, formula: Formula, grain: Grain) -> Formula:
        match formula:
            case Name(name) if self._policy.conditions[name].total is not None:
                return self._compared(self._policy.conditions[name], grain)
            case Name(name) if self._policy.conditions[name].members == "any":
                return _opposite(self._all((Not(formula),), grain))
            case Not(operand) if self.claim(formula) is None:
                return _opposite(self._down(operand, grain))
            case Or(operands) if self.claim(formula) is None:
                return _opposite(self._all(tuple(map(_opposite, operands)), grain))
            case And(operands) if self.claim(formula) is None:
                return self._all(operands, grain)
            case AtLeast(count, operands) if self.claim(formula) is None:
                return self._at_least(count, operands, grain)
        return self._all((formula,), grain)

    def _down(self, formula: Formula, grain: Grain) -> Formula:
        return self._person(formula) if grain == "person" else self._gates(formula, "household")

    def _all(self, operands: tuple[Formula, ...], grain: Grain) -> Formula:
        """An AND: everything that departments claim by themselves is one sum; the rest are gates."""
        flat = [part for each in operands for part in conjuncts(each)]
        gates: list[Formula] = []
        if grain == "person":
            households = [operand for operand in flat if self._grain(operand) == "household"]
            if households:  # carried back to people as one bit
                gates.append(self._person(_and(households)))
            flat = [operand for operand in flat if self._grain(operand) != "household"]
        said: list[_Said] = []
        for operand in flat:
            claimed, total = self._summed(operand, grain), self._total_of(operand)
            if claimed is not None:
                said.append(claimed)
            elif total is not None and total.unknown != "pass":
                holds, known = self._total(total, grain)
                gates.append(holds)
                said += known
            else:
                gates.append(self._down(operand, grain))
        return _and([*gates, *self._claims(said, grain)])

    def _claims(self, said: Sequence[_Said], grain: Grain) -> list[Formula]:
        """Claims that must all hold: the recipient's about a person are its own input, the others one sum."""
        own = [each.claim for each in said if grain == "person" and each.department == self._policy.recipient]
        others = [each for each in said if grain == "household" or each.department != self._policy.recipient]
        joined = _joined(own)
        gates: list[Formula] = []
        if joined is not None:
            gates.append(Name(f"own:{self._own.setdefault(joined, len(self._own))}"))
        if others:
            gates.append(self._noise(others, grain))
        return gates

    def _summed(self, formula: Formula, grain: Grain) -> _Said | None:
        """What one department puts into a sum that is 0 where everything holds."""
        own = self.claim(formula)
        if own is not None:
            return own
        if grain == "person":
            return None
        match formula:  # every member: noise at one who fails; not any member: noise at one who passes
            case Name(name) if self._policy.conditions[name].members == "every":
                return self._of_members(name)
            case Not(Name(name)) if self._policy.conditions[name].members == "any":
                return self._of_members(name, opposite=True)
        return None

    def _of_members(self, name: str, *, opposite: bool = False) -> _Said:
        condition = self._policy.conditions[name]
        question = where_question(self._policy, condition, self._terms.reference_date)
        holds: Formula = Name(str(self._terms.numbers[question]))
        return _Said(question.department, Claim(_opposite(holds) if opposite else holds, "members"))

    def _noise(self, said: Sequence[_Said], grain: Grain) -> Formula:
        """One test for claims that must all hold."""
        department, spread = said[0].department, said[0].claim.spread
        alone = all((each.department, each.claim.spread) == (department, spread) for each in said)
        if alone and (grain == "person" or spread == "household"):
            # A single yes/no needs no test: its share's lowest bit is a share of it.
            only = Claim(_and([each.claim.formula for each in said]), spread)
            return self._test(Test(self._add(grain, ((department, Count((only,))),)), "bit"))
        return self._test(Test(self._add(grain, _fails(said)), "zero"))

    def _at_least(self, count: int, operands: tuple[Formula, ...], grain: Grain) -> Formula:
        said = [each for operand in operands if (each := self.claim(operand)) is not None]
        if len(said) < len(operands) or any(each.claim.spread != "everybody" for each in said):
            return AtLeast(count, tuple(self._down(operand, grain) for operand in operands))
        claims: dict[str, list[Claim]] = {}
        for each in said:
            claims.setdefault(each.department, []).append(each.claim)
        parts = tuple((name, Count(tuple(claims[name]))) for name in sorted(claims))
        return Not(self._test(Test(self._add(grain, parts), "negative", once=-count)))

    def _total_of(self, formula: Formula) -> Condition | None:
        """The condition that a formula names, where it is a total."""
        condition = self._policy.conditions[formula.name] if isinstance(formula, Name) else None
        return None if condition is None or condition.total is None else condition

    def _compared(self, condition: Condition, grain: Grain) -> Formula:
        """A total against its bound, and what becomes of it where an amount is unknown."""
        holds, known = self._total(condition, grain)
        if not known:
            return holds
        claims = self._claims(known, grain)
        if condition.unknown == "pass":
            return Or((holds, *map(_opposite, claims)))
        return _and([holds, *claims])

    def _total(self, condition: Condition, grain: Grain) -> tuple[Formula, list[_Said]]:
        """A total against its bound, and who says that its amounts are known."""
        policy, day = self._policy, self._terms.reference_date
        amounts = {
            name: self._terms.numbers[question]
            for name, question in amount_questions(policy, condition, day).items()
        }
        bounding = bound_question(policy, condition, day)
        bound = None if bounding is None else (bounding.department, self._terms.numbers[bounding])
        varied = self._varied if policy.vary is not None and policy.vary.condition == condition.name else None
        total = total_of(
            policy,
            condition,
            amounts,
            bound,
            self._terms.declarations,
            household=self._terms.household if grain == "household" else 1,
            varied=varied,
        )
        term = self._add(grain, total.parts)
        compared = comparison(condition)
        # below: x - bound < 0; at_most: x - bound - 1 < 0; the other two are their opposites.
        once = total.once - (1 if compared in {"at_most", "above"} else 0)
        below = self._test(Test(term, "negative", once, total.each))
        holds = _opposite(below) if compared in {"above", "at_least"} else below
        return holds, [_Said(department, claim) for department, claim in total.optional]

    def _add(self, grain: Grain, parts: tuple[tuple[str, Part], ...]) -> int:
        return self._terms.add(Term(grain, parts, "shares"))

    def _test(self, test: Test) -> Formula:
        return Name(f"test:{self._tests.setdefault(test, len(self._tests))}")

    def _grain(self, formula: Formula) -> Grain | None:
        """The one grain of a formula's conditions; None where it mixes them."""
        match formula:
            case Name(name):
                return self._policy.grain_of(self._policy.conditions[name])
            case Not(operand):
                return self._grain(operand)
            case And(operands) | Or(operands) | AtLeast(_, operands):
                grains = {self._grain(operand) for operand in operands}
                return grains.pop() if len(grains) == 1 else None


def _fails(said: Sequence[_Said]) -> tuple[tuple[str, Part], ...]:
    claims: dict[str, dict[Claim, None]] = {}
    for each in said:
        claims.setdefault(each.department, {})[each.claim] = None
    return tuple((name, Fails(tuple(claims[name]))) for name in sorted(claims))


def _joined(claims: Sequence[Claim]) -> Claim | None:
    formulas = tuple(claim.formula for claim in claims)
    return Claim(_and(formulas)) if formulas else None


def _opposite(formula: Formula) -> Formula:
    return formula.operand if isinstance(formula, Not) else Not(formula)


def _and(formulas: Sequence[Formula]) -> Formula:
    return formulas[0] if len(formulas) == 1 else And(tuple(formulas))
