"""What a data officer is asked, in words: facts, what leaves, other departments' decisions, columns, differences."""

from datetime import UTC, date, datetime

from policy_world import POLICY, REFERENCE_DATE, TAX, catalogs, changed, policy

from veilmatch_crypto import IdentityKey
from veilmatch_policy.approvals import Decision, Request, sign_decision
from veilmatch_policy.check import check_policy
from veilmatch_policy.words import (
    Change,
    asked_in_words,
    columns_read,
    decisions_in_words,
    differences,
    leaves_in_words,
    stale_in_words,
    text_difference,
)

REQUEST = Request(
    federation="00" * 32,
    department="tax",
    policy="top-up",
    version=1,
    content="11" * 32,
    catalog="22" * 32,
    recipient="social",
    participants=("police", "social", "tax"),
    dealers=(),
    linkage="oprf",
    slots="union",
    reveal="members",
    purpose="relief",
)


def facts(text=POLICY, request=REQUEST, purposes=()):
    return {fact.name: fact.said for fact in asked_in_words(request, policy(text), dict(purposes))}


def test_everything_that_is_signed_is_said():
    assert facts() == {
        "Purpose": "Elderly Income Supplement Act, section 12",
        "Recipient": "social",
        "People asked about": "its people with pension_month > 0 (at most 50000)",
        "What is revealed": "to the recipient, who of its people is eligible",
        "Departments that take part": "police, social, tax",
        "How people are matched": "OPRF: nobody can test an identity without the trustees",
        "Whose people have slots": (
            "the people of all departments; the coordinator learns, by pseudonym, who is in which department"
        ),
        "Reference date": "2025-12-31",
        "Parameters": "line = 7200.50, approved from 6000 to 9000 (Decree 14)",
    }


def test_what_is_said_of_counts_modes_and_codes():
    coded = changed(
        POLICY, "purpose: Elderly Income Supplement Act, section 12", "purpose: {code: relief, law: An Act}"
    )
    request = REQUEST.model_copy(update={"linkage": "shared-key", "slots": "register", "dealers": ("audit",)})
    said = facts(
        f"{coded}reveal: count\nepsilon: 0.5\nmin_count: 20\n", request, {"relief": "Hardship"}.items()
    )
    assert said["Purpose"] == "code relief (Hardship); An Act"
    assert said["What is revealed"] == "to the coordinator, how many are eligible; to the recipient nothing"
    assert said["Smallest count that is told"] == "20"
    assert said["Noise"] == "of both parties, for epsilon 0.5"
    assert said["Who may deal random numbers"] == "audit"
    assert said["How people are matched"].startswith("shared key: any one department")
    assert said["Whose people have slots"].startswith("the people of the register")
    assert facts(coded)["Purpose"] == "code relief, which the directory does not list; An Act"
    assert facts(f"{POLICY}reveal: count\n")["Noise"] == "none: the count is exact"
    unstated = changed(POLICY, "purpose: Elderly Income Supplement Act, section 12\n", "")
    assert facts(unstated)["Purpose"] == "none is stated"


def test_what_leaves_and_under_whose_key():
    checked = check_policy(policy(), catalogs(), REFERENCE_DATE)
    [line] = leaves_in_words(checked, "tax")
    assert line.startswith(
        "to the coordinator: one masked 40-bit number a slot, encrypted under a key that social makes for this job;"
    )
    [line] = leaves_in_words(checked, "social")
    assert line == (
        "to the coordinator: which slots are asked about (its people with pension_month > 0 (at most 50000)); "
        "no answer and no value"
    )
    assert leaves_in_words(checked, "audit") == ("nothing",)


def test_what_other_officers_decided():
    def signed(name, kind, **said):
        request = REQUEST.model_copy(update={"department": name})
        decided = datetime(2026, 1, 5, tzinfo=UTC)
        decision = Decision(kind=kind, name="ab" * 16, request=request, decided=decided, by="officer", **said)
        return sign_decision(decision, IdentityKey.generate())

    def said(*others):
        return [(fact.name, fact.said) for fact in decisions_in_words(REQUEST, others)]

    assert said() == [("police", "no decision is known here"), ("social", "no decision is known here")]
    assert said(
        signed("police", "approve", expires=datetime(2026, 12, 31, tzinfo=UTC), runs=3),
        signed("social", "refuse", reason="too\nbroad"),
    ) == [
        ("police", "approved on 2026-01-05, until 2026-12-31, for 3 jobs"),
        ("social", "refused on 2026-01-05: too broad"),
    ]
    revoked = signed("police", "revoke", reason="repealed", revokes="33" * 32)
    assert said(revoked)[0] == ("police", "revoked on 2026-01-05: repealed")


def test_columns_and_how_fresh_they_are():
    checked = check_policy(policy(), catalogs(), REFERENCE_DATE)
    [wage] = columns_read(checked, "tax", date(2026, 2, 14))
    assert (wage.column.name, wage.column.table, wage.stale) == ("wage_year", "income", False)
    assert wage.fresh == "describes 2025-12-31, 45 days ago; a run refuses it after 45 days"
    [wage] = columns_read(checked, "tax", date(2026, 2, 15))
    assert wage.stale
    assert stale_in_words(checked, date(2026, 2, 15)) == (
        "tax: table income describes 2025-12-31, 46 days ago; a run refuses it after 45",
    )
    assert {row.fresh for row in columns_read(checked, "police", date(2026, 2, 15))} == {
        "the catalog does not say which day the table describes"
    }
    asks = changed(POLICY, 'where: "wage_year < :line"', 'where: "sum(paid) < :line"')
    unlimited = changed(TAX, "    stale_after: 45d\n", "")
    [paid] = columns_read(check_policy(policy(asks), catalogs(), REFERENCE_DATE), "tax", date(2026, 2, 15))
    assert (paid.fresh, paid.stale) == ("the database says which day the table describes", False)
    [wage] = columns_read(
        check_policy(policy(), catalogs(tax=unlimited), REFERENCE_DATE), "tax", date(2026, 2, 15)
    )
    assert (wage.fresh, wage.stale) == ("describes 2025-12-31, 46 days ago", False)


def test_the_difference_names_each_entry():
    text = changed(POLICY, "version: 1", "version: 2")
    text = changed(text, "age >= 65 AND alive", "age >= 60 AND alive")
    text = changed(text, "allow: [6000, 9000]", "allow: [6000, 9500]")
    text = changed(
        text,
        '  small-pension:\n    department: social\n    where: "pension_month < 1000"\n',
        '  known:\n    department: social\n    where: "pension_month < 900"\n',
    )
    text = changed(text, "among_at_most: 50000\n", "")
    before, after = policy(), policy(f"# a comment\n{text}")
    assert differences(before, after) == (
        Change("changed", "version", "1", "2"),
        Change(
            "changed",
            "parameters.line",
            "value: 7200.50\nallow: [6000, 9000]\nlaw: Decree 14",
            "value: 7200.50\nallow: [6000, 9500]\nlaw: Decree 14",
        ),
        Change(
            "changed",
            "conditions.pensioner",
            "department: police\nwhere: age >= 65 AND alive",
            "department: police\nwhere: age >= 60 AND alive",
        ),
        Change("added", "conditions.known", "", "department: social\nwhere: pension_month < 900"),
        Change("removed", "among_at_most", "50000", ""),
        Change("removed", "conditions.small-pension", "department: social\nwhere: pension_month < 1000", ""),
    )
    lines = text_difference(before, after)
    assert lines[:2] == ("--- top-up 1", "+++ top-up 2")
    assert "+# a comment" in lines
    assert '-    where: "age >= 65 AND alive"' in lines


def test_nothing_differs_but_comments():
    assert differences(policy(), policy(f"# a comment\n{POLICY}")) == ()
    assert differences(policy(), policy()) == ()
    assert text_difference(policy(), policy()) == ()
