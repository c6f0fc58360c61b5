"""`veilmatch coordinator serve`: puts a coordinator together from its configuration and runs it."""

import threading
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import structlog

from veilmatch_coordinator.attachments import Attachments
from veilmatch_coordinator.client import Nodes
from veilmatch_coordinator.config import CoordinatorConfig
from veilmatch_coordinator.office import Office
from veilmatch_coordinator.service import ROLES, register
from veilmatch_coordinator.store import CoordinatorStore
from veilmatch_crypto import IdentityKey, make_executor
from veilmatch_evidence.actions import ServiceStarted
from veilmatch_evidence.log import EvidenceLog
from veilmatch_transport import (
    RoleGate,
    Server,
    load_settings,
    read_directory,
    read_passphrase,
    read_secret,
    read_tls,
    require_key,
    require_member,
)

_log = structlog.get_logger(__name__)


def serve(path: Path) -> None:
    """Run the coordinator that a configuration file describes; returns when it was told to stop.

    Raises SettingsError, DirectoryError, CredentialError, ListenError or LogError before anything is served, and
    LogError when the log can no longer be written.
    """
    config = load_settings(path, CoordinatorConfig)
    unlock = read_passphrase(config.keys.unlock, path.parent)
    tls = read_tls(config.tls, unlock)
    with ExitStack() as stack:
        store = CoordinatorStore(config.store)
        stack.callback(store.close)
        directory = read_directory(config.federation, oldest=store.directory_version())
        store.set_directory_version(directory.version)
        require_member(directory, config.name, "coordinator", tls)
        store.close_interrupted()
        identity = IdentityKey.from_bytes(read_secret(config.keys.identity, "identity", unlock))
        require_key(config.keys.identity, identity.public, directory.identity(config.name))
        executor = stack.enter_context(make_executor(config.workers))
        broken = threading.Event()
        log = EvidenceLog(config.log, config.name, identity, on_failure=broken.set)
        stack.callback(log.close)
        log.append(
            ServiceStarted(
                release=version("veilmatch"),
                directory=directory.digest.hex(),
                directory_version=directory.version,
            )
        )
        attachments = Attachments()
        nodes = Nodes(directory, tls, attachments)
        stack.callback(nodes.close)
        office = Office(
            identity=identity,
            directory=directory,
            store=store,
            nodes=nodes,
            executor=executor,
            evidence=config.evidence,
            log=log,
            limits=config.limits(),
        )
        stack.callback(office.stop)
        gate = RoleGate(directory.federation, directory, ROLES)
        # Each job has its own streams to the nodes that dial out.
        members = config.jobs_at_once * len(directory.members)
        server = stack.enter_context(Server(tls, gate, members=members))
        for service, add in register(office, attachments, server.stopping).items():
            server.add(service, add)
        port = server.start(config.listen)
        _log.info("listening", coordinator=config.name, port=port)
        office.start(server.stopping)
        server.run(until=broken)
        log.require_writable()  # where that is why it ends, the reason is the command's last line
