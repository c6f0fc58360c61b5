"""Shows that what once went wrong in a simulated federation does so no more; each as the operations that showed it."""

from simulation.faults import KILL, LOSE, Fault
from simulation.operations import Arm, Run, Tick, Work
from simulation.people import Question, Spec

SPEC = Spec(3, 12, 2)
LINEAR = Run(((Question("where", 0, (1, 2), 14),),))
CIRCUIT = Run(((Question("total", 0, (1, 2), 33),),))
COUNT = Run(((Question("count", 0, (1, 2), 33),),))
A_WEEK = 60 * 24 * 8


def test_a_node_that_is_told_twice_to_close_gives_its_records_twice(replayed):
    # The third "done" of the recipient ends its closing; the first package had no records of it.
    lost = Arm(Fault(LOSE, "d0", "done", 3))
    assert replayed(SPEC, lost, LINEAR, Work()) == [("complete", "")]


def test_evidence_of_a_node_that_never_came_back_to_close_verifies(replayed):
    away = Arm(Fault(KILL, "d1", "close", 1, 10**6))
    assert replayed(SPEC, away, LINEAR, Tick(A_WEEK), Work()) == [("complete", "")]


def test_evidence_of_a_coordinator_killed_between_two_files_of_a_chunk_verifies(replayed):
    # The contribution and B are there, the product is not.
    killed = Arm(Fault(KILL, "office", "file:0-0.bin", 3))
    [(state, _)] = replayed(SPEC, killed, Run(((Question("where", 1, (0,), 18),),)))
    assert state == "failed"


def test_a_node_forgets_whose_turn_it_was_in_a_job_that_nobody_closed(replayed):
    killed = Arm(Fault(KILL, "office", "conclude"))
    [(first, _), (second, _)] = replayed(SPEC, killed, LINEAR, Tick(A_WEEK), LINEAR)
    assert (first, second) == ("failed", "complete")
