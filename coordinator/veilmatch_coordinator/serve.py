"""`veilmatch coordinator serve`: puts a coordinator together from its configuration and runs it."""

import threading
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path

import structlog

from veilmatch_coordinator.attachments import Attachments
from veilmatch_coordinator.client import Nodes
from veilmatch_coordinator.office import Office
from veilmatch_coordinator.prepared import Prepared, prepare
from veilmatch_coordinator.retention import give_up_evidence
from veilmatch_coordinator.service import ROLES, register
from veilmatch_coordinator.store import CoordinatorStore
from veilmatch_evidence.actions import ServiceStarted
from veilmatch_evidence.log import EvidenceLog
from veilmatch_policy.directory import Directory, open_directory
from veilmatch_transport import RoleGate, Server, checks_of, make_workers, status
from veilmatch_transport.lifetime import Anew, End, Lifetime, live
from veilmatch_transport.logs import writing
from veilmatch_transport.metrics import Metrics
from veilmatch_transport.oversight import Overseen, overseen
from veilmatch_transport.retention import retaining

_log = structlog.get_logger(__name__)


def serve(path: Path) -> None:
    """Run the coordinator that a configuration file describes; returns when it was told to stop.

    On SIGHUP it begins anew with what its files say then, once no job or linkage runs.  Raises SettingsError,
    DirectoryError, CredentialError, ListenError or LogError before anything is served, and
    LogError when the log can no longer be written.
    """

    def read(old: Prepared | None) -> Prepared:
        return prepare(path) if old is None else prepare(path, oldest=old.directory.version)

    live(read, _serve)


def _serve(prepared: Prepared, lifetime: Lifetime, anew: Anew[Prepared]) -> End:
    """Serve with what was read; why that ended."""
    config, directory, tls = prepared.config, prepared.directory, prepared.tls
    metrics, broken = Metrics(), threading.Event()
    with ExitStack() as stack:
        stack.enter_context(writing(config.logging))
        store = CoordinatorStore(config.store)
        stack.callback(store.close)
        store.measure(metrics.stored)
        _require_newest(directory, store)
        executor = stack.enter_context(make_workers(config.workers))
        log = EvidenceLog(
            config.log, config.name, prepared.identity, on_failure=broken.set, on_record=metrics.recorded
        )
        stack.callback(log.close)
        log.append(
            ServiceStarted(
                release=version("veilmatch"),
                directory=directory.digest.hex(),
                directory_version=directory.version,
            )
        )
        stack.enter_context(
            retaining(
                {
                    "evidence": (config.keep_evidence, partial(give_up_evidence, config.evidence)),
                    "log": (config.keep_log, log.withhold),
                }
            )
        )
        attachments = Attachments()
        nodes = Nodes(directory, tls, attachments, metrics)
        stack.callback(nodes.close)
        office = Office(
            identity=prepared.identity,
            directory=directory,
            store=store,
            nodes=nodes,
            executor=executor,
            evidence=config.evidence,
            log=log,
            limits=config.limits(),
            reconnect_wait=config.reconnect_wait,
            metrics=metrics,
        )
        stack.callback(office.stop)
        gate = RoleGate(directory.federation, directory, ROLES | status.ROLES)
        # Each job has its own streams to the nodes that dial out.
        members = config.jobs_at_once * len(directory.members)
        server = stack.enter_context(Server(tls, gate, members=members))
        for service, add in register(office, attachments, server.stopping).items():
            server.add(service, add)
        server.add(status.SERVICE, status.register("coordinator", directory))
        port = server.start(config.listen)

        def transaction() -> None:
            store.set_directory_version(directory.version)
            office.measure()  # here and not at a scrape, which is answered while the store is away, too

        seen = Overseen(
            role="coordinator",
            name=config.name,
            directory=directory,
            tls=tls,
            store=config.store,
            transaction=transaction,
            log=config.log,
            require_writable=log.require_writable,
            asked={
                name: node.address for name in directory.nodes if (node := directory.member(name)).address
            },
            waiting=lambda: {
                name: attachments.waits(name)
                for name in directory.nodes
                if not directory.member(name).address
            },
            more=checks_of(executor),
        )
        metrics.attached(attachments.count)
        stack.enter_context(overseen(seen, metrics, config.metrics, server.tell_health))
        # Not before: with a directory that it could not begin with, it could not go on with the one that it had.
        store.set_directory_version(directory.version)
        _log.info("listening", coordinator=config.name, port=port)
        office.start(server.stopping)

        def begin_anew() -> bool:
            if not anew():
                return False
            office.rest()
            return True

        end = server.serve_until(lifetime, broken, again=begin_anew, idle=office.idle)
        log.require_writable()  # where that is why it ends, the reason is the command's last line
    return end


def _require_newest(directory: Directory, store: CoordinatorStore) -> None:
    """Raise DirectoryError where a newer directory was seen before."""
    open_directory(directory.file, directory.signature, directory.root, oldest=store.directory_version())
