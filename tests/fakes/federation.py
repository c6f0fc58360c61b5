"""A whole federation in one process: the real nodes and the real coordinator, and memory for a network.

Every department has its own folder, store, keys and ``Tasks``; the coordinator has its own ``link``,
``Jobs`` and ``Conversation``.  What stands in for gRPC are two mailboxes a work stream, and a *tap*
between them: it sees every message as it was sent and says what arrives in its place.  A tap that changes
what the coordinator sends is an active coordinator; one that changes what a node sends is a wrong node.
"""

import csv
import io
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Self
from unittest.mock import patch

from fakes.paillier_keys import Keys
from google.protobuf.message import Message

import veilmatch_coordinator.slots
from veilmatch_coordinator.client import Nodes
from veilmatch_coordinator.control import Control
from veilmatch_coordinator.jobs import JobReport, Jobs
from veilmatch_coordinator.linking import Linkage, link
from veilmatch_coordinator.store import SCHEMA as OFFICE_STORE
from veilmatch_coordinator.store import CoordinatorStore
from veilmatch_crypto import AgreementKey, IdentityKey, Vault
from veilmatch_crypto.pool import InlineExecutor
from veilmatch_evidence.log import EvidenceLog
from veilmatch_node.answers import DataFolder
from veilmatch_node.databases import Databases
from veilmatch_node.desk import Desk
from veilmatch_node.job_log import JobLog
from veilmatch_node.jobs import NodeJobs
from veilmatch_node.linkage import NodeKeys, NodeLinkage
from veilmatch_node.rights import Rights, Rules
from veilmatch_node.service import Tasks
from veilmatch_node.service.jobs import JobTasks
from veilmatch_node.service.linkage import LinkageTasks
from veilmatch_node.store import SCHEMA as NODE_STORE
from veilmatch_node.store import NodeStore
from veilmatch_policy.catalog import load_catalog
from veilmatch_policy.clock import Clock, utc_now
from veilmatch_policy.directory import Directory, Member, encode_directory, open_directory, signed_bytes
from veilmatch_policy.epoch import Epoch, LinkageMode, OpenEpoch, SlotMode, open_epoch, signed_statement
from veilmatch_transport import (
    PeerUnavailableError,
    Schema,
    StreamEnded,
    TransportError,
    WorkStream,
    durable_engine,
    limits,
)
from veilmatch_transport._mailbox import Mailbox

COORDINATOR = "office"
OPERATOR = "operator"
KEY_BITS = 2048  # the smallest that the product allows
DEALER = "zz-dealer"  # last in the alphabet: no trustee, and asked to deal after all departments
_CERTIFICATE = "00" * 32  # nobody looks at it: there is no TLS here
_FREE = Rules(runs_an_epoch=10**6, runs_a_year=10**6, epsilon_a_year=Decimal(10**6), exact_counts=True)
_ENDS_WITHIN = 20.0  # seconds that a task has to end once its stream is over


class Passing(NamedTuple):
    """A message on its way: whose work stream, who sent it (the node, or the coordinator), and the message."""

    node: str
    from_node: bool
    message: Message

    @property
    def body(self) -> str:
        """Which message it is: the name of the field that is set."""
        return self.message.WhichOneof("body")

    @property
    def content(self) -> Message:
        """The message itself, without its envelope."""
        return getattr(self.message, self.body)


Tap = Callable[[Passing], Iterable[Message]]


def untouched(passing: Passing) -> Iterable[Message]:
    """The tap of an honest network."""
    return [passing.message]


def tap_on(
    body: str, change: Callable[[Passing], Iterable[Message] | None], *, node: str | None = None
) -> Tap:
    """A tap on one kind of message (of one node): what arrives instead, None for the (changed) message itself."""

    def tap(passing: Passing) -> Iterable[Message]:
        if passing.body != body or node not in {None, passing.node}:
            return [passing.message]
        instead = change(passing)
        return [passing.message] if instead is None else instead

    return tap


class _Outbox:
    """One direction of a stream, as its sender sees it: through the tap into the receiver's mailbox."""

    def __init__(self, sender: str, send: Callable[[Message], Iterable[Message]]) -> None:
        self._sender = sender
        self._send = send
        self._ended: Exception | None = None
        self.inbox: Mailbox[Message] = Mailbox(limits.QUEUED_MESSAGES)

    def put(self, message: Message, timeout: float | None) -> None:
        if self._ended is not None:
            raise self._ended.with_traceback(None)
        for arriving in self._send(type(message).FromString(message.SerializeToString())):
            try:
                self.inbox.put(arriving, timeout)
            except TransportError:
                raise (self._ended or PeerUnavailableError("peer", "broke the stream off")) from None

    def refuse(self, reason: Exception) -> None:
        """Take no more messages: whoever received them has ended the call."""
        self._ended = self._ended or reason
        self.inbox.end(reason, discard=True)

    def end(self, reason: Exception, *, discard: bool = False) -> None:
        self._ended = self._ended or reason
        end = (
            PeerUnavailableError(self._sender, "broke the stream off")
            if discard
            else StreamEnded(f"{self._sender} has ended the stream")
        )
        self.inbox.end(end, discard=discard)


@dataclass(frozen=True)
class Given:
    """A department: its catalog's text, and its files by name."""

    catalog: str
    files: Mapping[str, str]


@dataclass
class Node:
    """A department's node; everything but ``disk`` and the keys is gone when it crashes."""

    name: str
    folder: Path
    out: Path
    keys: NodeKeys
    vault: Vault
    directory: Directory
    disk: Path
    executor: Executor = field(default_factory=InlineExecutor)
    linkage: NodeLinkage = field(init=False)
    jobs: NodeJobs = field(init=False)
    tasks: Tasks = field(init=False)
    store: NodeStore = field(init=False)
    log: EvidenceLog = field(init=False)
    desk: Desk = field(init=False)
    rules: Rules = _FREE
    alone: bool = True  # this machine approves in the officer's name
    clock: Clock = utc_now

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Put the node together over what is on its disk."""
        begin_store(self.disk, NODE_STORE)
        self.store = NodeStore(self.disk, self.vault)
        share_compiled(self.store._engine)
        self.log = EvidenceLog(Path(f"{self.disk}.log"), self.name, self.keys.identity, clock=self.clock)
        data = DataFolder(load_catalog(self.folder / "catalog.yaml"), self.folder, Databases({}))
        parts = {
            "catalog": data.catalog,
            "directory": self.directory,
            "store": self.store.desk,
            "log": self.log,
            "rules": self.rules,
            "clock": self.clock,
        }
        self.desk = Desk(self.name, **parts)
        rights = Rights(self.name, **parts, officer=self.keys.officer if self.alone else None)
        self.linkage = NodeLinkage(
            self.name,
            keys=self.keys,
            directory=self.directory,
            store=self.store,
            data=data,
            modes=("oprf", "shared-key"),
        )
        self.jobs = NodeJobs(
            self.name,
            identity=self.keys.identity,
            directory=self.directory,
            store=self.store,
            data=data,
            executor=self.executor,
            rights=rights,
            log=JobLog(self.log),
            clock=self.clock,
        )
        reports = self.out / "reports" / self.name
        self.tasks = Tasks(
            LinkageTasks(
                self.directory, self.linkage, self.executor, self.log, reports=reports, clock=self.clock
            ),
            JobTasks(self.directory, self.jobs, self.executor, reports=reports, results=self.out),
            self.log,
        )

    def crash(self) -> None:
        """Start again as after SIGKILL: over the files as they are this moment, with nothing closed or flushed."""
        left = self.disk
        self.disk = left.with_name(left.name + "+")
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{left}{suffix}", f"{self.disk}{suffix}")
        shutil.copyfile(f"{left}.log", f"{self.disk}.log")
        self.log.close()
        self.store.close()
        self.start()


class MemoryNodes(Nodes):
    """Work streams to nodes of this process."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        super().__init__(None, None, None)
        self.tap: Tap = untouched
        self.passed: list[Passing] = []  # as it was sent, before the tap touched it
        self._nodes = nodes
        self._running: list[threading.Thread] = []
        self.keys = Keys()
        self._lines: list[tuple[str, _Outbox, _Outbox]] = []
        self.away: set[str] = set()  # nodes that cannot be reached

    def open(self, name: str, *, within: float = 0.0) -> WorkStream:
        if name in self.away:
            raise PeerUnavailableError(name, "nothing listens at its address")
        outward = _Outbox(COORDINATOR, partial(self._pass, name, False))
        inward = _Outbox(name, partial(self._pass, name, True))
        self._lines.append((name, outward, inward))
        here = WorkStream(name, outward, inward.inbox, lambda: None)
        there = WorkStream(COORDINATOR, inward, outward.inbox, lambda: None)

        def serve() -> None:
            with self.keys.in_use():
                self._nodes[name].tasks.run(there)
            there.close()
            outward.refuse(StreamEnded(f"{name} has ended the stream"))

        thread = threading.Thread(target=serve, name=f"task of {name}")
        self._running.append(thread)
        thread.start()
        return here

    def release(self, stream: WorkStream) -> None:
        """Nothing is held."""

    def cut(self, name: str) -> None:
        """Lose a node's lines: both ends of each find it dead."""
        for _, outward, inward in [line for line in self._lines if line[0] == name]:
            outward.refuse(PeerUnavailableError(COORDINATOR, "the connection was lost"))
            inward.refuse(PeerUnavailableError(name, "the connection was lost"))
        self._lines = [line for line in self._lines if line[0] != name]

    def wait(self) -> None:
        """Wait until every task has ended."""
        for thread in self._running:
            thread.join(_ENDS_WITHIN)
            assert not thread.is_alive(), f"{thread.name} hangs"
        self._running.clear()

    def sent(self, body: str, *, node: str | None = None) -> list[Passing]:
        """What was sent of one kind (on one node's streams), in order."""
        return [each for each in self.passed if each.body == body and node in {None, each.node}]

    def _pass(self, name: str, from_node: bool, message: Message) -> Iterable[Message]:
        passing = Passing(name, from_node, message)
        self.passed.append(Passing(name, from_node, type(message).FromString(message.SerializeToString())))
        return self.tap(passing)


class Federation:
    """Departments and their coordinator; ``trustees`` are the first departments by name.

    Every department may deal, and with ``dealer`` so may a node without data, `DEALER`.  ``register`` is
    the department that keeps the register, for epochs with register slots.  With ``officers`` each department
    has one of its own, and these rules; without, every machine approves what it is asked, as `local run` does.
    An epoch has fewer than ``dummies`` dummies, None: as many as the product's, which cost more than the people.
    """

    def __init__(
        self,
        home: Path,
        departments: Mapping[str, Given],
        *,
        trustees: int = 2,
        register: str | None = None,
        dealer: bool = False,
        officers: Rules | None = None,
        reconnect_wait: float = 0.0,
        dummies: int | None = 120,
    ) -> None:
        self.home = home
        self._dummies = dummies
        self.out = home / "out"
        self.evidence = home / "evidence"
        if dealer:
            departments = {**departments, DEALER: Given(f"department: {DEALER}\ntables: {{}}\n", {})}
        names = sorted(departments)
        keys = {
            name: NodeKeys(IdentityKey.generate(), AgreementKey.generate(), IdentityKey.generate())
            for name in names
        }
        self.identity = IdentityKey.generate()
        self.directory = _directory(keys, self.identity, tuple(names[:trustees]), register)
        self.nodes: dict[str, Node] = {}
        for name, given in departments.items():
            folder = home / name
            folder.mkdir(parents=True)
            (folder / "catalog.yaml").write_text(given.catalog, encoding="utf-8")
            for file, text in given.files.items():
                (folder / file).write_text(text, encoding="utf-8")
            self.nodes[name] = Node(
                name,
                folder,
                self.out,
                keys[name],
                Vault(bytes([len(self.nodes)]) * 32),
                self.directory,
                home / f"{name}.sqlite",
                rules=officers or _FREE,
                alone=officers is None,
            )
        self.disk = home / "office.sqlite"
        begin_store(self.disk, OFFICE_STORE)
        self.store = CoordinatorStore(self.disk)
        share_compiled(self.store._engine)
        self.log = EvidenceLog(home / "office.log", COORDINATOR, self.identity)
        self.network = MemoryNodes(self.nodes)
        self.jobs = Jobs(
            identity=self.identity,
            directory=self.directory,
            store=self.store,
            nodes=self.network,
            executor=InlineExecutor(),
            evidence=self.evidence,
            log=self.log,
            reconnect_wait=reconnect_wait,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.network.wait()
        self.log.close()
        self.store.close()
        for node in self.nodes.values():
            node.log.close()
            node.store.close()

    @contextmanager
    def tapped(self, tap: Tap) -> Iterator[None]:
        """Let a tap sit on all streams while the context is open."""
        self.network.tap = tap
        try:
            yield
        finally:
            self.network.tap = untouched

    def statement(
        self, mode: LinkageMode = "shared-key", slots: SlotMode = "union"
    ) -> tuple[OpenEpoch, bytes]:
        """A new epoch as the coordinator states it, with its signature."""
        epoch = Epoch(
            epoch=IdentityKey.generate().public.hex()[:32],
            federation=self.directory.federation,
            directory=self.directory.digest.hex(),
            linkage=mode,
            slots=slots,
            register=self.directory.register if slots == "register" else None,
            reference_date=date(2025, 12, 31),
            nodes=self.directory.nodes,
            trustees=self.directory.trustees,
        )
        signature = self.identity.sign(signed_statement(epoch.encode()))
        return open_epoch(epoch.encode(), signature, self.directory), signature

    def link(self, mode: LinkageMode = "shared-key", slots: SlotMode = "union") -> Linkage:
        """Link a new epoch; raises as the coordinator's ``link``."""
        dummies = self._dummies or veilmatch_coordinator.slots._LEAST_DUMMIES
        try:
            with patch.object(veilmatch_coordinator.slots, "_LEAST_DUMMIES", dummies):
                return link(*self.statement(mode, slots), self.network, self.store, _no_progress)
        finally:
            self.network.wait()

    def run(self, *policies: str, job: str | None = None) -> JobReport:
        """Run policies over the newest epoch, as one job; raises as the coordinator's ``Jobs.run``."""
        try:
            return self.jobs.run(
                [policy.encode() for policy in policies],
                KEY_BITS,
                _no_progress,
                job=job or os.urandom(16).hex(),
                operator=OPERATOR,
                control=Control(),
            )
        finally:
            self.network.wait()

    def decide(self, *names: str, runs: int = 12, days: int = 30) -> None:
        """Have the officers of these departments, or of all, approve whatever waits."""
        for name in names or sorted(self.nodes):
            node = self.nodes[name]
            for waiting in node.desk.waiting():
                expires = datetime.now(UTC) + timedelta(days=days)
                node.desk.approve(waiting.digest, node.keys.officer, runs=runs, expires=expires)

    def eligible(self, policy: str) -> list[str]:
        """Whom the recipient found in the last run of the policy of this name."""
        with (self.out / policy / "eligible.csv").open(encoding="utf-8", newline="") as file:
            return [row["id"] for row in csv.DictReader(file)]


def begin_store(disk: Path, schema: Schema) -> None:
    """Put a new party's empty store on its disk: a copy, as its tables cost a seventh of a small federation."""
    if not disk.exists():
        disk.write_bytes(_empty_store(schema))


@cache
def _empty_store(schema: Schema) -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder, "store.sqlite")
        durable_engine(file, schema).dispose()
        return file.read_bytes()


_FIRST: list = []  # the engine whose compiled statements all share


def share_compiled(engine: object) -> None:
    """Have an engine use the statements that another has compiled: they are the same in every store."""
    if not _FIRST:
        _FIRST.append(engine)
    engine.dialect = engine.pool._dialect = _FIRST[0].dialect
    engine._compiled_cache = _FIRST[0]._compiled_cache


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The text of a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _directory(
    keys: Mapping[str, NodeKeys], coordinator: IdentityKey, trustees: tuple[str, ...], register: str | None
) -> Directory:
    members = {
        name: Member(
            role="node",
            certificate=_CERTIFICATE,
            identity=own.identity.public.hex(),
            sealing=own.sealing.public.hex(),
            officer=own.officer.public.hex(),
        )
        for name, own in keys.items()
    }
    members[COORDINATOR] = Member(
        role="coordinator", certificate=_CERTIFICATE, identity=coordinator.public.hex()
    )
    root = IdentityKey.generate()
    data = encode_directory("memory", 1, trustees, members, {}, register=register)
    return open_directory(data, root.sign(signed_bytes(data)), root.public)


def _no_progress(_stage: str, _department: str, _done: int, _total: int) -> None:
    pass
