"""A federation of real processes whose members a test can kill, restart, dial and ask, without the command line."""

import sqlite3
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

import pytest
import tomli_w
from processes.relay import Relay
from processes.small_world import POLICIES

from veilmatch import federation as federation_module
from veilmatch.client import NODE, OFFICE, Linked, Operator, wait_for
from veilmatch.errors import JobFailedError
from veilmatch.federation import COORDINATOR, LocalFederation, NodePlan, make_federation
from veilmatch.processes import Members, reserved_ports
from veilmatch_crypto import Credential
from veilmatch_transport import TlsIdentity, wait_until_serving

START_SECONDS = 60.0
DAY = "2025-12-31"
SECONDS = 8.0  # "within seconds", with room for a machine that runs other tests too


def silent(_stage: str, _department: str, _done: int, _total: int) -> None:
    """Show no progress."""


@dataclass
class RealFederation:
    """Running members; everything that they have is below ``folder``."""

    folder: Path
    local: LocalFederation
    members: Members
    operator: Operator
    root: Credential  # of mutual TLS, to make certificates that a real federation would not have
    policies: dict[str, str] = field(default_factory=lambda: dict(POLICIES))
    relays: dict[str, Relay] = field(default_factory=dict)  # in front of members that listen

    @property
    def out(self) -> Path:
        """Where results, reports and evidence are written."""
        return self.folder / "out"

    def address(self, name: str) -> str:
        """Where a member listens."""
        return self.local.addresses[name]

    def home(self, name: str) -> Path:
        """A member's own folder."""
        return self.folder / "federation" / name

    def identity(self, name: str) -> TlsIdentity:
        """A member's own side of TLS, to call in its name."""
        home = self.home(name)
        root = (self.folder / "federation" / "root.pem").read_bytes()
        return TlsIdentity(root, (home / "node.pem").read_bytes(), (home / "node.key").read_bytes())

    def data(self, name: str) -> Path:
        """A department's one file of data."""
        [path] = (self.folder / "departments" / name).glob("*.csv")
        return path

    def log(self, name: str) -> str:
        """What a member has logged so far."""
        return (self.members.logs / f"{name}.log").read_text(encoding="utf-8")

    def link(self, linkage: str = "shared-key", progress: Callable[..., None] = silent) -> Linked:
        """Link a new epoch."""
        return self.operator.link(linkage, "union", DAY, progress)

    def submit(self, *policies: str, progress: Callable[..., None] = silent) -> list[dict[str, object]]:
        """Run policies over the newest epoch, as one job; the coordinator's copies of their results."""
        job = self.operator.submit([self.policies[policy].encode() for policy in policies], 2048)
        return self.operator.watch(job.job, progress)

    def run(self, policy: str, progress: Callable[..., None] = silent) -> list[str]:
        """Run a policy over the newest epoch; the eligible, as the recipient's file has them."""
        self.submit(policy, progress=progress)
        header, *eligible = (self.out / policy / "eligible.csv").read_text(encoding="utf-8").splitlines()
        assert header == "id"
        return eligible

    def refused(self, action: Callable[[], object]) -> JobFailedError:
        """The line and exit code with which linking or running ends, within seconds."""
        began = time.monotonic()
        with pytest.raises(JobFailedError) as refused:
            action()
        assert time.monotonic() - began < SECONDS
        assert "\n" not in str(refused.value)
        return refused.value

    def operator_config(self) -> Path:
        """The operator's configuration file, as `veilmatch job` reads it."""
        home = self.home("operator")
        settings = tomllib.loads(self.local.configs[COORDINATOR].read_text(encoding="utf-8"))
        path = home / "operator.toml"
        shared = {"federation": settings["federation"], "tls": settings["tls"]}
        path.write_text(tomli_w.dumps({"name": "operator"} | shared), encoding="utf-8")
        return path

    def start(self, *names: str) -> None:
        """Start members, and wait until those that listen serve."""
        self.members.start({name: self.local.configs[name] for name in names}, COORDINATOR)
        for name in names:
            if name in self.local.addresses:
                service = OFFICE if name == COORDINATOR else NODE
                wait_for(self.address(name), name, service, self.local.operator, START_SECONDS)

    def kill(self, name: str) -> None:
        """SIGKILL a member's process."""
        process = self.members.running[name]
        process.kill()
        process.join()

    def terminate(self, *names: str) -> dict[str, int]:
        """SIGTERM members' processes; their exit codes.  Fails when one outlives the grace period."""
        for name in names:
            self.members.running[name].terminate()
        deadline = time.monotonic() + 10.0  # limits.GRACE and what an interpreter needs to leave
        return {name: self.ended(name, max(0.1, deadline - time.monotonic())) for name in names}

    def ended(self, name: str, seconds: float) -> int:
        """The exit code of a member that ends by itself.  Fails when it does not, within so many seconds."""
        process = self.members.running[name]
        process.join(seconds)
        assert process.exitcode is not None, f"{name} did not end"
        return process.exitcode

    def configure(self, name: str, **settings: object) -> None:
        """Change settings of a member's configuration, for its next start."""
        path = self.local.configs[name]
        path.write_text(tomli_w.dumps(tomllib.loads(path.read_text(encoding="utf-8")) | settings))

    def stored(self, name: str, query: str) -> list[tuple[object, ...]]:
        """Rows of a member's store, read beside the member that may be running."""
        connection = sqlite3.connect(f"file:{self.home(name) / 'state.sqlite'}?mode=ro", uri=True)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


@contextmanager
def real_federation(
    folder: Path,
    *,
    dialling: frozenset[str] = frozenset(),
    databases: Mapping[str, Mapping[str, str]] | None = None,
    relayed: frozenset[str] = frozenset(),
    settings: Mapping[str, Mapping[str, object]] | None = None,
) -> Iterator[RealFederation]:
    """Start a federation of ``folder``/departments; the ``dialling`` ones have no address.

    In front of each of the ``relayed`` members, which listen, stands a relay: its address is the directory's.
    The test itself reaches members without it.  ``settings`` are members' own, beside those of every test.
    """
    names = sorted(path.name for path in (folder / "departments").iterdir())
    made: list[Credential] = []

    def kept_root(*arguments: object) -> Credential:
        made.append(make_root(*arguments))
        return made[-1]

    make_root = federation_module.make_root
    with reserved_ports(len(names) + 1 + len(relayed)) as ports, ExitStack() as stack:
        addresses = [f"127.0.0.1:{port}" for port in ports]
        behind = dict(zip(sorted(relayed), addresses[len(names) + 1 :], strict=True))
        plans = {
            name: NodePlan(
                folder / "departments" / name,
                None if name in dialling else address,
                (databases or {}).get(name, {}),
            )
            for name, address in zip(names, addresses[1 : len(names) + 1], strict=True)
        }
        with mock.patch.object(federation_module, "make_root", kept_root):
            local = make_federation(folder / "federation", folder / "out", plans, addresses[0], workers=1)
        members = Members(folder / "logs")
        relays = {name: Relay(local.addresses[name], address) for name, address in behind.items()}
        for relay in relays.values():
            stack.callback(relay.close)
        local = replace(local, addresses={**local.addresses, **behind})
        operator = Operator(local.addresses[COORDINATOR], COORDINATOR, local.operator)
        federation = RealFederation(folder, local, members, operator, made[0], relays=relays)
        for name, address in behind.items():
            federation.configure(name, listen=address)
        for name, own in (settings or {}).items():
            federation.configure(name, **own)
        try:
            federation.start(COORDINATOR, *names)
            yield federation
        finally:
            operator.close()
            members.stop()


__all__ = [
    "COORDINATOR",
    "SECONDS",
    "RealFederation",
    "real_federation",
    "silent",
    "wait_until_serving",
]
