"""The parties of a simulated federation: real nodes and the real coordinating office, each durable step a step."""

from dataclasses import dataclass, field
from datetime import timedelta

from fakes.federation import COORDINATOR, Node, begin_store, share_compiled
from simulation.network import Nodes
from simulation.process import Process

from veilmatch_coordinator.office import Office
from veilmatch_coordinator.queue import Limits
from veilmatch_coordinator.store import SCHEMA, CoordinatorStore
from veilmatch_crypto import IdentityKey
from veilmatch_crypto.pool import InlineExecutor
from veilmatch_evidence.actions import ServiceStarted
from veilmatch_evidence.log import EvidenceLog
from veilmatch_policy.clock import Clock
from veilmatch_policy.directory import Directory

RECONNECT_WAIT = 0.6  # seconds that a lost node is waited for; all of a job's other waits end by themselves
LIMITS = Limits(
    jobs_at_once=2,
    queued_jobs=20,
    approval_retry=timedelta(minutes=1),
    approval_wait=timedelta(days=7),
    keep_jobs=timedelta(days=400),
)


@dataclass(kw_only=True)
class SimulatedNode(Node):
    """A node whose every durable step is a step of its process."""

    process: Process = field(repr=False)

    def start(self) -> None:
        super().start()
        self.process.watch_store(self.store._engine)
        self.process.watch_log(self.log)
        self.jobs.write_results(self.out)  # as the service does before it serves
        self.jobs.close_expired()

    def stop(self) -> None:
        self.log.close()
        self.store.close()


class CoordinatingOffice:
    """One life of the coordinator: put together over a folder as its service does, run by the simulation's hand."""

    def __init__(
        self, process: Process, identity: IdentityKey, directory: Directory, nodes: Nodes, clock: Clock
    ) -> None:
        self.process = process
        self.evidence = process.folder / "evidence"
        self.disk = process.folder / "store.sqlite"
        begin_store(self.disk, SCHEMA)
        self.store = CoordinatorStore(self.disk)
        share_compiled(self.store._engine)
        self.log = EvidenceLog(process.folder / "log", COORDINATOR, identity, clock=clock)
        process.watch_store(self.store._engine)
        process.watch_log(self.log)
        self.log.append(
            ServiceStarted(release="0", directory=directory.digest.hex(), directory_version=directory.version)
        )
        self.office = Office(
            identity=identity,
            directory=directory,
            store=self.store,
            nodes=nodes,
            executor=InlineExecutor(),
            evidence=self.evidence,
            log=self.log,
            limits=LIMITS,
            clock=clock,
            reconnect_wait=RECONNECT_WAIT,
        )

    def run_queue(self) -> None:
        """Run, in this thread, what the queue lets begin now."""
        dispatcher = self.office._dispatcher
        while (taken := dispatcher._take()) is not None:
            with self.office._turns.shared():
                dispatcher._run(*taken)

    def stop(self) -> None:
        self.log.close()
        self.store.close()
