"""What approvals, budgets, logs and digests cost of a 200,000-person run (at most 5 per cent; docs/performance.md).

One federation in this process, six departments.  Of the governed steps, in their own threads, the CPU is taken as
they run, and their fsyncs are counted and timed alone: inside a process that is busy they would wait for its
interpreter, which a federation of processes does not.  All of that over the time of the whole job.
"""

import os
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
def watched(monkeypatch):
    """CPU seconds of the governed steps, by what they are for (a step within a step counts once), and their fsyncs."""
    seconds, own, synced = defaultdict(float), threading.local(), []
    sync = os.fsync

    def watch(what, call):
        @wraps(call)
        def watching(*args, **kwargs):
            inside = own.__dict__.setdefault("inside", [])
            inside.append(what)
            began = time.thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                took = time.thread_time() - began
                inside.pop()
                seconds[what] += took
                if inside:
                    seconds[inside[-1]] -= took

        return watching

    for what, (owner, names) in STEPS.items():
        for name in names:
            monkeypatch.setattr(owner, name, watch(what, getattr(owner, name)))
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(file), sync(file))[1])
    yield seconds, synced
    monkeypatch.undo()


def alone(folder, times=200):
    """Seconds that an fsync of a line takes on this disk, with nothing else going on in this process."""
    file = os.open(folder / "alone", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    began = time.perf_counter()
    for _ in range(times):
        os.write(file, b"x" * 700)
        os.fsync(file)
    os.close(file)
    return (time.perf_counter() - began) / times


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
        with watched(monkeypatch) as (seconds, synced):
            began = time.perf_counter()
            federation.run(POLICY)
            whole = time.perf_counter() - began
    seconds[f"{len(synced)} fsyncs"] = len(synced) * alone(tmp_path)
    for what, took in sorted(seconds.items()):
        print(f"{what}: {took:.3f} s, {took / whole:.2%} of {whole:.1f} s")
    print(f"governance: {sum(seconds.values()) / whole:.2%}")
    assert sum(seconds.values()) <= MOST * whole
