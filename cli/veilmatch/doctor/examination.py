"""One member's machine, looked at from its configuration file outwards.

Every group of checks yields lines; what a group needs and does not have (no configuration, no key that opens) it
leaves out, since the line that says why stands above.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from veilmatch.operator import OperatorConfig
from veilmatch_coordinator.config import CoordinatorConfig
from veilmatch_crypto import Passphrase
from veilmatch_node.config import NodeConfig
from veilmatch_policy.directory import Directory
from veilmatch_transport import SettingsError, TlsIdentity, load_settings, read_passphrase
from veilmatch_transport.health import Finding, Status, failed, ok

Config = NodeConfig | CoordinatorConfig | OperatorConfig
Role = Literal["node", "coordinator", "operator"]


class Line(NamedTuple):
    """A check: what it is about, and what it found."""

    check: str
    finding: Finding

    @property
    def word(self) -> str:
        """How it came out, for people."""
        return "warning" if self.finding.status is Status.DEGRADED else self.finding.status.value

    def __str__(self) -> str:
        return f"{self.word}: {self.check}: {self.finding}"


@dataclass
class Examined:
    """What is known of a member so far; each group adds what it could read."""

    path: Path
    role: Role
    config: Config
    unlock: Passphrase | None = None
    tls: TlsIdentity | None = None
    directory: Directory | None = None


def examine(path: Path) -> Iterator[Line]:
    """Look at everything that a configuration file names; lines as they come."""
    # Each group loads what it needs, and some of it is slow: DuckDB, database drivers.
    from veilmatch.doctor import databases, keys, machine, membership, peers, state, workers  # noqa: PLC0415  see above

    try:
        role = _role(path)
        models: dict[Role, type[Config]] = {
            "node": NodeConfig,
            "coordinator": CoordinatorConfig,
            "operator": OperatorConfig,
        }
        member = Examined(path, role, load_settings(path, models[role]))
        yield Line("configuration", ok(f"{path} is a valid file of {_article(role)}"))
        member.unlock = read_passphrase(member.config.keys.unlock, path.parent)
    except Exception as error:  # noqa: BLE001  whatever keeps it from being read is what the line says
        yield Line("configuration", refused(error))
        return
    for group in (
        keys.look,
        membership.look,
        state.look,
        machine.look,
        databases.look,
        workers.look,
        peers.look,
    ):
        yield from group(member)


def refused(error: Exception) -> Finding:
    """A failure in the words of our own error, which say what to do; of any other only its kind."""
    if not hasattr(error, "exit_code"):
        return failed(type(error).__name__, "look at the file and its disk")
    what, _, remedy = str(error).rpartition("; ")
    return failed(what or remedy, remedy if what else "")


def _role(path: Path) -> Role:
    """Whose file it is, by what only that role has."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); check --config") from None
    except (tomllib.TOMLDecodeError, UnicodeError) as error:
        raise SettingsError(f"{path}: is not TOML ({error}); correct it") from None
    if "data" in tables:
        return "node"
    return "coordinator" if "evidence" in tables or "log" in tables else "operator"


def _article(role: Role) -> str:
    return "an operator" if role == "operator" else f"a {role}"
