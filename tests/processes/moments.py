"""Named moments of a federation's work: a fault strikes when a node begins a task, over lines slow enough to hit."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from processes.real_federation import COORDINATOR, RealFederation, real_federation
from processes.small_world import CATALOGS, PEOPLE, plain_answers, write_departments

from veilmatch.errors import JobFailedError
from veilmatch_evidence.errors import EvidenceRefusedError
from veilmatch_evidence.verify import Verified, verify
from veilmatch_transport import TransportError

LATENCY = 0.3  # seconds: what a node answers when it has begun a task comes so much later
ENDED = 120.0  # seconds that any action has, whatever happens to it
CLOSED = 60.0  # seconds that a coordinator has to close what it could not close at once
WAITED_FOR = 60  # seconds: the federation's reconnect_wait, longer than a line can hang unnoticed

# Social insurance is neither asked nor the recipient: it deals.
COUNT = """\
policy: how-many
recipient: tax
conditions:
  old: {department: police, where: "age >= 65"}
reveal: count
min_count: 1
"""
# In this town, people of one age live together.
REGISTER = CATALOGS["police"].replace(
    "    columns:\n", "    household: {column: age, at_most: 20}\n    columns:\n"
)
HOMES = """\
policy: homes
recipient: tax
unit: household
household: {department: police, column: age}
conditions:
  old: {department: police, where: "max(age) >= 65"}
"""
OLD = sum(person.wage is not None and (person.age or 0) >= 65 for person in PEOPLE)


@contextmanager
def relayed_federation(folder: Path) -> Iterator[RealFederation]:
    """Tax bureau and social insurance listen, each behind a relay; police dials the coordinator's relay."""
    write_departments(folder / "departments", police=REGISTER)
    relayed = frozenset({"tax", "social", COORDINATOR})
    with real_federation(
        folder,
        dialling=frozenset({"police"}),
        relayed=relayed,
        settings={COORDINATOR: {"reconnect_wait": WAITED_FOR}},
    ) as federation:
        federation.policies |= {"how-many": COUNT, "homes": HOMES}
        yield federation


def line_of(federation: RealFederation, name: str):
    """The relay that a node's bytes go through."""
    return federation.relays.get(name) or federation.relays[COORDINATOR]


@dataclass
class Ended:
    """What became of an action: what it gave, or the line with which it ended; how long after the fault."""

    result: object
    error: Exception | None
    seconds: float


def begun(federation: RealFederation, name: str, task: str) -> int:
    """How often a node has begun a task, as its log says."""
    return federation.log(name).count(f'"task": "{task}"')


def attached(federation: RealFederation) -> int:
    """How often a node that dials out has come to wait for work, as the coordinator's log says."""
    return federation.log(COORDINATOR).count('"attached"')


def during(
    federation: RealFederation,
    action: Callable[[], object],
    name: str,
    task: str,
    fault: Callable[[], None],
) -> Ended:
    """Begin an action, strike as soon as the node ``name`` begins ``task``, and wait for the action's end."""
    before, outcome = begun(federation, name, task), []

    def work() -> None:
        try:
            outcome.append((action(), None))
        except (JobFailedError, TransportError) as error:
            outcome.append((None, error))

    office = threading.Thread(target=work)
    line_of(federation, name).slow(latency=LATENCY)
    office.start()
    deadline = time.monotonic() + ENDED
    while begun(federation, name, task) == before:
        assert office.is_alive(), outcome
        assert time.monotonic() < deadline
        time.sleep(0.01)
    fault()
    struck = time.monotonic()
    office.join(ENDED)
    assert not office.is_alive()
    [(result, error)] = outcome
    assert error is None or "\n" not in str(error)
    return Ended(result, error, time.monotonic() - struck)


def mend(federation: RealFederation) -> None:
    """Every line is whole again, and every dialler's pause before its next attempt is over."""
    for relay in federation.relays.values():
        relay.mend()
    time.sleep(1.5)  # limits.LAST_RETRY, with gRPC's jitter


def works(federation: RealFederation) -> None:
    """A job over the newest epoch gives the plain answer."""
    assert federation.run("supplement") == plain_answers()["supplement"]


def package_of(federation: RealFederation, policy: str) -> Verified:
    """The evidence of a policy's newest job, verified; OSError where there is none yet."""
    job = next(each.job for each in federation.operator.jobs(1000) if each.policies == (policy,))
    [verified] = verify(federation.out / "evidence" / policy / job)
    return verified


def evidence_says(federation: RealFederation, policy: str, status: str) -> None:
    """Wait until the coordinator has closed a policy's newest job everywhere; its evidence verifies."""
    deadline = time.monotonic() + CLOSED
    while True:
        try:
            verified = package_of(federation, policy)
        except (EvidenceRefusedError, OSError):  # there is none yet, or not all of it
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            assert verified.status == status
            return
