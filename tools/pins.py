"""Lock files as other tools read them: what is pinned, with which marker and which hashes."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

RUNTIME = Path("deploy/requirements.txt")  # what a service needs
EVERYTHING = Path("requirements.txt")  # that, and what developers need

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})(?![0-9a-f])")


@dataclass(frozen=True)
class Pin:
    """One package in one version, for the targets that its marker holds for (PEP 508)."""

    name: str  # normalised: lower case, hyphens
    version: str
    marker: Marker | None
    hashes: frozenset[str]  # SHA-256 of its files, hex

    def line(self) -> str:
        """Return it as a lock file has it, for targets that are known to need it: without the marker."""
        return " ".join(
            [f"{self.name}=={self.version}", *(f"--hash=sha256:{h}" for h in sorted(self.hashes))]
        )


def read_pins(path: Path) -> list[Pin]:
    """Read a lock file.  Raises ValueError for a line that is no exact pin with at least one hash."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line[0] != "#"]
    return [_pin(block) for block in re.split(r"^(?=\S)", "".join(lines), flags=re.MULTILINE) if block]


def for_target(pins: Iterable[Pin], python: str, machine: str) -> list[Pin]:
    """Return what a Linux with this CPython ("3.11") and this machine ("x86_64", "aarch64") installs."""
    environment = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
    return [pin for pin in pins if pin.marker is None or pin.marker.evaluate(environment)]


def _pin(block: str) -> Pin:
    written, *hashes = block.replace("\\\n", "\n").splitlines()
    requirement = Requirement(written.strip())
    version = str(requirement.specifier).removeprefix("==")
    found = [_HASH.fullmatch(line.strip()) for line in hashes]
    if str(requirement.specifier) != f"=={version}" or not found or None in found:
        raise ValueError(f"{requirement.name}: is not pinned to one version by hashes; run `make lock`")
    name = canonicalize_name(requirement.name)
    return Pin(name, version, requirement.marker, frozenset(match[1] for match in found if match))
