"""The program of the circuits, run by recipient, coordinator and dealer in one process: its output is the plan's."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from planned_worlds import (
    DAY,
    InTheClear,
    declarations,
    declared,
    draw_world,
    meant,
    plan_of,
    policies,
    policy_of,
)

from veilmatch_crypto import (
    CoordinatorGates,
    CoordinatorRandomness,
    CoordinatorTally,
    CoordinatorTranslation,
    DealerGates,
    DealerRandomness,
    DealerTally,
    DealerTranslation,
    HouseholdOrder,
    RecipientGates,
    RecipientRandomness,
    RecipientTally,
    RecipientTranslation,
    negated,
)
from veilmatch_policy import program
from veilmatch_policy.planning import derive_plan
from veilmatch_policy.program import Counts, in_lockstep, run, sensitivity
from veilmatch_policy.questions import ask

WORD = 2**40


class Setting:
    """What the parties of one run hold together: the sums of the plan, and who lives with whom."""

    def __init__(self, plan, world, seed=0):
        clear = InTheClear(plan, world)
        rng = np.random.default_rng(seed)
        self.plan, self.people = plan, world.people
        self.presented = [np.flatnonzero(clear.presented(number)) for number in range(len(plan.policies))]
        self.own = {
            (number, place): clear.claim(claim, "r", others=False)
            for number, planned in enumerate(plan.policies)
            for circuit in planned.circuits[:1]
            for place, claim in enumerate(circuit.own)
        }
        self.masks, self.shares = {}, {}
        for number, term in enumerate(plan.terms):
            if term.opened == "shares":
                words = np.array([int(word) % WORD for word in clear.words(number)], dtype=np.uint64)
                self.masks[number] = rng.integers(0, WORD, self.people, dtype=np.uint64)
                self.shares[number] = (words - self.masks[number]) % np.uint64(WORD)
        labels = (clear.homes.numbers + 1).astype(np.uint32)
        self.order = HouseholdOrder.draw(labels, sha256(b"order").digest())
        # By household in that order: its members; by slot: its household there.
        self.household = np.empty(self.people, np.intp)
        self.household[self.order.order] = np.concatenate([np.arange(n) for n in self.order.layers.counts])
        self.noise = {"recipient": 0, "coordinator": 0}
        self.scales = []


class Party:
    """What is alike at all three; what a party does not know is zeros."""

    def __init__(self, setting, randomness):
        self.setting, self.randomness = setting, randomness

    def share(self, term):
        return np.zeros(self.setting.people, np.uint64)

    def own(self, policy, claim):
        return np.zeros(self.setting.people, np.bool_)

    def presented(self, policy):
        return self.setting.presented[policy]

    def households(self):
        return self.setting.order.layers.households

    def total(self, words):
        return self.setting.order.layers.total(words)

    def members(self):
        return np.zeros(self.households(), np.uint64)

    def spread(self, bits):
        return self.setting.order.layers.spread(bits)

    def asked(self, policy):
        return np.zeros(self.households(), np.bool_)

    def labels(self, policy):
        return np.zeros(len(self.presented(policy)), np.uint64)

    def plus(self, share, constant):
        return share

    def negated(self, share):
        return share

    def noise(self, scale):
        return 0


class Recipient(Party):
    def __init__(self, setting, randomness):
        super().__init__(setting, randomness)
        self.gates, self.tally = RecipientGates(randomness), RecipientTally(randomness)

    def share(self, term):
        return self.setting.shares[term]

    def own(self, policy, claim):
        return self.setting.own[policy, claim]

    def there(self):
        return RecipientTranslation.arrange(self.randomness, self.setting.people)

    back = there

    def members(self):
        return self.total(np.ones(self.setting.people, np.uint64))

    def plus(self, share, constant):
        return (share + constant) % np.uint64(WORD)

    def noise(self, scale):
        self.setting.scales.append(scale)
        return self.setting.noise["recipient"]


class Coordinator(Party):
    def __init__(self, setting, randomness):
        super().__init__(setting, randomness)
        self.gates, self.tally = CoordinatorGates(randomness), CoordinatorTally(randomness)

    def share(self, term):
        return self.setting.masks[term]

    def there(self):
        return CoordinatorTranslation.arrange(self.randomness, self.setting.order.order)

    def back(self):
        return CoordinatorTranslation.arrange(self.randomness, self.setting.order.back)

    def asked(self, policy):
        asked = np.zeros(self.households(), np.bool_)
        asked[self.setting.household[self.presented(policy)]] = True
        return asked

    def labels(self, policy):
        return (self.setting.household + 1000)[self.presented(policy)].astype(np.uint64)

    def negated(self, share):
        return negated(share)

    def noise(self, scale):
        self.setting.scales.append(scale)
        return self.setting.noise["coordinator"]


class Dealer(Party):
    def __init__(self, setting, randomness):
        super().__init__(setting, randomness)
        self.gates, self.tally = DealerGates(randomness), DealerTally(randomness)

    def there(self):
        return DealerTranslation.arrange(self.randomness, self.setting.people)

    back = there

    def presented(self, policy):
        return np.broadcast_to(np.intp(0), len(self.setting.presented[policy]))

    def total(self, words):
        return np.zeros(self.households(), np.uint64)


class Ran:
    """What the two parties have at the end, and every body that was sent."""

    def __init__(self, setting, seed=0):
        keys = [sha256(f"{party} {seed}".encode()).digest() for party in ("recipient", "coordinator")]
        self.corrections = []
        dealing = run(Dealer(setting, DealerRandomness(*keys)), setting.plan)
        self.dealt = in_lockstep(dealing, self._keep)
        randomness = CoordinatorRandomness(keys[1], iter(self.corrections))
        parties = (
            run(Recipient(setting, RecipientRandomness(keys[0])), setting.plan),
            run(Coordinator(setting, randomness), setting.plan),
        )
        self.sent = []
        bodies, results = (None, None), []
        while not results:
            sent = []
            for party, body in zip(parties, bodies[::-1], strict=True):
                try:
                    sent.append(party.send(body))
                except StopIteration as end:
                    results.append(end.value)
            bodies = tuple(sent)
            self.sent.append(bodies)
        assert not self.sent.pop(), "a party goes on after the other has ended"
        randomness.finish()  # raises where a correction is left over
        self.recipient, self.coordinator = results

    def _keep(self, body):
        self.corrections.append(body)
        return b"ignored"


A, B, R = "a: {department: a, where: x}", "b: {department: b, where: x}", "r: {department: r, where: y}"
TOTAL = "total: {total: {a: u, b: v, r: u}, at_most: 1.5, unknown: pass}"
INCOME = "income: {of: household, total: {a: u, r: v}, below: 0.5, per_member: true, unknown: fail}"
EVERY = "every: {department: b, where: z, members: every}"
HOME = "home: {department: police, where: count(x) > 1, of: household, unknown: fail}"
MORE = "among: k > 0\n"


def setting_of(*asked, people=40, seed=7, **alike):
    """The setting of policies in a world at random; what is eligible by the policy alone, by policy."""
    said = declared(asked, scale=1, optional=True, **alike)
    plan = plan_of(*asked, declarations=said)
    world = draw_world(plan, said, people, seed)
    return Setting(plan, world), [meant(policy, plan, world) for policy in asked]


@pytest.fixture(autouse=True)
def _several_chunks(monkeypatch):
    """Of 64 people: a run of the tests has several, the last of them not full."""
    monkeypatch.setattr(program, "CHUNK", 64)


def test_persons():
    person = policy_of([A, B, R, TOTAL], "(a AND NOT b) OR (r AND total) OR at_least(2, a, b, r)", more=MORE)
    setting, [expected] = setting_of(person, people=600)
    ran, presented = Ran(setting), setting.presented[0]
    assert 64 < len(presented) < 600
    np.testing.assert_array_equal(ran.recipient[0].eligible, expected[presented])
    assert 0 < expected[presented].sum() < len(presented)
    assert ran.recipient[0].labels is None
    assert not ran.coordinator[0].eligible.any()  # the coordinator learns nothing
    assert not ran.dealt[0].eligible.any()


def test_households():
    household = policy_of(
        [
            "total: {total: {a: u, r: v}, above: -1.5, unknown: fail}",
            EVERY,
            "home: {department: police, where: z, unknown: fail}",
        ],
        "every AND total OR NOT home",
        unit="household",
        more=MORE,
    )
    setting, [expected] = setting_of(household, people=300)
    ran, presented = Ran(setting), setting.presented[0]
    found = ran.recipient[0]
    np.testing.assert_array_equal(found.eligible, expected[presented])
    assert 0 < expected[presented].sum() < len(presented)
    # A household's label with its eligible people, 0 with everybody else.
    labels = np.where(found.eligible, setting.household[presented] + 1000, 0)
    np.testing.assert_array_equal(found.labels, labels)
    assert not ran.coordinator[0].labels.any()


def test_persons_and_households_mixed():
    mixed = policy_of([A, R, INCOME, EVERY, HOME], "at_least(2, a, r, income AND every) AND (r OR NOT home)")
    setting, [expected] = setting_of(mixed, people=200)
    np.testing.assert_array_equal(Ran(setting).recipient[0].eligible, expected[setting.presented[0]])


def test_several_policies_of_one_job():
    asked = [
        policy_of([A, B], name="linear"),
        policy_of([TOTAL, A], "total OR a", name="person"),
        policy_of([INCOME], unit="household", name="household"),
        policy_of(
            [INCOME, EVERY], unit="household", name="counted", more="reveal: count\nmin_count: 1\n" + MORE
        ),
    ]
    setting, expected = setting_of(*asked, people=100)
    ran = Ran(setting)
    assert sorted(ran.recipient) == sorted(ran.coordinator) == [1, 2, 3]
    for number in (1, 2):
        wanted = expected[number][setting.presented[number]]
        np.testing.assert_array_equal(ran.recipient[number].eligible, wanted)
    counted = np.unique(setting.household[setting.presented[3]][expected[3][setting.presented[3]]])
    assert ran.coordinator[3] == Counts((len(counted),))
    assert ran.recipient[3] == ran.dealt[3] == Counts((None,))


@pytest.mark.parametrize("unit", ["person", "household"])
def test_counts_by_bound(unit):
    varied = policy_of(
        [INCOME.replace(", per_member: true", ""), EVERY],
        unit=unit,
        more="reveal: count\nmin_count: 5\nvary: {income: [-30, -0.5, 40]}\n" + MORE,
    )
    setting, _ = setting_of(varied, people=150)
    plan, presented = setting.plan, setting.presented[0]
    world = draw_world(plan, declared([varied], scale=1, optional=True), 150, 7)
    counts = []
    for bound in varied.vary.bounds:
        found = meant(varied, plan, world, bound)[presented]
        counts.append(
            found.sum() if unit == "person" else len(np.unique(setting.household[presented][found]))
        )
    ran = Ran(setting)
    assert ran.coordinator[0] == Counts(tuple(int(each) if each >= 5 else None for each in counts))
    assert counts[0] < 5 <= counts[1] < counts[2]
    assert ran.recipient[0] == Counts((None, None, None))
    assert set(setting.scales) == {None}


def test_noise_is_both_parties_own_and_comes_before_the_smallest_count():
    noisy = policy_of([A, B], more="reveal: count\nmin_count: 12\nepsilon: 0.1\n")
    setting, [expected] = setting_of(noisy, people=60)
    truth = int(expected[setting.presented[0]].sum())
    for recipients, coordinators in ((3, -5), (-40, 2), (0, 12 - truth), (11 - truth, 0)):
        setting.noise = {"recipient": recipients, "coordinator": coordinators}
        told = truth + recipients + coordinators
        assert Ran(setting).coordinator[0] == Counts((told if told >= 12 else None,))
    assert set(setting.scales) == {Fraction(10)}


@pytest.mark.parametrize(
    ("conditions", "unit", "moved"),
    [([A, B], "person", 1), ([A, EVERY], "person", 6), ([EVERY], "household", 1), ([INCOME, A], "person", 6)],
)
def test_the_noise_is_of_the_scale_of_what_one_household_moves(conditions, unit, moved):
    counted = policy_of(conditions, unit=unit, more="reveal: count\nepsilon: 0.3\n")
    setting, _ = setting_of(counted, people=20, household_at_most=6)
    assert sensitivity(setting.plan, setting.plan.policies[0]) == moved
    Ran(setting)
    assert set(setting.scales) == {Fraction(moved) / Fraction(Decimal("0.3"))}


@pytest.mark.parametrize("unit", ["person", "household"])
@pytest.mark.parametrize("reveal", ["members", "count"])
def test_nobody_is_asked_about(unit, reveal):
    conditions = [INCOME, EVERY]
    setting, _ = setting_of(policy_of(conditions, unit=unit, more=f"reveal: {reveal}\n"), people=10)
    setting.presented = [np.zeros(0, np.intp)]
    ran = Ran(setting)
    if reveal == "count":
        assert ran.coordinator[0] == Counts((None,))
    else:
        assert len(ran.recipient[0].eligible) == 0


def test_the_bodies_and_corrections_have_the_same_lengths_whatever_the_data_is():
    asked = [
        policy_of([A, R, INCOME, EVERY], "at_least(2, a, r, income AND every)"),
        policy_of([INCOME], unit="household", name="counted", more="reveal: count\n"),
    ]
    lengths = set()
    for seed in range(3):
        setting, _ = setting_of(*asked, people=50, seed=seed)
        one, _ = setting_of(*asked, people=50)
        setting.presented, setting.order, setting.household = one.presented, one.order, one.household
        ran = Ran(setting, seed)
        lengths.add((tuple(tuple(map(len, bodies)) for bodies in ran.sent), tuple(map(len, ran.corrections))))
    assert len(lengths) == 1


@settings(max_examples=40)
@given(st.data())
def test_any_policy(data):
    asked = [data.draw(policies(name)) for name in "pq"[: data.draw(st.integers(1, 2))]]
    assume({question.department for question in ask(asked, DAY)} != {"r"})
    said = data.draw(declarations(asked))
    plan = derive_plan(asked, said, reference_date=DAY, dealers=("dealer",))
    world = draw_world(plan, said, data.draw(st.integers(1, 90)), data.draw(st.integers(0, 2**32 - 1)))
    setting = Setting(plan, world, data.draw(st.integers(0, 2**32 - 1)))
    ran = Ran(setting)
    for number, policy in enumerate(asked):
        presented = setting.presented[number]
        if not plan.policies[number].circuits:
            assert number not in ran.recipient
        elif policy.reveal == "members":
            wanted = meant(policy, plan, world)[presented]
            np.testing.assert_array_equal(ran.recipient[number].eligible, wanted)
        else:
            counts = []
            for bound in (None,) if policy.vary is None else policy.vary.bounds:
                found = presented[meant(policy, plan, world, bound)[presented]]
                people = policy.unit == "person"
                counts.append(len(found) if people else len(np.unique(setting.household[found])))
            assert ran.coordinator[number] == Counts(tuple(each or None for each in counts))
