"""A whole federation on this machine: started, linked, and asked one policy after another."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from veilmatch.client import NODE, OFFICE, Linked, Operator, Progress, wait_for
from veilmatch.departments import Department, today
from veilmatch.errors import ProcessError
from veilmatch.federation import COORDINATOR, LocalFederation, NodePlan, make_federation
from veilmatch.processes import Members, reserved_ports
from veilmatch_policy.policy import Policy
from veilmatch_transport import PeerError

_START_SECONDS = 60.0  # a dozen processes that import everything on two slow cores


@dataclass(frozen=True)
class RunSettings:
    """The options of ``local run``."""

    linkage: str
    key_bits: int
    workers: int


class LocalRun:
    """A running federation: link it once, then run policies."""

    def __init__(self, federation: LocalFederation, members: Members, out: Path, operator: Operator) -> None:
        self._federation = federation
        self.members = members
        self._operator = operator
        self.out = out

    def link(self, linkage: str, progress: Progress) -> Linked:
        """Link all departments and write ``reports/linkage.json``.  Raises JobFailedError or PeerError."""
        linked = self._operator.link(linkage, today().isoformat(), progress)
        reports = self.out / "reports"
        merged = {
            name: json.loads((reports / name / "linkage.json").read_text(encoding="utf-8"))
            for name in linked.people
        }
        _write_json(
            reports / "linkage.json", {"linkage": linkage, "slots": linked.padded, "departments": merged}
        )
        return linked

    def run(self, policy: Policy, key_bits: int, progress: Progress) -> dict[str, object]:
        """Run one policy; the recipient's result.json.  Raises JobFailedError or PeerError."""
        self._operator.run(policy.source, key_bits, progress)
        path = self.out / policy.name / "result.json"
        result: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
        return result


@contextmanager
def local_federation(
    departments: Mapping[str, Department], out: Path, settings: RunSettings
) -> Iterator[LocalRun]:
    """Start one process a department and one for the coordinator; stop them at the end.

    Keys, certificates and stores live in a folder that is removed with them.  Raises ProcessError
    or PeerError where a member does not start.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = sorted(departments)
    with tempfile.TemporaryDirectory(prefix="veilmatch-") as home, reserved_ports(len(names) + 1) as ports:
        addresses = [f"127.0.0.1:{port}" for port in ports]
        plans = {
            name: NodePlan(departments[name].folder, address, {})
            for name, address in zip(names, addresses[1:], strict=True)
        }
        federation = make_federation(
            Path(home) / "federation", out.resolve(), plans, addresses[0], workers=settings.workers
        )
        _keep_directory(Path(home) / "federation", out / "evidence")
        members = Members(out / "logs")
        try:
            members.start(federation.configs, COORDINATOR)
            _wait_for_all(federation, members)
            operator = Operator(addresses[0], COORDINATOR, federation.operator)
            try:
                yield LocalRun(federation, members, out, operator)
            finally:
                operator.close()
        finally:
            members.stop()


def _wait_for_all(federation: LocalFederation, members: Members) -> None:
    for name, address in federation.addresses.items():
        service = OFFICE if name == COORDINATOR else NODE
        for _ in range(int(_START_SECONDS)):
            members.check()
            try:
                wait_for(address, name, service, federation.operator, timeout=1.0)
            except PeerError:
                continue
            break
        else:
            raise ProcessError(
                f"{name}: does not answer after {_START_SECONDS:g} seconds; see {members.logs / name}.log"
            )


def _keep_directory(federation: Path, evidence: Path) -> None:
    evidence.mkdir(parents=True, exist_ok=True)
    for name in ("federation.toml", "federation.toml.sig"):
        shutil.copyfile(federation / name, evidence / name)
    # Whoever ran this approved in the name of every officer: an auditor must see it.
    _write_json(evidence / "trust.json", {"trust": "one-machine"})


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
