"""A whole federation in one process, whose time, network, disks and deaths are the simulation's.

Real are the nodes, the coordinator with its queue, their stores, logs and evidence.  A party's disk is a
folder a life: who is killed starts again over a copy of what stood there at that moment.
"""

import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Self

from fakes.federation import _FREE, COORDINATOR, DEALER, KEY_BITS, OPERATOR, _directory
from fakes.paillier_keys import Keys
from simulation.clock import Time
from simulation.faults import AWAY, Faults
from simulation.network import Network
from simulation.parties import CoordinatingOffice, SimulatedNode
from simulation.people import Question, Spec
from simulation.process import Killed, Process
from simulation.shared import FOLDERS, SAID

from veilmatch_coordinator.errors import RequestError
from veilmatch_coordinator.failures import failure_of
from veilmatch_coordinator.queue import State, Submission
from veilmatch_crypto import AgreementKey, IdentityKey, Vault
from veilmatch_node.linkage import NodeKeys
from veilmatch_node.rights import Rules
from veilmatch_node.service import Tasks
from veilmatch_policy import canonical
from veilmatch_policy.directory import Directory
from veilmatch_policy.errors import ApprovalError
from veilmatch_policy.manifest import PartyKeys, signed_keys
from veilmatch_transport import WorkStream

_HANGS = 45.0  # seconds without a message after which somebody waits for ever
_WITHHELD = 1.0  # the same where a message was withheld: then the operator ends the job
_ENDS_WITHIN = 15.0  # seconds that a dead process's threads have to notice it


class HangsError(AssertionError):
    """Somebody waits for what never comes."""


@dataclass
class Job:
    """A submitted job, as the simulation remembers it."""

    name: str
    questions: tuple[Question, ...]
    submission: Submission | None = None


@dataclass(frozen=True)
class Linked:
    """A federation that has linked: its disks and keys, from which others may begin."""

    disks: Path
    keys: dict[str, NodeKeys]
    identity: IdentityKey
    directory: Directory


class World:
    """One simulated federation.  Every method that asks the coordinator returns when nothing moves any more."""

    def __init__(self, home: Path, spec: Spec, linked: Linked | None = None) -> None:
        self.home = home
        self.spec = spec
        self.rows = spec.rows()
        self.time = Time()
        self.faults = Faults()
        self.network = Network(self.faults, self._dial)
        self.jobs: dict[str, Job] = {}
        self.lives: dict[str, list[Process]] = {}
        self.errors: list[str] = []  # public lines with which linkages ended
        self._away: dict[str, int] = {}
        self._dialling = {name: threading.RLock() for name in [*spec.names, DEALER]}
        self._watched = {thread.ident for thread in threading.enumerate()}
        self._paillier = Keys()
        SAID.entries.clear()
        given = spec.given(self.rows)
        names = sorted(given)
        self._from = None if linked is None else linked.disks
        if linked is not None:
            self.keys, self.identity, self.directory = linked.keys, linked.identity, linked.directory
        else:
            self.keys = {
                name: NodeKeys(IdentityKey.generate(), AgreementKey.generate(), IdentityKey.generate())
                for name in names
            }
            self.identity = IdentityKey.generate()
            self.directory = _directory(self.keys, self.identity, tuple(names[:2]), None)
        self.network.signers = {name: own.identity for name, own in self.keys.items()}
        self.network.another = self._another_manifest
        rules = _FREE
        if spec.runs is not None:
            rules = Rules(*spec.runs, epsilon_a_year=Decimal(10), exact_counts=True)
        self.nodes: dict[str, SimulatedNode] = {}
        for number, name in enumerate(names):
            folder = home / name
            folder.mkdir(parents=True)
            (folder / "catalog.yaml").write_text(given[name].catalog, encoding="utf-8")
            for file, text in given[name].files.items():
                (folder / file).write_text(text, encoding="utf-8")
            process = self._begin_life(name)
            self.nodes[name] = SimulatedNode(
                name,
                folder,
                process.folder / "out",
                self.keys[name],
                Vault(bytes([number]) * 32),
                self.directory,
                process.folder / "store.sqlite",
                rules=rules,
                alone=spec.runs is None,
                clock=self.time.of(name),
                process=process,
            )
        self.office = self._open_office(self._begin_life(COORDINATOR))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes():
            process.die()
            process.join(_ENDS_WITHIN)
            FOLDERS.pop(process.folder, None)
        for party in (*self.nodes.values(), self.office):
            party.stop()

    # What is asked of the federation.

    def link(self, mode: str) -> str:
        """Link a new epoch; the public line with which that ended, empty where it did not fail."""
        lines: list[str] = []

        def run() -> None:
            try:
                self.office.office.link(mode, "union", "2025-12-31", _no_progress, lambda: True)
            except Exception as error:  # noqa: BLE001  told as the service tells it
                lines.append(failure_of(error).text)

        self._watch([run], self.office.process.die)
        if self.office.process.dead:
            lines.append("coordinator: killed; start it again")
        self.errors += lines
        return lines[0] if lines else ""

    def submit(self, *questions: Question) -> str:
        """Queue a job; its name, empty where the coordinator does not live to say it, or the queue is full."""
        sources = [question.text().encode() for question in questions]
        queued: list[Submission] = []

        def run() -> None:
            with suppress(RequestError):
                queued.append(self.office.office.submit(OPERATOR, sources, KEY_BITS))

        self._watch([run], lambda: None)
        if not queued:
            return ""
        self.jobs[queued[0].job] = Job(queued[0].job, questions, queued[0])
        return queued[0].job

    def work(self, at_once: int = 1) -> None:
        """Run the queue until it rests, and close what is over."""

        if self.office.process.dead:
            return

        def cancel() -> None:
            for job in self.open_jobs():
                if job.submission.state is State.RUNNING:
                    self.office.office.cancel(job.name, OPERATOR)

        self._watch([self.office.run_queue] * at_once, cancel)
        self.look()

    def close_again(self) -> None:
        """The coordinator's next round of closing what could not be closed."""
        self._watch([self.office.office._closing.close_others], lambda: None)

    def look(self) -> None:
        """See what became of the jobs, unless the coordinator is dead."""
        if not self.office.process.dead:
            for job in self.jobs.values():
                if job.submission is None or not job.submission.state.ended:
                    job.submission = self.office.store.submission(job.name)

    def open_jobs(self) -> list[Job]:
        """Those that have not ended."""
        self.look()
        return [job for job in self.jobs.values() if job.submission and not job.submission.state.ended]

    def crash(self, party: str, away: int = 0) -> None:
        """SIGKILL, between two operations."""
        (self.office if party == COORDINATOR else self.nodes[party]).process.die(away)

    def revive(self) -> None:
        """Let the coordinator start again where it is dead, and every node that nobody has to dial for it."""
        process = self.office.process
        if process.doomed is not None:
            process.die()
        if process.dead:
            fresh = self._next_life(process)
            self.office.stop()
            self.office = self._open_office(fresh)
            self.look()
        for name in self.nodes:
            node = self.nodes[name]
            if node.process.doomed is not None:
                node.process.die()
            if node.process.dead and not node.process.away:
                with self._dialling[name]:
                    self._revive(node)

    def come_back(self) -> None:
        """Whoever is away answers again."""
        self._away.clear()
        for node in self.nodes.values():
            node.process.away = 0
        self.revive()

    def decide(self, department: str, verdict: str, runs: int, days: int) -> int:
        """Have an officer decide whatever waits, or revoke what was approved; how much that was."""
        node = self.nodes[department]
        if node.process.dead:
            return 0
        decided = 0
        now = self.time.of(department)()
        if verdict == "revoke":
            for held in node.desk.decisions():
                if held.decision.kind == "approve" and held.state == "valid":
                    node.desk.revoke(held.signed.digest, node.keys.officer, reason="a simulated doubt")
                    decided += 1
            return decided
        for waiting in node.desk.waiting():
            try:
                if verdict == "approve":
                    node.desk.approve(
                        waiting.digest, node.keys.officer, runs=runs, expires=now + timedelta(days=days)
                    )
                else:
                    node.desk.refuse(waiting.digest, node.keys.officer, reason="a simulated no")
            except ApprovalError:
                continue
            decided += 1
        return decided

    # Processes.

    def was_killed(self, party: str) -> bool:
        """Whether a party died at any time."""
        return any(process.dead for process in self.lives[party])

    def processes(self) -> Iterator[Process]:
        """All lives of all parties."""
        for lives in self.lives.values():
            yield from lives

    def settle(self) -> None:
        """Wait until no thread of any process is at work."""
        for process in self.processes():
            if still := process.join(_ENDS_WITHIN):
                raise HangsError(f"{process.name}: {still} never end\n{_stacks()}")
            process.threads.clear()

    def left_over(self) -> list[str]:
        """Threads that nobody has a use for."""
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline:
            left = [each for each in threading.enumerate() if each.ident not in self._watched]
            if not left:
                return []
            time.sleep(0.01)
        return [each.name for each in left]

    def _begin_life(self, name: str) -> Process:
        lives = self.lives.setdefault(name, [])
        folder = self.home / "disks" / f"{name}.{len(lives)}"
        if not lives and self._from is None:
            folder.mkdir(parents=True)
        elif not lives:
            _copy_disk(self._from / name, folder)
        process = Process(name, folder, self.faults)
        lives.append(process)
        FOLDERS[folder] = process
        return process

    def _next_life(self, process: Process) -> Process:
        if still := process.join(_ENDS_WITHIN):
            raise HangsError(f"{process.name}: {still} do not notice that they are dead\n{_stacks()}")
        fresh = self._begin_life(process.name)
        _copy_disk(process.folder, fresh.folder)
        return fresh

    def keep(self, folder: Path) -> Linked:
        """Keep the disks as they are, for other federations to begin with."""
        for name, lives in self.lives.items():
            _copy_disk(lives[-1].folder, folder / name)
        return Linked(folder, self.keys, self.identity, self.directory)

    def _dial(self, name: str) -> tuple[Process, Callable] | None:
        with self._dialling[name]:
            node = self.nodes[name]
            if fault := self.faults.take(name, "dial", (AWAY,)):
                self._away[name] = fault.at
            for away in (self._away.get(name, 0), node.process.away):
                if away:
                    self._away[name] = max(self._away.get(name, 0) - 1, 0)
                    node.process.away = max(node.process.away - 1, 0)
                    return None
            if node.process.dead:
                self._revive(node)
            if node.process.dead:
                return None
            return node.process, partial(self._serve, node.tasks)

    def _serve(self, tasks: Tasks, stream: WorkStream) -> None:
        with self._paillier.in_use():
            tasks.run(stream)

    def _open_office(self, process: Process) -> CoordinatingOffice:
        clock = self.time.of(COORDINATOR)
        return CoordinatingOffice(process, self.identity, self.directory, self.network.of(process), clock)

    def _revive(self, node: SimulatedNode) -> None:
        fresh = self._next_life(node.process)
        node.stop()
        node.process, node.disk, node.out = fresh, fresh.folder / "store.sqlite", fresh.folder / "out"
        with suppress(Killed):  # at its first steps
            node.start()

    def _watch(self, calls: Sequence[Callable[[], None]], unstick: Callable[[], None]) -> None:
        """Run calls side by side as threads of the coordinator; see that they end."""
        office = self.office.process
        self.network.withheld = False
        self.network.last = time.monotonic()
        raised: list[BaseException] = []

        def run(call: Callable[[], None]) -> None:
            try:
                call()
            except Killed:
                pass
            except BaseException as error:  # noqa: BLE001  raised below
                if not office.dead:
                    raised.append(error)

        threads = [threading.Thread(target=run, args=(call,), name="coordinator") for call in calls]
        office.threads += threads
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(0.02)
            idle = time.monotonic() - self.network.last
            if self.network.withheld and idle > _WITHHELD:
                self.network.withheld = False
                unstick()
            if idle > _HANGS:
                raise HangsError(f"nothing moves any more\n{_stacks()}")
        if raised:
            raise raised[0]

    def _another_manifest(self, manifest: bytes) -> bytes:
        """The manifest with another key of the coordinator, which it signed as well."""
        shown = canonical.decode(manifest)
        key = AgreementKey.generate().public
        signature = self.identity.sign(signed_keys(canonical.encode(shown["draft"]), COORDINATOR, key, b""))
        own = PartyKeys(name=COORDINATOR, agreement=key.hex(), signature=signature.hex())
        shown["keys"] = [own.model_dump() if each["name"] == COORDINATOR else each for each in shown["keys"]]
        return canonical.encode(shown)


def _copy_disk(folder: Path, to: Path) -> None:
    """The files of this moment: nothing is closed or flushed."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("*-shm", "*.lock"))


def _stacks() -> str:
    """Where every thread is: what a hanging federation waits for."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines = []
    for ident, frame in sys._current_frames().items():
        lines += [f"--- {names.get(ident)}", *traceback.format_stack(frame)]
    return "\n".join(lines)


def _no_progress(_stage: str, _department: str, _done: int, _total: int) -> None:
    pass
