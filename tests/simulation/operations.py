"""What can happen to a federation, as data, and what it does; the record of a run can be pasted as a reproduction."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from fakes.federation import COORDINATOR
from simulation.faults import Fault
from simulation.invariants import Invariants
from simulation.network import TASKS
from simulation.people import Question, Spec
from simulation.shared import SAID
from simulation.violated import holds
from simulation.world import Linked, World

from veilmatch_coordinator.queue import State
from veilmatch_policy.clock import CLOCK_DIFFERENCE

_LAST_SAID = 12  # lines of the services' logs that are shown with a violation


@dataclass(frozen=True)
class Arm:
    """Have something go wrong when its place comes."""

    fault: Fault


@dataclass(frozen=True)
class Link:
    """Link a new epoch."""

    mode: str = "shared-key"


@dataclass(frozen=True)
class Run:
    """Submit jobs, each of some questions, and run the queue; two at a time where there are two."""

    jobs: tuple[tuple[Question, ...], ...]


@dataclass(frozen=True)
class Work:
    """Run the queue again: what waited may go on; and close again what could not be closed."""


@dataclass(frozen=True)
class Decide:
    """An officer approves, refuses or revokes all there is."""

    department: int
    verdict: str
    runs: int = 2
    days: int = 30


@dataclass(frozen=True)
class Crash:
    """SIGKILL between two operations; a node then leaves so many dials unanswered."""

    party: str
    away: int = 0


@dataclass(frozen=True)
class Tick:
    """Time passes."""

    minutes: int


@dataclass(frozen=True)
class Skew:
    """A party's clock is so many seconds ahead."""

    party: str
    seconds: int


@dataclass(frozen=True)
class Rogue:
    """The coordinator begins older tasks again, in any order, on streams of their own."""

    tasks: tuple[int, ...]


@dataclass(frozen=True)
class Cancel:
    """An operator cancels whatever has not ended."""


Operation = Arm | Link | Run | Work | Decide | Crash | Tick | Skew | Rogue | Cancel


class Tally:
    """How much was simulated, over many federations."""

    def __init__(self) -> None:
        self.federations = 0
        self.faulted = 0
        self.operations = 0
        self.faults: Counter = Counter()
        self.ends: Counter = Counter()
        self.compared = 0
        self.verified = 0
        self.refused = 0

    def __str__(self) -> str:
        faults = ", ".join(f"{kind} {count}" for kind, count in self.faults.most_common())
        ends = ", ".join(f"{state} {count}" for state, count in self.ends.most_common())
        return (
            f"{self.federations} federations, {self.faulted} with faults; {self.operations} operations; "
            f"{sum(self.faults.values())} faults ({faults}); jobs: {ends}; "
            f"{self.compared} results compared, {self.verified} packages verified, {self.refused} refused"
        )


class Simulation:
    """One federation's life: operation after operation, everything checked after each."""

    def __init__(
        self, home: Path, spec: Spec, linked: Linked | None = None, tally: Tally | None = None
    ) -> None:
        self.world = World(home, spec, linked)
        self.invariants = Invariants(self.world)
        self.record: list[Operation] = []
        self.outcomes: list[object] = []
        self.happened: Counter = Counter()
        self._tally = tally
        self._linked = linked is not None  # all parties have the epoch, and nothing went wrong since
        self._counted: set[str] = set()
        self.violated = False

    def do(self, operation: Operation) -> object:
        """Do one thing and check everything.  Returns what became of it."""
        self.record.append(operation)
        before = len(self.world.faults.happened)
        all_here = self._nobody_is_away()
        with self._told():
            does: Callable = getattr(self, f"_{type(operation).__name__.lower()}")
            outcome = does(operation)
            self.world.settle()
            happened = self.world.faults.happened[before:]
            self.world.revive()
            self.world.settle()
            self.outcomes.append(outcome)
            self.happened += Counter(fault.kind for fault in happened)
            self.invariants.check(happened)
            if not happened and all_here:
                self._lively(operation, outcome)
            if isinstance(operation, Link):
                self._linked = outcome == "" and not happened
        return outcome

    def end(self) -> None:
        """Let every manifest expire, everybody come back, and see that nothing is left of any job."""
        with self._told():
            self.world.faults.disarm()
            self.world.come_back()
            self.world.time.advance(timedelta(days=8))
            self.world.close_again()
            self.world.settle()
            for node in self.world.nodes.values():
                node.jobs.close_expired()
            self.invariants.check_end()
        if self._tally is not None:
            self._tally.federations += 1
            self._tally.faulted += bool(self.happened)
            self._tally.operations += len(self.record)
            self._tally.faults += self.happened
            self._tally.ends += Counter(job.submission.state.value for job in self.world.jobs.values())
            self._tally.compared += self.invariants.compared
            self._tally.verified += self.invariants.verified
            self._tally.refused += self.invariants.refused

    def close(self) -> None:
        self.world.__exit__()

    # The operations.

    def _arm(self, operation: Arm) -> None:
        self.world.faults.arm(operation.fault)

    def _link(self, operation: Link) -> str:
        line = self.world.link(operation.mode)
        if not line:
            self.invariants.linked()
            self._counted.clear()
        return line

    def _run(self, operation: Run) -> list[str]:
        names = [self.world.submit(*questions) for questions in operation.jobs]
        self.world.work(at_once=len(names))
        return [name for name in names if name]

    def _work(self, _operation: Work) -> None:
        self.world.work()
        if not self.world.office.process.dead:
            self.world.close_again()

    def _decide(self, operation: Decide) -> int:
        department = f"d{operation.department}"
        return self.world.decide(department, operation.verdict, operation.runs, operation.days)

    def _crash(self, operation: Crash) -> None:
        self.world.crash(operation.party, operation.away)
        self.happened["kill between operations"] += 1

    def _tick(self, operation: Tick) -> None:
        self.world.time.advance(timedelta(minutes=operation.minutes))

    def _skew(self, operation: Skew) -> None:
        self.world.time.set_ahead(operation.party, timedelta(seconds=operation.seconds))
        self.happened["skewed clock"] += bool(operation.seconds)

    def _rogue(self, operation: Rogue) -> None:
        tasks = [each for each in self.world.network.sent if not each.from_node and each.body in TASKS]
        office = self.world.office.process
        for number in operation.tasks:
            if tasks:
                task = tasks[number % len(tasks)]
                self.world.network.task(office, task.node, task.message, 0.05)
        self.happened["rogue task"] += bool(tasks)
        self._linked = False

    def _cancel(self, _operation: Cancel) -> None:
        for job in self.world.open_jobs():
            self.world.office.office.cancel(job.name, "operator")

    # What must succeed.

    def _nobody_is_away(self) -> bool:
        world = self.world
        return not any(world._away.values()) and not any(node.process.dead for node in world.nodes.values())

    def _lively(self, operation: Operation, outcome: object) -> None:
        """Where nothing went wrong, what was asked was done."""
        world = self.world
        parties = (COORDINATOR, *world.nodes)
        if world.time.furthest(*parties) > CLOCK_DIFFERENCE:
            if isinstance(operation, Link):
                holds(outcome and "clock" in str(outcome), "a wrong clock was not named:", repr(outcome))
            return
        if isinstance(operation, Link):
            holds(outcome == "", "a linkage failed for nothing:", outcome)
        if not isinstance(operation, Run) or not self._linked or world.spec.runs is not None:
            return
        for name in outcome:
            job = world.jobs[name]
            counts = {question.name for question in job.questions if question.kind == "count"}
            if counts & self._counted:
                continue
            self._counted |= counts
            holds(job.submission.state is State.COMPLETE, "a job failed for nothing:", job.submission.reason)

    def _told(self):
        return _Told(self)


class _Told:
    """Says, with what fails, how to make it fail again."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None:
            self._simulation.violated = True
            error.add_note(reproduction(self._simulation.world.spec, self._simulation.record))
            error.add_note("\n".join(str(dict(entry)) for entry in SAID.entries[-_LAST_SAID:]))


def reproduction(spec: Spec, operations: Sequence[Operation]) -> str:
    """The text of a call of `replayed`."""
    lines = ["replayed(", f"    {spec!r},", *(f"    {each!r}," for each in operations), ")"]
    return "\n".join(lines)
