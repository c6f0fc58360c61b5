"""The circuits of a plan, step by step, as all three parties run them (protocol.md, 5).

Recipient, coordinator and dealer run the same program in lockstep, each on its own `Side`: what
it knows and what it adds.  Order: (1) shares of household terms are brought into household order
and summed; (2) policy by policy, bound by bound, household tests and formulas; where people are
eligible their bits are carried back to the slots; (3) tests and formula of the presented slots;
(4) the output: result bits to the recipient, or one count to the coordinator.  Nothing here does
I/O: it yields the body that this party sends in a round and is sent the peer's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from veilmatch_crypto import (
    PEOPLE_PER_WORD,
    Gates,
    Steps,
    Tally,
    Translation,
    Wires,
    all_of,
    any_of,
    at_least,
    count,
    negative,
    pack_bits,
    reveal_to_recipient,
    slice_words,
    unpack_bits,
    zero,
)
from veilmatch_policy.formula import And, AtLeast, Formula, Name, Not, Or
from veilmatch_policy.plan import Circuit, Grain, Plan, PolicyPlan

# People or households at once, shared by the tests of one circuit: a comparison's wires stay in the processor's
# cache, and the bodies of its rounds, 6.25 bytes an item and test, below 512 KiB.
CHUNK = 65_536
_LABEL_BITS = 32
_WORD = np.uint64(2**40 - 1)

_T = TypeVar("_T")
_S = TypeVar("_S", bound=np.generic)

Words = NDArray[np.uint64]
Bits = NDArray[np.bool_]


class Side(Protocol):
    """One party: what it brings to the program.  Arrays that a party does not know are zeros there."""

    @property
    def gates(self) -> Gates:
        """Its gates."""

    @property
    def tally(self) -> Tally:
        """Its part of a count."""

    def share(self, term: int) -> Words:
        """Its share of a term by slot, shape (padded,)."""

    def own(self, policy: int, claim: int) -> Bits:
        """The recipient's own claim by slot, shape (padded,)."""

    def presented(self, policy: int) -> NDArray[np.intp]:
        """The slots that the recipient asks about, ascending; at the dealer only so many."""

    def there(self) -> Steps[Translation]:
        """Arrange the way of vectors from slots to household order."""

    def back(self) -> Steps[Translation]:
        """Arrange the way back."""

    def households(self) -> int:
        """How many households there are."""

    def total(self, words: Words) -> Words:
        """Sum a vector in household order over members: shape (households,)."""

    def members(self) -> Words:
        """The size of each household, shape (households,)."""

    def spread(self, bits: Bits) -> Bits:
        """Copy each household's bit to its members, in household order: shape (padded,)."""

    def asked(self, policy: int) -> Bits:
        """Which households have a presented member, shape (households,): the coordinator's."""

    def labels(self, policy: int) -> Words:
        """The label of each presented slot's household: the coordinator's."""

    def plus(self, share: Words, constant: Words) -> Words:
        """Add what everybody knows to shares; one of the parties does."""

    def negated(self, share: Words) -> Words:
        """Negate shares, for a test for zero; one of the parties does."""

    def noise(self, scale: Fraction | None) -> int:
        """Draw its own noise for a count; 0 where there is none."""


@dataclass(frozen=True)
class Members:
    """Which presented slots are eligible, and of household policies their households' labels; at the recipient."""

    eligible: Bits
    labels: NDArray[np.uint32] | None = None


@dataclass(frozen=True)
class Counts:
    """The counts by bound, None below the policy's smallest count; at the coordinator."""

    counts: tuple[int | None, ...]


Result = Members | Counts


def run(side: Side, plan: Plan) -> Steps[Mapping[int, Result]]:
    """Run the circuits of all policies that have one: results by the policy's number.

    Raises CircuitError where a peer does not keep to the program.
    """
    totals: dict[int, Words] = {}
    back: Translation | None = None
    household_terms = [number for number, term in enumerate(plan.terms) if term.grain == "household"]
    if household_terms:
        there = yield from side.there()
        for number in household_terms:
            totals[number] = side.total((yield from there.words(side.share(number))))
        if any(_carries_back(planned) for planned in plan.policies):
            back = yield from side.back()
    results: dict[int, Result] = {}
    for number, planned in enumerate(plan.policies):
        if planned.circuits:
            results[number] = yield from _Decision(side, plan, number, totals, back).result()
    return results


def in_lockstep(steps: Steps[_T], exchange: Callable[[bytes], bytes]) -> _T:
    """Run one party's steps; ``exchange`` sends its body of a round and returns the peer's."""
    try:
        body = next(steps)
        while True:
            body = steps.send(exchange(body))
    except StopIteration as ended:
        result: _T = ended.value
        return result


def sensitivity(plan: Plan, planned: PolicyPlan) -> int:
    """By how much one household's data can move a policy's count (protocol.md, 5.5)."""
    if planned.policy.unit == "household" or not any(circuit.households for circuit in planned.circuits):
        return 1
    return plan.household_at_most


def _carries_back(planned: PolicyPlan) -> bool:
    counts_households = planned.policy.unit == "household" and planned.policy.reveal == "count"
    return not counts_households and any(circuit.households for circuit in planned.circuits)


class _Decision:
    """One policy's circuits."""

    def __init__(
        self,
        side: Side,
        plan: Plan,
        number: int,
        totals: Mapping[int, Words],
        back: Translation | None,
    ) -> None:
        self._side = side
        self._plan = plan
        self._planned = plan.policies[number]
        self._number = number
        self._totals = totals
        self._back = back

    def result(self) -> Steps[Result]:
        """Run them, one for each bound, and open the output."""
        if self._planned.policy.reveal == "members":
            [circuit] = self._planned.circuits
            return (yield from self._members(circuit))
        counts = []
        for circuit in self._planned.circuits:
            counts.append((yield from self._count(circuit)))  # noqa: PERF401  no comprehension may yield
        return Counts(tuple(counts))

    def _members(self, circuit: Circuit) -> Steps[Members]:
        side, policy = self._side, self._planned.policy
        grouped = policy.unit == "household"
        labels = side.labels(self._number) if grouped else None
        eligible: list[Bits] = []
        shown: list[NDArray[np.uint32]] = []
        carried = yield from self._carried(circuit)
        for part in _chunks(len(side.presented(self._number)), circuit):
            result = yield from self._people(circuit, carried, part)
            rows = result
            if labels is not None:
                label = side.gates.of_coordinator(slice_words(labels[part], _LABEL_BITS))
                rows = np.concatenate((result, (yield from side.gates.both(label, result))))
            opened = yield from reveal_to_recipient(side.gates, rows)
            people = part.stop - part.start
            eligible.append(unpack_bits(opened[0], people))
            shown.append(_words([unpack_bits(row, people) for row in opened[1:]], people))
        return Members(_joined(eligible, np.bool_), _joined(shown, np.uint32) if grouped else None)

    def _count(self, circuit: Circuit) -> Steps[int | None]:
        side, policy = self._side, self._planned.policy
        bits: list[Bits] = []
        if policy.unit == "household":
            [results] = yield from self._households(circuit)
            asked = side.asked(self._number)
            for part in _chunks(len(results), circuit):
                counted = side.gates.of_coordinator(pack_bits(asked[part])[np.newaxis])
                both = yield from side.gates.both(pack_bits(results[part])[np.newaxis], counted)
                bits.append(unpack_bits(both[0], part.stop - part.start))
        else:
            carried = yield from self._carried(circuit)
            for part in _chunks(len(side.presented(self._number)), circuit):
                result = yield from self._people(circuit, carried, part)
                bits.append(unpack_bits(result[0], part.stop - part.start))
        scale = None
        if policy.epsilon is not None:
            scale = Fraction(sensitivity(self._plan, self._planned)) / Fraction(policy.epsilon)
        return (
            yield from count(side.tally, _joined(bits, np.bool_), side.noise(scale), policy.smallest_count)
        )

    def _households(self, circuit: Circuit) -> Steps[list[Bits]]:
        """The circuit's household formulas: shares of one bit a household each."""
        side = self._side
        found: list[list[Bits]] = [[] for _ in circuit.households]
        sizes = side.members()
        for part in _chunks(side.households(), circuit):
            vectors = {number: words[part] for number, words in self._totals.items()}
            wires = yield from self._tests(circuit, "household", vectors, sizes[part])
            for formula, bits in zip(circuit.households, found, strict=True):
                row = yield from _gates(side.gates, formula, wires)
                bits.append(unpack_bits(row[0], part.stop - part.start))
        return [_joined(bits, np.bool_) for bits in found]

    def _carried(self, circuit: Circuit) -> Steps[list[Bits]]:
        """The household bits of the presented slots."""
        side = self._side
        if self._back is None or not circuit.households:
            return []
        found = []
        for bits in (yield from self._households(circuit)):
            by_slot = yield from self._back.bits(side.spread(bits))
            found.append(by_slot[side.presented(self._number)])
        return found

    def _people(self, circuit: Circuit, carried: Sequence[Bits], part: slice) -> Steps[Wires]:
        """The circuit's result for a part of the presented slots: shape (1, words)."""
        side = self._side
        slots = side.presented(self._number)[part]
        used = {test.term for test in circuit.tests if self._plan.terms[test.term].grain == "person"}
        vectors = {number: side.share(number)[slots] for number in sorted(used)}
        wires = yield from self._tests(circuit, "person", vectors, np.ones(len(slots), dtype=np.uint64))
        for claim in range(len(circuit.own)):
            own = pack_bits(side.own(self._number, claim)[slots])
            wires[f"own:{claim}"] = side.gates.of_recipient(own[np.newaxis])
        for index, bits in enumerate(carried):
            wires[f"household:{index}"] = pack_bits(bits[part])[np.newaxis]
        return (yield from _gates(side.gates, circuit.eligible, wires))

    def _tests(
        self, circuit: Circuit, grain: Grain, vectors: Mapping[int, Words], members: Words
    ) -> Steps[dict[str, Wires]]:
        """The tests of one grain, those of a kind in the rounds of one: a wire by name."""
        side = self._side
        wires: dict[str, Wires] = {}
        negatives: dict[str, Wires] = {}
        zeros: dict[str, Wires] = {}
        for number, test in enumerate(circuit.tests):
            if self._plan.terms[test.term].grain != grain:
                continue
            name, share = f"test:{number}", vectors[test.term]
            if test.kind == "bit":
                wires[name] = pack_bits((share & np.uint64(1)).astype(np.bool_))[np.newaxis]
            elif test.kind == "zero":
                zeros[name] = slice_words(side.negated(share))
            else:
                constant = np.uint64(test.once % (1 << 64)) + np.uint64(test.each % (1 << 64)) * members
                negatives[name] = slice_words(side.plus(share, constant & _WORD))
        for tested, rows in ((negative, negatives), (zero, zeros)):
            if rows:
                together = yield from tested(side.gates, np.concatenate(list(rows.values()), axis=1))
                wires |= dict(zip(rows, np.split(together, len(rows), axis=1), strict=True))
        return wires


def _gates(gates: Gates, formula: Formula, wires: Mapping[str, Wires]) -> Steps[Wires]:
    """A formula over wires: shape (1, words)."""
    match formula:
        case Name(name):
            return wires[name]
        case Not(operand):
            return gates.inverse((yield from _gates(gates, operand, wires)))
    operands = []
    for operand in formula.operands:
        operands.append((yield from _gates(gates, operand, wires)))  # noqa: PERF401  no comprehension may yield
    rows = np.concatenate(operands)
    match formula:
        case And():
            return (yield from all_of(gates, rows))
        case Or():
            return (yield from any_of(gates, rows))
        case AtLeast(least, _):
            return (yield from at_least(gates, least, rows))


def _chunks(count: int, circuit: Circuit) -> Iterator[slice]:
    size = max(PEOPLE_PER_WORD, CHUNK // max(1, len(circuit.tests)) // PEOPLE_PER_WORD * PEOPLE_PER_WORD)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _words(rows: Sequence[Bits], people: int) -> NDArray[np.uint32]:
    """Bits by row, the lowest first, as one number a person."""
    words = np.zeros(people, dtype=np.uint32)
    for place, bits in enumerate(rows):
        words |= bits.astype(np.uint32) << np.uint32(place)
    return words


def _joined(parts: Sequence[NDArray[_S]], kind: type[_S]) -> NDArray[_S]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=kind)
