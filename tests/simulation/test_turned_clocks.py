"""Shows that clocks up to five minutes apart do no harm, and that one further off is named."""

from simulation.operations import Link, Run, Skew
from simulation.people import Question, Spec

SPEC = Spec(3, 12, 2)
LINEAR = Run(((Question("where", 0, (1, 2), 14),),))


def test_a_clock_is_tolerated_for_five_minutes_and_named_beyond(replayed):
    tolerated, named = (Skew("d1", 290), LINEAR), (Skew("d1", 310), LINEAR, Link())
    behind = (Skew("d1", -310), LINEAR)
    set_again = (Skew("d1", 0), Link(), LINEAR)
    ended = replayed(SPEC, *tolerated, *named, *behind, *set_again)
    assert [state for state, _ in ended] == ["complete", "failed", "failed", "complete"]
    assert "d1" in ended[1][1]
    assert "clock is 5 minutes behind this node's" in ended[1][1]
    assert "clock is 5 minutes ahead of this node's" in ended[2][1]
