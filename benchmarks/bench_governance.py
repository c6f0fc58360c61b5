"""What approvals, budgets, logs and digests cost of a 200,000-person run (at most 5 per cent; docs/performance.md).

One federation in this process, six departments; the time inside the governed steps is taken as they run, over
that of the whole job, so that the machine's noise is in both; waiting for the interpreter counts as theirs.
"""

import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from functools import wraps

import pytest
from fakes.federation import Federation, Given, csv_text

from veilmatch_evidence.log import EvidenceLog
from veilmatch_evidence.package import PackageWriter
from veilmatch_node.rights import Rights, Rules
from veilmatch_node.store import DeskStore

PEOPLE = 200_000
NAMES = ("civil", "health", "housing", "police", "social", "tax")
MOST = 0.05
STEPS = {
    "approvals": (Rights, ("require", "require_still")),
    "budgets": (DeskStore, ("debit",)),
    "log": (EvidenceLog, ("append", "of_job")),
    "package and digests": (PackageWriter, ("put", "contribution", "combined", "finish")),
}
CATALOG = """
department: {name}
tables:
  people:
    source: people.csv
    id: number
    identifier: opaque
    columns:
      v_{name}: {{type: integer, missing: 0}}
"""
POLICY = "policy: aid\nrecipient: social\nconditions:\n" + "".join(
    f'  c-{name}: {{department: {name}, where: "v_{name} < 8"}}\n' for name in NAMES if name != "social"
)


@contextmanager
def timed(monkeypatch):
    """Seconds inside the governed steps, by what they are for; a step within a step counts once."""
    seconds, own = defaultdict(float), threading.local()

    def watch(what, call):
        @wraps(call)
        def watched(*args, **kwargs):
            inside = own.__dict__.setdefault("inside", [])
            inside.append(what)
            began = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                took = time.perf_counter() - began
                inside.pop()
                seconds[what] += took
                if inside:
                    seconds[inside[-1]] -= took

        return watched

    for what, (owner, names) in STEPS.items():
        for name in names:
            monkeypatch.setattr(owner, name, watch(what, getattr(owner, name)))
    yield seconds


def test_governance_of_200_000_people(tmp_path, monkeypatch):
    rows = [(f"p{number}", str(number % 10)) for number in range(PEOPLE)]
    given = {
        name: Given(CATALOG.format(name=name), {"people.csv": csv_text(("number", f"v_{name}"), rows)})
        for name in NAMES
    }
    with Federation(tmp_path, given, officers=Rules()) as federation:
        federation.link()
        with pytest.raises(Exception, match="have not approved"):
            federation.run(POLICY)
        federation.decide()
        with timed(monkeypatch) as seconds:
            began = time.perf_counter()
            federation.run(POLICY)
            whole = time.perf_counter() - began
    for what, took in sorted(seconds.items()):
        print(f"{what}: {took:.2f} s, {took / whole:.2%} of {whole:.1f} s")
    assert sum(seconds.values()) <= MOST * whole
