"""What the officers read: golden texts."""

# ruff: noqa: E501  a message is read, and searched for, on one line

from policy_world import POLICE, POLICY, REFERENCE_DATE, TAX, catalogs, changed, policy

from veilmatch_policy.check import check_policy
from veilmatch_policy.words import learned_in_words, plan_in_words

PLAN = """\
police: reads age (table residents), alive (table residents); computes one yes/no a person (pensioner: age >= 65 AND alive); sends one masked 40-bit number a slot
tax: reads wage_year (table income); computes one yes/no a person (low-wage: wage_year < :line with line = 7200.50, approved from 6000 to 9000); sends one masked 40-bit number a slot
social (recipient): reads pension_month (table pensions); asks about its people with pension_month > 0 (at most 50000); sends no answer; keeps those whose slot opens to 0 and who fulfil small-pension: pension_month < 1000"""

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
    assert "\n".join(plan_in_words(check_policy(policy(), catalogs()))) == PLAN


def test_learned() -> None:
    assert "\n".join(learned_in_words(check_policy(policy(), catalogs()), REFERENCE_DATE)) == LEARNED


SMALLEST = """\
policy: smallest
recipient: social
conditions:
  low-wage: {department: tax, where: "wage_year\\n < 5"}
"""


def test_one_department_and_no_condition_of_the_recipient() -> None:
    alone = catalogs(tax=changed(TAX, "range: [0, 5000000]}", "range: [0, 5000000], alone: approval}"))
    checked = check_policy(policy(SMALLEST), alone)
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
        lines = learned_in_words(check_policy(policy(text), catalogs(police=police)), REFERENCE_DATE)
        return any(line.startswith(f"social (recipient): that {department} knows") for line in lines)

    assert shows("police")
    assert not shows("tax")  # a missing wage is 0
    # Where a stranger passes, an answer does not tell who is known.
    text = changed(POLICY, "age >= 65 AND alive", "age >= 65")
    assert not shows("police", ("age: {type: integer,", "age: {type: integer, missing: 99,"), text=text)
    assert not shows("police", text=changed(text, '"age >= 65"', '"age >= 65"\n    unknown: pass'))
