"""What the officers read of a policy before they sign: golden texts of plan, cost, and what each party learns."""

# ruff: noqa: E501  a message is read, and searched for, on one line

from policy_world import POLICE, POLICY, REFERENCE_DATE, SOCIAL, TAX, catalogs, changed, policy

from veilmatch_policy.check import check_policy
from veilmatch_policy.words import cost_in_words, learned_in_words, plan_in_words

PLAN = """\
police: reads age (table residents), alive (table residents); computes one yes/no a person (pensioner: age >= 65 AND alive); sends one masked 40-bit number a slot
tax: reads wage_year (table income); computes one yes/no a person (low-wage: wage_year < :line with line = 7200.50, approved from 6000 to 9000); sends one masked 40-bit number a slot
social (recipient): reads pension_month (table pensions); asks about its people with pension_month > 0 (at most 50000); computes for itself small-pension: pension_month < 1000; sends no answer; keeps those whose slot opens to 0 and who fulfil small-pension"""

LEARNED = """\
social (recipient): of its people with pension_month > 0 (at most 50000), who fulfils all of pensioner (police), low-wage (tax), also for those who do not fulfil its own conditions
social (recipient): that police knows whoever fulfils all of it; exactly who is in police, where what is asked is true of everyone there
social (recipient): more people's answers, if it inserts identities, up to its quota
coordinator: the policy, the sizes of the tables, which pseudonyms occur in which departments, and which of them social asks about; no identity, value or answer, not who or how many match
police: the policy and who takes part, the number of slots and of social's people; no answer, no result, not who else knows its people
tax: the policy and who takes part, the number of slots and of social's people; no answer, no result, not who else knows its people
coordinator and social together: who fulfils all of what is asked, among everybody linked; which departments know the people of social
social and all of police, tax but one together: the answer of that one
any department and the coordinator together: which departments know its people"""


def test_plan() -> None:
    assert "\n".join(plan_in_words(check_policy(policy(), catalogs(), REFERENCE_DATE))) == PLAN


def test_learned() -> None:
    assert (
        "\n".join(learned_in_words(check_policy(policy(), catalogs(), REFERENCE_DATE), REFERENCE_DATE))
        == LEARNED
    )


SMALLEST = """\
policy: smallest
recipient: social
conditions:
  low-wage: {department: tax, where: "wage_year\\n < 5"}
"""


def test_one_department_and_no_condition_of_the_recipient() -> None:
    alone = catalogs(tax=changed(TAX, "range: [0, 5000000]}", "range: [0, 5000000], alone: approval}"))
    checked = check_policy(policy(SMALLEST), alone, REFERENCE_DATE)
    assert plan_in_words(checked) == (
        "tax: reads wage_year (table income); computes one yes/no a person (low-wage: wage_year < 5); sends one masked 40-bit number a slot",
        "social (recipient): reads no column; asks about all of its people; sends no answer; keeps those whose slot opens to 0",
    )
    learned = learned_in_words(checked, REFERENCE_DATE)
    assert learned[:2] == (
        "social (recipient): of all of its people, who fulfils all of low-wage (tax)",
        "social (recipient): the answer of tax, the only department asked",
    )
    assert not any("but one together" in line for line in learned)


def test_membership_shows_exactly_where_a_stranger_fails() -> None:
    def shows(department: str, *catalog_changes: tuple[str, str], text: str = POLICY) -> bool:
        police = POLICE
        for old, new in catalog_changes:
            police = changed(police, old, new)
        checked = check_policy(policy(text), catalogs(police=police), REFERENCE_DATE)
        lines = learned_in_words(checked, REFERENCE_DATE)
        return any(line.startswith(f"social (recipient): that {department} knows") for line in lines)

    assert shows("police")
    assert not shows("tax")  # a missing wage is 0
    # Where a stranger passes, an answer does not tell who is known.
    text = changed(POLICY, "age >= 65 AND alive", "age >= 65")
    assert not shows("police", ("age: {type: integer,", "age: {type: integer, missing: 99,"), text=text)
    assert not shows("police", text=changed(text, '"age >= 65"', '"age >= 65"\n    unknown: pass'))


OWN_FORMULAS = """\
policy: own-formulas
recipient: social
conditions:
  old: {department: police, where: "age >= 65"}
  alive: {department: police, where: "alive", unknown: fail}
  low-wage: {department: tax, where: "wage_year < 5"}
  small: {department: social, where: "pension_month < 1000"}
  none: {department: social, where: "pension_month IS NULL"}
eligible: "(old OR NOT alive) AND low-wage AND (small OR none)"
"""


def test_what_one_department_says_by_itself_is_its_part_of_the_formula() -> None:
    checked = check_policy(policy(OWN_FORMULAS), catalogs(), REFERENCE_DATE)
    assert learned_in_words(checked, REFERENCE_DATE)[0] == (
        "social (recipient): of all of its people, who fulfils all of old OR NOT alive (police), low-wage (tax), also for "
        "those who do not fulfil its own conditions"
    )
    assert plan_in_words(checked)[-1].endswith(
        "keeps those whose slot opens to 0 and who fulfil small OR none"
    )
    assert cost_in_words(checked) == (
        "linear: 1 sum of 2 contributions, opened slot by slot",
        "about 64 microseconds and 38 bytes a slot, all parties together, at 3072 bits",
    )


HOUSEHOLDS = """\
policy: households
recipient: social
unit: household
household: {department: police, column: household_id}
parameters: {line: {value: 9000, allow: [6000, 9500]}}
conditions:
  old: {department: police, where: "max(age) >= 65"}
  no-wage: {department: tax, where: "wage_year = 0", members: every}
  low:
    total: {tax: "wage_year", social: "coalesce(pension_month, 0)"}
    below: ":line"
    per_member: true
eligible: "old AND (no-wage OR low)"
"""

HOUSEHOLDS_PLAN = """\
police: reads age (table residents); computes one value a household (old: max(age) >= 65); sends one masked 40-bit number a slot
tax: reads wage_year (table income); computes one yes/no a person (no-wage: wage_year = 0, every member); one amount a person (low: wage_year); sends 2 masked 40-bit numbers a slot, amounts among them
social (recipient): reads pension_month (table pensions); asks about all of its people; computes for itself low: coalesce(pension_month, 0); sends no answer; opens shares, and keeps those whose result is opened to it
social and the coordinator: compute on shares old AND (no-wage OR low); low: the household's sum below line = 9000, approved from 6000 to 9500 for each member
police (household register): tells the coordinator a fresh random label of each slot's household (column household_id, at most 20 members)
dealer (dealer): a process of its own, without data; sends random numbers to social and the coordinator"""

HOUSEHOLDS_LEARNED = """\
social (recipient): of all of its people, whose household is eligible, by the whole formula; of all others nothing more
social (recipient): which of its people in eligible households share one
social (recipient): how many households there are of each size
social (recipient): more people's answers, if it inserts identities, up to its quota
coordinator: the policy, the sizes of the tables, which pseudonyms occur in which departments, and which of them social asks about; who lives with whom, by pseudonym; no identity, value or answer, not who or how many match
police: the policy and who takes part, the number of slots and of social's people, what the others' catalogs declare of amounts; no answer, no result, not who else knows its people
tax: the policy and who takes part, the number of slots and of social's people, what the others' catalogs declare of amounts; no answer, no result, not who else knows its people
dealer (dealer): the policy, the number of slots, households and people asked about
coordinator and social together: every sum of the policy, of everybody linked; which departments know the people of social, and their households
coordinator and dealer together: every step of the circuit, hence who matches, by pseudonym
social and dealer together: every step of the circuit and all households, by slot
social and all of police, tax but one together: what the result says of that one
any department and the coordinator together: which departments know its people"""


def test_households() -> None:
    ranged = catalogs(social=changed(SOCIAL, "{type: decimal(2)}", "{type: decimal(2), range: [0, 9000]}"))
    checked = check_policy(policy(HOUSEHOLDS), ranged, REFERENCE_DATE)
    assert "\n".join(plan_in_words(checked)) == HOUSEHOLDS_PLAN
    assert "\n".join(learned_in_words(checked, REFERENCE_DATE)) == HOUSEHOLDS_LEARNED
    assert cost_in_words(checked)[0] == (
        "circuit: 3 sums of 3 contributions, opened into shares; 1 comparison, 1 test for zero, "
        "3 vectors brought into household order"
    )


COUNT = """\
policy: counted
recipient: social
reveal: count
dealer: dealer
conditions:
  old: {department: police, where: "age >= 65"}
  low: {total: {tax: "wage_year"}, at_most: 9000}
vary: {low: [9000, 9500]}
"""


def test_a_count_for_several_bounds() -> None:
    checked = check_policy(policy(COUNT), catalogs(), REFERENCE_DATE)
    plan, learned = plan_in_words(checked), learned_in_words(checked, REFERENCE_DATE)
    assert plan[-3].endswith("sends no answer; opens shares, and helps to count")
    assert plan[-2] == (
        "social and the coordinator: compute on shares old AND low; low: the sum at most each of 9000, 9500"
    )
    assert learned[0] == "social (recipient): no answer; the coordinator receives the count"
    assert learned[2].endswith(
        "; how many people are eligible for each of 2 bounds, where at least 10 are, exactly: whoever submits two policies "
        "that differ in one person learns that person's answer; no identity, value or answer, not who matches"
    )
    # Nobody lives with anybody here, and nobody but the coordinator is told a number.
    assert not any("household" in line for line in (*plan, *learned))
    assert not any("but one together" in line for line in learned)
    assert cost_in_words(checked)[0] == (
        "circuit: 2 sums of 2 contributions, opened into shares; 2 comparisons, 0 tests for zero, "
        "0 vectors brought into household order"
    )
    noisy = check_policy(policy(COUNT + "epsilon: 0.5\nmin_count: 20\n"), catalogs(), REFERENCE_DATE)
    assert (
        "where at least 20 are, with noise of both parties for epsilon 0.5 each;"
        in (learned_in_words(noisy, REFERENCE_DATE)[2])
    )


def test_the_only_department_of_a_circuit() -> None:
    alone = catalogs(tax=changed(TAX, "range: [0, 5000000]}", "range: [0, 5000000], alone: approval}"))
    text = changed(SMALLEST, 'where: "wage_year\\n < 5"', 'where: "wage_year < 5"')
    text += '  poor: {department: social, where: "pension_month < 5"}\neligible: low-wage OR poor\n'
    learned = learned_in_words(check_policy(policy(text), alone, REFERENCE_DATE), REFERENCE_DATE)
    assert learned[1] == (
        "social (recipient): what tax, the only department asked, answers, where its own data leave it open"
    )
