"""Shows that what may happen so often happens no more often: runs, budgets, dealing, deciding, whoever asks again."""

from simulation import generation
from simulation.faults import INTERJECT, Fault
from simulation.operations import Arm, Crash, Link, Run, Tick
from simulation.people import Question, Spec

SPEC = Spec(3, 12, 2)
OFFICERS = Spec(3, 10, 7, runs=(2, 3))
LINEAR = Run(((Question("where", 0, (1, 2), 14),),))
CIRCUIT = Run(((Question("total", 0, (1, 2), 33),),))
A_YEAR = Tick(60 * 24 * 366)


def test_runs_and_budgets_are_exact_over_crashes_epochs_and_years(replayed):
    approved = generation.approvals(OFFICERS)  # for two runs, as an epoch's budget is; a year's is three
    crashed = (Crash("d1"), Crash("d2"), Crash("office"))
    first = (LINEAR, *approved, *crashed, LINEAR)
    spent = (LINEAR, *approved)
    next_epoch = (*crashed, Link(), LINEAR, *approved, LINEAR, *approved)
    next_year = (A_YEAR, LINEAR, *approved)
    ended = replayed(OFFICERS, *first, *spent, *next_epoch, *next_year)
    assert [state for state, _ in ended] == [
        "complete",
        "complete",
        "failed",
        "complete",
        "failed",
        "complete",
    ]
    assert "budget" in ended[2][1]
    assert "budget" in ended[4][1]


def test_a_dealer_that_is_asked_again_amid_the_circuits_does_not_deal_again(replayed):
    again = Arm(Fault(INTERJECT, "d0", "round", 2, at=-1))  # the last task before the rounds
    assert replayed(SPEC, again, CIRCUIT) == [("complete", "")]


def test_a_recipient_that_is_asked_again_amid_the_circuits_does_not_open_again(replayed):
    again = Arm(
        Fault(INTERJECT, "d0", "round", 2, at=-4)
    )  # before it two contributors and the dealer were asked
    assert replayed(SPEC, again, CIRCUIT) == [("complete", "")]
