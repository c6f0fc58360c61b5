"""`veilmatch node serve`: puts a node together from its configuration and runs it until it is told to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from types import FrameType

import structlog

from veilmatch_crypto import AgreementKey, IdentityKey, Passphrase, Vault, make_executor
from veilmatch_evidence.actions import ServiceStarted
from veilmatch_evidence.log import EvidenceLog
from veilmatch_node.answers import DataFolder
from veilmatch_node.client import Attachment
from veilmatch_node.config import ConsoleSettings, NodeConfig
from veilmatch_node.desk import Desk
from veilmatch_node.job_log import JobLog
from veilmatch_node.jobs import NodeJobs
from veilmatch_node.linkage import NodeKeys, NodeLinkage
from veilmatch_node.quota import read_quota
from veilmatch_node.rights import Rights, Rules
from veilmatch_node.service import ROLES, SERVICE, Tasks, register
from veilmatch_node.service.jobs import JobTasks
from veilmatch_node.service.linkage import LinkageTasks
from veilmatch_node.store import NodeStore
from veilmatch_policy.catalog import load_catalog
from veilmatch_policy.directory import Directory
from veilmatch_transport import (
    RoleGate,
    Server,
    SettingsError,
    load_settings,
    read_directory,
    read_passphrase,
    read_secret,
    read_tls,
    require_member,
)

_ERASE_SECONDS = 3600.0
_VERSION = "directory-version"  # the setting that holds the highest directory version seen

_log = structlog.get_logger(__name__)


def serve(path: Path) -> None:
    """Run the node that a configuration file describes; returns when it was told to stop.

    Raises SettingsError, DirectoryError, CredentialError, ListenError, LogError or PolicyError (a catalog
    that is refused) before anything is served, and LogError when the log can no longer be written.
    """
    config = load_settings(path, NodeConfig)
    unlock = read_passphrase(config.keys.unlock, path.parent)
    tls = read_tls(config.tls, unlock)
    catalog = load_catalog(config.data.folder / "catalog.yaml")
    if catalog.department != config.name:
        raise SettingsError(
            f"{path}: name is {config.name}, the catalog is of {catalog.department}; correct one of the two"
        )
    with ExitStack() as stack:
        store = NodeStore(config.store, Vault(read_secret(config.keys.store, "store", unlock)))
        stack.callback(store.close)
        directory = _directory(config, store)
        require_member(directory, config.name, "node", tls)
        executor = stack.enter_context(make_executor(config.workers))
        keys = _keys(config, directory, unlock)
        broken = threading.Event()
        log = EvidenceLog(config.log, config.name, keys.identity, on_failure=broken.set)
        stack.callback(log.close)
        log.append(
            ServiceStarted(
                release=version("veilmatch"),
                directory=directory.digest.hex(),
                directory_version=directory.version,
            )
        )
        if keys.officer is not None:
            _log.warning("this machine decides in the officer's name: keys.officer is set", node=config.name)
        data = DataFolder(catalog, config.data.folder, config.data.databases)
        rules = Rules(**config.budget.model_dump())
        rights = Rights(
            config.name,
            catalog=catalog,
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
        stack.enter_context(_erasing(jobs))
        linkage = NodeLinkage(
            config.name, keys=keys, directory=directory, store=store, data=data, modes=config.linkage
        )
        tasks = Tasks(
            LinkageTasks(directory, linkage, log, reports=config.reports),
            JobTasks(directory, jobs, executor, reports=config.reports, results=config.results),
            log,
        )
        if config.console is not None:
            desk = Desk(
                config.name, catalog=catalog, directory=directory, store=store.desk, log=log, rules=rules
            )
            stack.enter_context(_officers_page(config.console, desk))
        if config.listen is not None:
            server = stack.enter_context(Server(tls, RoleGate(directory.federation, directory, ROLES)))
            server.add(SERVICE, lambda grpc_server: register(tasks, grpc_server))
            port = server.start(config.listen)
            _log.info("listening", node=config.name, port=port)
            server.run(until=broken)
        else:
            coordinator = directory.coordinator
            attachment = Attachment(coordinator, directory.member(coordinator).address, tls, tasks)
            _stop_on_signal(attachment)
            threading.Thread(target=_stop_when, args=(broken, attachment), daemon=True).start()
            _log.info("dialling", node=config.name)
            attachment.run()
        log.require_writable()  # where that is why it ends, the reason is the command's last line


def _officers_page(settings: ConsoleSettings, desk: Desk) -> AbstractContextManager[int]:
    """Begin to serve the officer's page.  Raises SettingsError where its libraries are not installed."""
    try:
        from veilmatch_node.console.server import serving  # noqa: PLC0415  an extra, for nodes with a page
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"[console] needs {error.name}, which is not installed; install veilmatch with the extra console"
        ) from None
    return serving(settings, desk)


def _keys(config: NodeConfig, directory: Directory, unlock: Passphrase | None) -> NodeKeys:
    """Read the node's keys; SettingsError for one whose public half the directory does not give."""
    name, files = config.name, config.keys
    identity = IdentityKey.from_bytes(read_secret(files.identity, "identity", unlock))
    sealing = AgreementKey.from_bytes(read_secret(files.sealing, "sealing", unlock))
    _require_listed(files.identity, identity.public, directory.identity(name), name)
    _require_listed(files.sealing, sealing.public, directory.sealing(name), name)
    officer = quota = None
    if files.officer is not None:
        officer = IdentityKey.from_bytes(read_secret(files.officer, "officer", unlock))
        _require_listed(files.officer, officer.public, directory.officer(name), name)
    if files.quota is not None:
        quota = read_quota(files.quota, name, directory.officer(name))
    return NodeKeys(identity, sealing, officer, quota)


def _require_listed(path: Path, own: bytes, listed: bytes, name: str) -> None:
    if own != listed:
        raise SettingsError(
            f"{path}: is not the key that the directory gives for {name}; restore it, or have a new directory signed"
        )


def _directory(config: NodeConfig, store: NodeStore) -> Directory:
    seen = store.setting(_VERSION)
    directory = read_directory(config.federation, oldest=1 if seen is None else int.from_bytes(seen, "big"))
    store.set_setting(_VERSION, directory.version.to_bytes(8, "big"))
    return directory


@contextmanager
def _erasing(jobs: NodeJobs) -> Iterator[None]:
    """Erase expired jobs now and every hour, also at a node that nobody asks anything (protocol.md, 4.7)."""
    stopped = threading.Event()

    def erase() -> None:
        jobs.close_expired()
        while not stopped.wait(_ERASE_SECONDS):
            jobs.close_expired()

    thread = threading.Thread(target=erase, name="erase expired jobs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _stop_when(broken: threading.Event, attachment: Attachment) -> None:
    broken.wait()
    attachment.stop()


def _stop_on_signal(attachment: Attachment) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        attachment.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
