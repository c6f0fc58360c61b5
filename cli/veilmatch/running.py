"""A whole federation on this machine: started, linked, and asked one policy after another."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from veilmatch.client import NODE, OFFICE, Linked, Operator, Progress, Submission, wait_for
from veilmatch.departments import Department, today
from veilmatch.errors import JobFailedError, ProcessError, UsageError
from veilmatch.federation import COORDINATOR, LocalFederation, NodePlan, make_federation
from veilmatch.grouping import Job
from veilmatch.officers import Officers
from veilmatch.processes import Members, reserved_ports
from veilmatch_policy.check import EXTRA_DEALER
from veilmatch_policy.policy import Policy
from veilmatch_transport import PeerError

_START_SECONDS = 60.0  # a dozen processes that import everything on two slow cores


@dataclass(frozen=True)
class RunSettings:
    """The options of ``local run``."""

    linkage: str
    key_bits: int
    workers: int
    slots: str = "union"


def register_of(policies: Sequence[Policy], settings: RunSettings) -> str | None:
    """Return whose people are the slots: in register mode the household register that the policies name.

    Raises UsageError where they name none, or several, or the linkage is not by OPRF.
    """
    if settings.slots == "union":
        return None
    named = sorted({policy.household.department for policy in policies if policy.household is not None})
    if len(named) != 1:
        raise UsageError(
            f"--slots register: the policies name {len(named)} household registers; run policies of one"
        )
    if settings.linkage != "oprf":
        raise UsageError("--slots register: needs the OPRF; leave --linkage out, or ask for --slots union")
    return named[0]


class LocalRun:
    """A running federation: link it once, then run policies."""

    def __init__(
        self,
        federation: LocalFederation,
        departments: Sequence[str],
        members: Members,
        out: Path,
        operator: Operator,
        officers: Officers | None,
    ) -> None:
        self._federation = federation
        self._officers = officers
        self.departments = departments
        self.members = members
        self._operator = operator
        self.out = out

    def link(self, settings: RunSettings, progress: Progress) -> Linked:
        """Link all departments and write ``reports/linkage.json``.  Raises JobFailedError or PeerError."""
        linked = self._operator.link(settings.linkage, settings.slots, today().isoformat(), progress)
        reports = self.out / "reports"
        merged = {
            name: json.loads((reports / name / "linkage.json").read_text(encoding="utf-8"))
            for name in self.departments
        }
        _write_json(
            reports / "linkage.json",
            {"linkage": settings.linkage, "slots": linked.padded, "departments": merged},
        )
        return linked

    def run(self, job: Job, key_bits: int, progress: Progress) -> list[dict[str, object]]:
        """Run policies as one job; their results, in their order.  Raises JobFailedError or PeerError.

        The recipient has written those of policies that reveal members; a count is the coordinator's to
        know, and the office's operator, who runs this, writes it.
        """
        submission = self._operator.submit([policy.source for policy in job], key_bits)
        copies = self._operator.watch(submission.job, progress, self._do_not_wait)
        results = []
        for policy, copy in zip(job, copies, strict=True):
            path = self.out / policy.name / "result.json"
            if policy.reveal == "count":
                path.parent.mkdir(parents=True, exist_ok=True)
                _write_json(path, copy)
            results.append(json.loads(path.read_text(encoding="utf-8")))
        return results

    def _do_not_wait(self, submission: Submission) -> None:
        """End a job that waits for officers: they are asked with files, and nobody is there to decide."""
        if submission.state != "waiting":
            return
        self._operator.cancel(submission.job)
        names = ", ".join(submission.waits_for)
        line = f"job: the officers of {names} have not approved it"
        if self._officers is not None:
            self._officers.fetch(self._federation.configs, submission.waits_for)
            line += (
                f"; decide {self._officers.folder}/*/*.request.json with `veilmatch node approvals sign` "
                "and run again"
            )
        raise JobFailedError(line, 5)


@contextmanager
def local_federation(
    departments: Mapping[str, Department],
    out: Path,
    settings: RunSettings,
    *,
    extra_dealer: bool = False,
    register: str | None = None,
    officers: Officers | None = None,
) -> Iterator[LocalRun]:
    """Start one process a department and one for the coordinator; stop them at the end.

    With ``extra_dealer`` one more, a node without data that deals where no department can; ``register`` is
    the department whose people are the slots, in register mode; with ``officers`` decisions are theirs.  Keys,
    certificates and stores live in a folder that is removed with them.  Raises ProcessError or PeerError where
    a member does not start.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = [*sorted(departments), *([EXTRA_DEALER] if extra_dealer else [])]
    with tempfile.TemporaryDirectory(prefix="veilmatch-") as home, reserved_ports(len(names) + 1) as ports:
        addresses = [f"127.0.0.1:{port}" for port in ports]
        folders = {name: department.folder for name, department in departments.items()}
        if extra_dealer:
            folders[EXTRA_DEALER] = _without_data(Path(home) / EXTRA_DEALER)
        plans = {
            name: NodePlan(folders[name], address, {})
            for name, address in zip(names, addresses[1:], strict=True)
        }
        federation = make_federation(
            Path(home) / "federation",
            out.resolve(),
            plans,
            addresses[0],
            workers=settings.workers,
            dealers=tuple(names),
            register=register,
            officers=officers,
        )
        members = Members(out / "logs")
        try:
            members.start(federation.configs, COORDINATOR)
            _wait_for_all(federation, members)
            if officers is not None:
                officers.bring(federation.configs, sorted(departments))
            operator = Operator(addresses[0], COORDINATOR, federation.operator)
            try:
                yield LocalRun(federation, sorted(departments), members, out, operator, officers)
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


def _without_data(folder: Path) -> Path:
    """The folder of a node that has no data."""
    folder.mkdir()
    (folder / "catalog.yaml").write_text(f"department: {EXTRA_DEALER}\ntables: {{}}\n", encoding="utf-8")
    return folder


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
