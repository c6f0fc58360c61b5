"""`veilmatch node serve`: puts a node together from its configuration and runs it until it is told to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import structlog

from veilmatch_crypto import AgreementKey, IdentityKey, Vault, make_executor
from veilmatch_node.answers import DataFolder
from veilmatch_node.client import Attachment
from veilmatch_node.config import NodeConfig
from veilmatch_node.jobs import NodeJobs
from veilmatch_node.linkage import NodeKeys, NodeLinkage
from veilmatch_node.quota import read_quota
from veilmatch_node.service import ROLES, SERVICE, Tasks, register
from veilmatch_node.store import NodeStore
from veilmatch_policy.catalog import load_catalog
from veilmatch_policy.directory import Directory
from veilmatch_transport import (
    RoleGate,
    Server,
    SettingsError,
    load_settings,
    read_directory,
    read_secret,
    read_tls,
    require_member,
)

_ERASE_SECONDS = 3600.0
_VERSION = "directory-version"  # the setting that holds the highest directory version seen

_log = structlog.get_logger(__name__)


def serve(path: Path) -> None:
    """Run the node that a configuration file describes; returns when it was told to stop.

    Raises SettingsError, DirectoryError, CredentialError, ListenError or PolicyError (a catalog
    that is refused) before anything is served.
    """
    config = load_settings(path, NodeConfig)
    tls = read_tls(config.tls)
    catalog = load_catalog(config.data.folder / "catalog.yaml")
    if catalog.department != config.name:
        raise SettingsError(
            f"{path}: name is {config.name}, the catalog is of {catalog.department}; correct one of the two"
        )
    with ExitStack() as stack:
        store = NodeStore(config.store, Vault(read_secret(config.keys.store)))
        stack.callback(store.close)
        directory = _directory(config, store)
        require_member(directory, config.name, "node", tls)
        executor = stack.enter_context(make_executor(config.workers))
        keys = _keys(config, directory)
        data = DataFolder(catalog, config.data.folder, config.data.databases)
        jobs = NodeJobs(
            config.name,
            identity=keys.identity,
            directory=directory,
            store=store,
            data=data,
            executor=executor,
        )
        stack.enter_context(_erasing(jobs))
        tasks = Tasks(
            directory,
            NodeLinkage(
                config.name, keys=keys, directory=directory, store=store, data=data, modes=config.linkage
            ),
            jobs,
            executor,
            reports=config.reports,
            results=config.results,
        )
        if config.listen is not None:
            server = stack.enter_context(Server(tls, RoleGate(directory.federation, directory, ROLES)))
            server.add(SERVICE, lambda grpc_server: register(tasks, grpc_server))
            port = server.start(config.listen)
            _log.info("listening", node=config.name, port=port)
            server.run()
        else:
            coordinator = directory.coordinator
            attachment = Attachment(coordinator, directory.member(coordinator).address, tls, tasks)
            _stop_on_signal(attachment)
            _log.info("dialling", node=config.name)
            attachment.run()


def _keys(config: NodeConfig, directory: Directory) -> NodeKeys:
    """Read the node's keys; SettingsError for one whose public half the directory does not give."""
    name, files = config.name, config.keys
    identity = IdentityKey.from_bytes(read_secret(files.identity))
    sealing = AgreementKey.from_bytes(read_secret(files.sealing))
    _require_listed(files.identity, identity.public, directory.identity(name), name)
    _require_listed(files.sealing, sealing.public, directory.sealing(name), name)
    officer = quota = None
    if files.officer is not None:
        officer = IdentityKey.from_bytes(read_secret(files.officer))
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


def _stop_on_signal(attachment: Attachment) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        attachment.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
