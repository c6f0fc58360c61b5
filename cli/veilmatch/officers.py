"""Officers of a local federation (`local run --approvals DIR`): their decisions are signed, not assumed.

DIR/root.key                       the local federation's root, made at the first run: approvals are bound to it
DIR/DEPARTMENT/officer.pub, quota.toml     as `veilmatch node officer` writes them
DIR/DEPARTMENT/*.request.json      what waits for the officer, written by a run that it stopped
DIR/DEPARTMENT/*.decision.json     what the officer signed
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from veilmatch.errors import UsageError
from veilmatch.membership.officer import officer_key
from veilmatch_crypto import IdentityKey
from veilmatch_node.desk_access import open_desk
from veilmatch_node.whole_file import write_whole
from veilmatch_transport import read_secret


@dataclass(frozen=True)
class Officers:
    """A folder of officers' keys and decisions."""

    folder: Path

    def root(self) -> IdentityKey:
        """Return the root's key; it is made when there is none."""
        path = self.folder / "root.key"
        if not path.exists():
            write_whole(path, IdentityKey.generate().to_bytes().hex().encode() + b"\n")
        return IdentityKey.from_bytes(read_secret(path, "root", None))

    def public(self, department: str) -> str:
        """Return a department's officer's public key, hex.  Raises UsageError where there is none."""
        folder = self.folder / department
        public = officer_key(folder)
        if public is None or not self.quota(department).exists():
            raise UsageError(
                f"{folder}: holds no officer; make one with `veilmatch node officer {department} --home {folder}`"
            )
        return public

    def quota(self, department: str) -> Path:
        """Where the quota is that a department's officer signed."""
        return (self.folder / department / "quota.toml").resolve()

    def bring(self, configs: Mapping[str, Path], departments: Iterable[str]) -> None:
        """Take what officers signed to their running nodes.  Raises ApprovalError for what is not theirs."""
        for name in departments:
            with open_desk(configs[name]) as desk:
                for path in sorted((self.folder / name).glob("*.decision.json")):
                    desk.take(path.read_bytes())

    def fetch(self, configs: Mapping[str, Path], departments: Iterable[str]) -> None:
        """Write what waits at running nodes, for their officers to decide."""
        for name in departments:
            with open_desk(configs[name]) as desk:
                for waiting in desk.waiting():
                    path = self.folder / name / f"{waiting.policy.name}.request.json"
                    write_whole(path, desk.export(waiting.digest))
