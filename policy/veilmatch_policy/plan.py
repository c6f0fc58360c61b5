"""What is computed, derived from the policies alone: each party derives it for itself.

protocol.md, 7: a coordinator cannot name other contributors than the policies do, since every
node compares the manifest's outcomes with the plan that it derived.  The cheapest way is taken:

- a policy that is the AND of single departments' own answers is one sum, opened slot by slot
  (protocol.md, 4);
- anything else becomes *terms*, sums that are opened into shares, and a circuit over tests of
  these terms (protocol.md, 5);
- a term that several policies of a job need is contributed once.

A department evaluates *questions*: expressions over its own columns.  Formulas over questions
name them by their number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

from veilmatch_policy.formula import Formula
from veilmatch_policy.policy import Policy

Grain = Literal["person", "household"]
Spread = Literal["everybody", "members", "household"]


@dataclass(frozen=True)
class Question:
    """An expression that one department evaluates for each of its people, or for each household.

    Two questions are one where everything but ``place``, for messages, is equal.  ``parameters`` are
    those that the text may use, ``unknown`` is the answer of a condition that is neither true nor
    false, ``scope`` what aggregates range over.
    """

    department: str
    kind: Literal["condition", "amount"]
    text: str
    parameters: tuple[tuple[str, Decimal], ...]
    reference_date: date
    unknown: bool = False
    scope: Grain = "person"
    place: str = field(default="", compare=False)


@dataclass(frozen=True)
class Declaration:
    """What a department's catalog says of an amount that it is asked.

    ``scale`` are its decimal places, ``largest`` is how far from 0 it can be in units of 10**-scale
    (None: a column declares no range), ``optional`` says that somebody's may be unknown.
    """

    scale: int
    largest: int | None
    optional: bool


@dataclass(frozen=True)
class Declarations:
    """What all departments declare: each amount by the number of its question, and the largest household."""

    amounts: Mapping[int, Declaration]
    household_at_most: int | None = None


@dataclass(frozen=True)
class Claim:
    """A yes/no of one department: a formula over its questions, ``known:N`` where amount N is known.

    ``spread`` is whose slots it says something of: everybody's; those of the ``members`` that the
    department knows; the first slot of each ``household`` of the register.
    """

    formula: Formula
    spread: Spread = "everybody"


@dataclass(frozen=True)
class Fails:
    """Noise where one of the claims does not hold, else 0."""

    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class Count:
    """How many of the claims hold."""

    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class Amount:
    """Amounts: each question's value times its factor, at the term's scale.

    ``limits`` is how far from 0 each may be, at the term's scale; nobody is told where one is beyond.
    """

    questions: tuple[int, ...]
    factors: tuple[int, ...]
    limits: tuple[int, ...]


Part = Fails | Count | Amount


@dataclass(frozen=True)
class Term:
    """A sum over departments, one 40-bit word a slot.

    ``parts`` by department, in the order of the names.  ``opened`` as an answer: the recipient sees
    the sum, of the slots of ``among`` (a question; -1: of all its people); or into shares.
    """

    grain: Grain
    parts: tuple[tuple[str, Part], ...]
    opened: Literal["answer", "shares"]
    among: int | None = None

    def part(self, department: str) -> Part | None:
        """Return what a department puts in; None where it has no part."""
        return dict(self.parts).get(department)


@dataclass(frozen=True)
class Test:
    """A yes/no about a term: is x + once + each * members negative, or x zero, or is x, 0 or 1, set.

    ``members`` is 1 for a person and the household's size for a household.
    """

    term: int
    kind: Literal["negative", "zero", "bit"]
    once: int = 0
    each: int = 0


@dataclass(frozen=True)
class Circuit:
    """What two parties compute on shares: formulas over ``test:N``, ``own:N`` and ``household:N``.

    ``own`` are the recipient's own claims, ``households`` formulas over tests of household terms,
    ``eligible`` is the result, over people; for a household policy it is ``household:0``.
    """

    tests: tuple[Test, ...]
    own: tuple[Claim, ...]
    households: tuple[Formula, ...]
    eligible: Formula


@dataclass(frozen=True)
class PolicyPlan:
    """What becomes of one policy.

    ``among``: the recipient's question of whom it asks about (None: all its people).  A linear policy has
    ``answer``, a term's number, and ``own``, the recipient's own claim; any other has ``circuits``, one or
    one for each bound of its what-if.
    """

    policy: Policy
    among: int | None
    answer: int | None
    own: Claim | None
    circuits: tuple[Circuit, ...]


@dataclass(frozen=True)
class Outcome:
    """A sum that is opened: its number in the manifest, and who contributes, in the order of the masks."""

    index: int
    contributors: tuple[str, ...]
    opened: Literal["answer", "shares"]


@dataclass(frozen=True)
class Plan:
    """Who does what for the policies of one job.

    ``registrar`` says who lives with whom, ``dealer`` gives the randomness of the circuits; None where
    nobody is needed.  ``household_at_most`` is the declared size of the largest household,
    ``reference_date`` is that of all its policies.
    """

    recipient: str
    registrar: str | None
    dealer: str | None
    household_at_most: int
    reference_date: date
    questions: tuple[Question, ...]
    terms: tuple[Term, ...]
    policies: tuple[PolicyPlan, ...]

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The terms to which somebody besides the recipient contributes; an outcome's index is its term's."""
        return tuple(
            Outcome(index, others, term.opened)
            for index, term in enumerate(self.terms)
            if (others := self.contributors_to(term))
        )

    def contributors_to(self, term: Term) -> tuple[str, ...]:
        """Who contributes to a term besides the recipient, sorted."""
        return tuple(name for name, _ in term.parts if name != self.recipient)

    @property
    def contributors(self) -> tuple[str, ...]:
        """Every node that contributes to some outcome, sorted."""
        return tuple(sorted({name for outcome in self.outcomes for name in outcome.contributors}))

    @property
    def participants(self) -> tuple[str, ...]:
        """Contributors, recipient, registrar and dealer, sorted."""
        others = {name for name in (self.registrar, self.dealer) if name is not None}
        return tuple(sorted({*self.contributors, self.recipient, *others}))

    def questions_of(self, department: str) -> Mapping[int, Question]:
        """A department's questions by number."""
        return {
            number: question
            for number, question in enumerate(self.questions)
            if question.department == department
        }

    def terms_of(self, policy: int) -> frozenset[int]:
        """The terms that a policy needs, by number."""
        planned = self.policies[policy]
        used = {test.term for circuit in planned.circuits for test in circuit.tests}
        return frozenset(used if planned.answer is None else {planned.answer})
