"""`veilmatch node serve`: puts a node together from its configuration and runs it until it is told to stop."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import structlog

from veilmatch_evidence.actions import ServiceStarted
from veilmatch_evidence.log import EvidenceLog
from veilmatch_node.answers import DataFolder
from veilmatch_node.backup import give_up_lost, require_whole
from veilmatch_node.client import Attachment
from veilmatch_node.config import ConsoleSettings, NodeConfig
from veilmatch_node.databases import Databases
from veilmatch_node.desk import Desk
from veilmatch_node.job_log import JobLog
from veilmatch_node.jobs import NodeJobs
from veilmatch_node.linkage import NodeLinkage
from veilmatch_node.prepared import Prepared, prepare
from veilmatch_node.retention import give_up_results
from veilmatch_node.rights import Rights, Rules
from veilmatch_node.service import ROLES, SERVICE, Tasks, register
from veilmatch_node.service.jobs import JobTasks
from veilmatch_node.service.linkage import LinkageTasks
from veilmatch_node.store import NodeStore
from veilmatch_policy.directory import Directory, open_directory
from veilmatch_transport import RoleGate, Server, SettingsError, checks_of, make_workers, reason_of, status
from veilmatch_transport.lifetime import Anew, End, Lifetime, live
from veilmatch_transport.logs import writing
from veilmatch_transport.metrics import Metrics
from veilmatch_transport.oversight import Overseen, overseen
from veilmatch_transport.retention import retaining

_ERASE_SECONDS = 3600.0

_log = structlog.get_logger(__name__)


def serve(path: Path) -> None:
    """Run the node that a configuration file describes; returns when it was told to stop.

    On SIGHUP it begins anew with what its files say then, once no task runs.  Raises SettingsError,
    DirectoryError, CredentialError, ListenError, LogError or PolicyError (a catalog that is refused)
    before anything is served, and LogError when the log can no longer be written.
    """

    def read(old: Prepared | None) -> Prepared:
        return prepare(path) if old is None else prepare(path, oldest=old.directory.version)

    live(read, _serve)


def _serve(prepared: Prepared, lifetime: Lifetime, anew: Anew[Prepared]) -> End:
    """Serve with what was read; why that ended."""
    config, directory, keys, tls = prepared.config, prepared.directory, prepared.keys, prepared.tls
    metrics, broken = Metrics(), threading.Event()
    with ExitStack() as stack:
        stack.enter_context(writing(config.logging))
        store = NodeStore(config.store, prepared.vault)
        stack.callback(store.close)
        store.measure(metrics.stored)
        _require_newest(directory, store)
        executor = stack.enter_context(make_workers(config.workers))
        log = EvidenceLog(
            config.log, config.name, keys.identity, on_failure=broken.set, on_record=metrics.recorded
        )
        stack.callback(log.close)
        _hold_against_log(store, config)
        log.append(
            ServiceStarted(
                release=version("veilmatch"),
                directory=directory.digest.hex(),
                directory_version=directory.version,
            )
        )
        if keys.officer is not None:
            _log.warning("this machine decides in the officer's name: keys.officer is set", node=config.name)
        stack.enter_context(
            retaining(
                {
                    "results": (config.keep_results, partial(give_up_results, config.results)),
                    "log": (config.keep_log, log.withhold),
                }
            )
        )
        data = DataFolder(
            prepared.catalog, config.data.folder, Databases(config.data.databases, told=metrics.data_read)
        )
        rules = Rules(**config.budget.model_dump())
        rights = Rights(
            config.name,
            catalog=prepared.catalog,
            directory=directory,
            store=store.desk,
            log=log,
            rules=rules,
            officer=keys.officer,
        )
        jobs = NodeJobs(
            config.name,
            identity=keys.identity,
            directory=directory,
            store=store,
            data=data,
            executor=executor,
            rights=rights,
            log=JobLog(log),
        )
        jobs.write_results(config.results)
        stack.enter_context(_erasing(jobs))
        linkage = NodeLinkage(
            config.name, keys=keys, directory=directory, store=store, data=data, modes=config.linkage
        )
        tasks = Tasks(
            LinkageTasks(directory, linkage, executor, log, reports=config.reports),
            JobTasks(directory, jobs, executor, reports=config.reports, results=config.results),
            log,
            metrics,
        )
        if config.console is not None:
            desk = Desk(
                config.name,
                catalog=prepared.catalog,
                directory=directory,
                store=store.desk,
                log=log,
                rules=rules,
            )
            stack.enter_context(_officers_page(config.console, desk))
        coordinator = directory.coordinator
        address = directory.member(coordinator).address
        seen = Overseen(
            role="node",
            name=config.name,
            directory=directory,
            tls=tls,
            store=config.store,
            transaction=lambda: store.set_directory_version(directory.version),
            log=config.log,
            require_writable=log.require_writable,
            asked={coordinator: address},
            more=checks_of(executor),
        )
        if config.listen is not None:
            gate = RoleGate(directory.federation, directory, ROLES | status.ROLES)
            server = stack.enter_context(Server(tls, gate))
            server.add(SERVICE, lambda grpc_server: register(tasks, grpc_server))
            server.add(status.SERVICE, status.register("node", directory))
            port = server.start(config.listen)
            stack.enter_context(overseen(seen, metrics, config.metrics, server.tell_health))
            store.set_directory_version(directory.version)  # see below
            _log.info("listening", node=config.name, port=port)
            end = server.serve_until(lifetime, broken, again=anew, idle=tasks.idle)
        else:
            attachment = Attachment(coordinator, address, tls, tasks)
            seen = replace(seen, more={**seen.more, "attachment": attachment.look})
            stack.enter_context(overseen(seen, metrics, config.metrics))
            # Not before: with a directory that it could not begin with, it could not go on with the one that it had.
            store.set_directory_version(directory.version)
            _log.info("dialling", node=config.name)
            with attachment.attached():
                end = lifetime.wait(broken, again=anew, idle=tasks.idle)
        log.require_writable()  # where that is why it ends, the reason is the command's last line
    return end


def _require_newest(directory: Directory, store: NodeStore) -> None:
    """Raise DirectoryError where a newer directory was seen before."""
    open_directory(directory.file, directory.signature, directory.root, oldest=store.directory_version())


def _hold_against_log(store: NodeStore, config: NodeConfig) -> None:
    """Raise SettingsError where the store is older than the log; give up approvals that the log knows better of."""
    require_whole(store.desk, config.log)
    if give_up_lost(store.desk, config.log):
        _log.warning(
            "approvals given up: the log has a refusal or revocation that the store has not; decide them anew",
            node=config.name,
        )


def _officers_page(settings: ConsoleSettings, desk: Desk) -> AbstractContextManager[int]:
    """Begin to serve the officer's page.  Raises SettingsError where its libraries are not installed."""
    try:
        from veilmatch_node.console.server import serving  # noqa: PLC0415  an extra, for nodes with a page
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"[console] needs {error.name}, which is not installed; install veilmatch with the extra console"
        ) from None
    return serving(settings, desk)


@contextmanager
def _erasing(jobs: NodeJobs) -> Iterator[None]:
    """Erase expired jobs now and every hour, also at a node that nobody asks anything (protocol.md, 4.7)."""
    stopped = threading.Event()

    def erase() -> None:
        try:
            jobs.close_expired()
        except Exception as error:  # noqa: BLE001  tried again in an hour
            _log.warning("expired jobs not erased yet", reason=reason_of(error))

    def erase_again() -> None:
        erase()
        while not stopped.wait(_ERASE_SECONDS):
            erase()

    thread = threading.Thread(target=erase_again, name="erase expired jobs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
