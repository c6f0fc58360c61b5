"""Three departments whose jobs have several chunks, lines that are cut, and what is then held against the logs."""

from collections import Counter
from contextlib import contextmanager
from types import SimpleNamespace

from fakes.federation import COORDINATOR, Federation, Given, csv_text, tap_on

from veilmatch_coordinator import drafting
from veilmatch_coordinator import slots as slots_module
from veilmatch_evidence.actions import Contributed, Delivered, Opened, Presented, Received
from veilmatch_evidence.replay import replay

CATALOG = """
department: {name}
tables:
  people:
    source: people.csv
    id: number
    identifier: opaque
    columns:
      v_{name}: {{type: integer, range: [0, 100], release: open, missing: 0}}
"""
LINEAR = """
policy: aid
recipient: tax
conditions:
  rent: {department: housing, where: "v_housing < 8"}
  here: {department: police, where: "v_police < 8"}
"""
CIRCUIT = """
policy: sums
recipient: tax
conditions:
  little: {total: {housing: v_housing, police: v_police}, below: 16}
"""
ROWS = [(f"p{number}", str(number)) for number in range(20)]
ELIGIBLE = sorted(f"p{number}" for number in range(8))
CHUNKS = 12


@contextmanager
def several_chunks(tmp_path, monkeypatch):
    """Chunks of one ciphertext of 40 people, so that there are several; whoever is lost has a minute to come back."""
    dummies = SimpleNamespace(randbelow=lambda _bound: 40 * CHUNKS - len(ROWS))
    monkeypatch.setattr(slots_module, "secrets", dummies)
    monkeypatch.setattr(drafting, "CHUNK_CIPHERTEXTS", 1)
    departments = {
        name: Given(CATALOG.format(name=name), {"people.csv": csv_text(("number", f"v_{name}"), ROWS)})
        for name in ("housing", "police", "tax")
    }
    with Federation(tmp_path, departments, dealer=True, reconnect_wait=60) as made:
        made.link()
        yield made


def once(action):
    """A tap's change that is made at the first message it is asked of."""
    done = []

    def change(passing):
        if done:
            return None
        answer = action(passing)
        if answer is not None:
            done.append(True)
        return answer

    return change


def cut_at(federation, body, node, wanted=lambda _content: True, *, crash=False, deliver=False):
    """The line of a node is lost, once, at a message; with ``crash`` its process too."""

    def cut(passing):
        if not wanted(passing.content):
            return None
        if crash:
            federation.network.away.add(node)
        federation.network.cut(node)
        if crash:
            federation.nodes[node].crash()
            federation.network.away.clear()
        return [passing.message] if deliver else []

    return tap_on(body, once(cut), node=node)


def said(federation, name, kind):
    """What a party recorded of one kind."""
    log = federation.log if name == COORDINATOR else federation.nodes[name].log
    records = (record.read() for record in log.records())
    return [read[1] for read in records if read is not None and isinstance(read[1], kind)]


def finished(federation, policy="aid"):
    """The right answer, everything recorded once, and evidence that holds."""
    assert federation.eligible(policy) == ELIGIBLE
    places = [(0, chunk) for chunk in range(CHUNKS)]
    for name in ("housing", "police"):
        assert sorted((each.outcome, each.chunk) for each in said(federation, name, Contributed)) == places
    assert Counter(each.department for each in said(federation, COORDINATOR, Received)) == {
        "housing": CHUNKS,
        "police": CHUNKS,
    }
    assert [(each.outcome, each.chunk) for each in said(federation, "tax", Opened)] == places
    assert len(said(federation, "tax", Presented)) == len(said(federation, "tax", Delivered)) == 1
    [job] = replay(federation.evidence)
    assert job.status == "complete"
