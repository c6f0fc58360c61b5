"""The diagrams of docs/states.md are the tables by which the code goes."""

import re

import pytest
from repository.tree import ROOT

from veilmatch_coordinator import queue
from veilmatch_coordinator import states as at_the_coordinator
from veilmatch_node import states as at_the_node

MACHINES = {
    "A manifest at a node": at_the_node.AFTER,
    "A manifest at the coordinator": at_the_coordinator.AFTER,
    "A job in the queue": queue.AFTER,
}


def drawn(title):
    """The arrows of the diagram under a heading, without those from and to nowhere."""
    text = (ROOT / "docs" / "states.md").read_text(encoding="utf-8")
    [_, section] = text.split(f"## {title}\n")
    diagram = section.split("```mermaid\n")[1].split("```")[0]
    arrows = re.findall(r"^ +(\S+) --> (\S+)$", diagram, re.MULTILINE)
    return {"first": {b for a, b in arrows if a == "[*]"}, "last": {a for a, b in arrows if b == "[*]"}} | {
        "arrows": {(a, b) for a, b in arrows if "[*]" not in {a, b}}
    }


@pytest.mark.parametrize("title", MACHINES)
def test_the_drawing_is_the_code(title):
    table, drawing = MACHINES[title], drawn(title)
    assert drawing["arrows"] == {(str(a), str(b)) for a, after in table.items() for b in after}
    assert drawing["last"] == {str(state) for state, after in table.items() if not after}
    assert len(drawing["first"]) == 1
    states = type(next(iter(table)))
    assert set(table) == set(states)
    reached = set(drawing["first"]).union(*({str(b) for b in after} for after in table.values()))
    assert reached == {str(state) for state in states}
