"""The machine: room on the disks, and how many files a process may have open."""

import resource
from collections.abc import Iterator
from pathlib import Path

from veilmatch.doctor.examination import Examined, Line
from veilmatch.operator import OperatorConfig
from veilmatch_coordinator.config import CoordinatorConfig
from veilmatch_node.config import NodeConfig
from veilmatch_transport.checks import look_at_room
from veilmatch_transport.health import Finding, degraded, failed, ok

_NEEDED = 256  # files and connections: calls of 64, as many of our own, databases, worker processes
_PLENTY = 1024  # what most systems give


def look(member: Examined) -> Iterator[Line]:
    """Look at the disks that the configuration names, and at the limit."""
    config = member.config
    if isinstance(config, OperatorConfig):
        return
    yield Line("disk", look_at_room(sorted({path.parent for path in _kept(config)})))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Line("open files", look_at_limit(soft))


def look_at_limit(files: int) -> Finding:
    """Say whether so many open files are enough."""
    remedy = "raise LimitNOFILE in the service's unit, or ulimit -n"
    if files < _NEEDED:
        return failed(f"at most {files}, a service needs {_NEEDED}", remedy)
    said = f"at most {files:,} here"
    return ok(said) if files >= _PLENTY else degraded(said, remedy)


def _kept(config: NodeConfig | CoordinatorConfig) -> Iterator[Path]:
    """Everything that the service writes."""
    yield config.log
    if isinstance(config.store, Path):
        yield config.store
    if isinstance(config, NodeConfig):
        yield config.results / "result.json"
        yield config.reports / "linkage.json"
    else:
        yield config.evidence / "index.json"
