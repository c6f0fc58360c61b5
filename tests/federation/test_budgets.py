"""Budgets count runs, whatever is asked: bisections by bounds, parameters and the recipient's own amounts stop."""

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from fakes.federation import Federation, Given, csv_text

from veilmatch_coordinator.errors import NodeFailedError, WaitingForApprovalError
from veilmatch_crypto import Vault
from veilmatch_node.errors import BudgetSpentError
from veilmatch_node.rights import Rules
from veilmatch_node.store import SCHEMA, NodeStore
from veilmatch_node.store.desk import DeskStore, Limit
from veilmatch_policy.budgets import Cost
from veilmatch_transport import shared_engine

CATALOG = """
department: {name}
tables:
  people:
    source: people.csv
    id: number
    identifier: opaque
    columns:
      v_{name}: {{type: integer, missing: 0, range: [0, 100]}}
      {name}_monthly: {{type: integer, missing: 0, range: [0, 10], expression: "v_{name} / 12"}}
      {name}_other: {{type: integer, missing: 0}}
"""
TOTAL = """
policy: poor
recipient: social
parameters: {line: {value: 8, allow: [1, 9]}}
conditions:
  poor: {total: {tax: "v_tax", social: "v_social"}, below: ":line"}
  here: {department: housing, where: "v_housing > 5"}
"""
NOW = datetime(2026, 3, 1, tzinfo=UTC)
YEARLY = Limit("runs", "year", 2)


def department(name):
    rows = [(f"p{number}", str(number % 10), "0") for number in range(30)]
    header = ("number", f"v_{name}", f"{name}_other")
    return Given(CATALOG.format(name=name), {"people.csv": csv_text(header, rows)})


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """Each column may be asked once an epoch, and one run was."""
    departments = {name: department(name) for name in ("housing", "social", "tax")}
    once = Rules(runs_an_epoch=1, runs_a_year=5, epsilon_a_year=Decimal(1))
    home = tmp_path_factory.mktemp("budgets")
    with Federation(home, departments, officers=once, dealer=True) as made:
        made.link()
        ask(made, TOTAL)
        yield made


def ask(federation, policy):
    """Run a policy that all officers approve."""
    with pytest.raises(WaitingForApprovalError):
        federation.run(policy)
    federation.decide()
    federation.run(policy)


def refused(federation, policy):
    """What a node says of a policy that all officers approve, and of which nothing is evaluated."""
    with pytest.raises((WaitingForApprovalError, NodeFailedError)) as caught:
        federation.run(policy)
    if caught.errisinstance(WaitingForApprovalError):
        federation.decide()
        with pytest.raises(NodeFailedError) as caught:
            federation.run(policy)
    return str(caught.value)


@pytest.mark.parametrize(
    ("was", "is_"),
    [
        ("v_housing > 5", "v_housing > 6"),  # another bound
        ("v_housing > 5", "v_housing + 1 > 6"),  # the same one
        ("v_housing > 5", "housing_monthly > 0"),  # another column from the same source
        ("value: 8", "value: 4"),  # the total's bound, within what is approved
        ('below: ":line"', "below: 7"),
    ],
)
def test_a_bisection_meets_the_budget(federation, was, is_):
    assert was in TOTAL
    said = refused(federation, TOTAL.replace(was, is_))
    assert "1 of 1 in this epoch are gone" in said
    assert "for social" in said


def test_a_bisection_by_the_recipients_own_amounts_meets_the_budget(federation):
    social = federation.nodes["social"]
    rows = [(f"p{number}", "3", "0") for number in range(30)]
    (social.folder / "people.csv").write_text(csv_text(("number", "v_social", "social_other"), rows))
    assert "1 of 1 in this epoch are gone" in refused(federation, TOTAL)


def test_what_is_left_is_shown_and_logged(federation):
    tax = federation.nodes["tax"]
    lines = {(line.what, line.receiver, line.window): (line.spent, line.limit) for line in tax.desk.budgets()}
    assert lines == {("people.v_tax", "social", "epoch"): (1, 1), ("people.v_tax", "social", "year"): (1, 5)}
    started = [record.body for record in tax.log.records() if record.body["action"] == "started"]
    [debits] = [body["debits"] for body in started]
    assert {(debit["what"], debit["window"], debit["spent"], debit["limit"]) for debit in debits} == {
        ("people.v_tax", "epoch", 1, 1),
        ("people.v_tax", "year", 1, 5),
    }


def test_other_columns_have_their_own_runs(federation):
    policy = """
policy: other
recipient: social
conditions:
  here: {department: housing, where: "housing_other = 0"}
  there: {department: tax, where: "tax_other = 0"}
"""
    ask(federation, policy)
    assert len(federation.eligible("other")) == 30


def test_of_a_job_that_counts_epsilon_is_taken_everywhere(federation):
    count = TOTAL.replace("poor\n", "count\n", 1).replace("v_", "") + "reveal: count\nepsilon: 2\n"
    count = (
        count.replace('"tax"', '"tax_other"')
        .replace('"social"', '"social_other"')
        .replace("housing > 5", "housing_other = 0")
    )
    said = refused(federation, count)
    assert "its data for office: the job takes 2 epsilon, 0 of 1 in this year are gone" in said


# The store.


@pytest.fixture
def store(store_address):
    made = NodeStore(store_address, Vault(bytes(32)))
    yield made
    made.close()


def debit(desk, number, when=NOW, what="people.v"):
    cost = Cost("runs", what, "social", 1)
    return desk.debit(bytes([number]) * 32, b"e" * 32, now=when, approvals=[], costs=[cost], limits=[YEARLY])


def test_of_two_jobs_that_race_for_the_last_unit_one_is_refused(store):
    debit(store.desk, 0)
    gate, outcomes = threading.Barrier(8), []

    def race(number):
        gate.wait()
        try:
            debit(store.desk, number)
            outcomes.append("debited")
        except BudgetSpentError:
            outcomes.append("refused")

    threads = [threading.Thread(target=race, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["debited"] + ["refused"] * 7


def test_a_year_rolls_and_a_refused_job_takes_nothing(store):
    debit(store.desk, 0, NOW)
    debit(store.desk, 1, NOW + timedelta(days=10))
    with pytest.raises(BudgetSpentError, match="2 of 2 in this year are gone"):
        debit(store.desk, 2, NOW + timedelta(days=364))
    debit(store.desk, 3, NOW + timedelta(days=366))
    assert store.desk.next_free(Cost("runs", "people.v", "social", 1), now=NOW + timedelta(days=366)) == (
        NOW + timedelta(days=375)
    )


def test_what_was_debited_is_there_for_whoever_opens_the_store_beside(store, store_address):
    """As the officer's command line does, and a node after a crash: nothing of it is in the store's memory."""
    debit(store.desk, 0)
    debit(store.desk, 1)
    beside = shared_engine(store_address, SCHEMA)
    with pytest.raises(BudgetSpentError):
        debit(DeskStore(beside), 2)
    beside.dispose()


def test_a_new_epoch_has_its_own_runs(store):
    cost, once = Cost("runs", "people.v", "social", 1), [Limit("runs", "epoch", 1)]

    def ask_in(number, epoch):
        store.desk.debit(bytes([number]) * 32, epoch, now=NOW, approvals=[], costs=[cost], limits=once)

    ask_in(0, b"e" * 32)
    with pytest.raises(BudgetSpentError, match="1 of 1 in this epoch are gone"):
        ask_in(1, b"e" * 32)
    ask_in(2, b"f" * 32)


def test_epsilon_is_added_up_exactly_beyond_32_bits(store):
    """In millionths, 3000 is more than a short integer of a database holds."""
    cost, most = Cost("epsilon", "", "office", 3_000_000_000), [Limit("epsilon", "year", 10**10)]
    for number in range(3):
        spent = store.desk.debit(
            bytes([number]) * 32, b"e" * 32, now=NOW, approvals=[], costs=[cost], limits=most
        )[1]
    assert [type(line.spent) for line in spent] == [int]
    assert spent[0].spent == 9_000_000_000
    assert store.desk.budgets(now=NOW) == [Cost("epsilon", "", "office", 9_000_000_000)]
