"""The repository as its tests see it: its root, its files, its documents."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]

PACKAGES = {
    "veilmatch_crypto": ROOT / "crypto" / "veilmatch_crypto",
    "veilmatch_policy": ROOT / "policy" / "veilmatch_policy",
    "veilmatch_evidence": ROOT / "evidence" / "veilmatch_evidence",
    "veilmatch_transport": ROOT / "transport" / "veilmatch_transport",
    "veilmatch_node": ROOT / "node" / "veilmatch_node",
    "veilmatch_coordinator": ROOT / "coordinator" / "veilmatch_coordinator",
    "veilmatch": ROOT / "cli" / "veilmatch",
}


def read(name: str) -> str:
    """A document's text."""
    return (ROOT / name).read_text(encoding="utf-8")


def documents() -> list[str]:
    """Every document, by its path."""
    return [name for name in files() if name.endswith(".md")]


def files() -> list[str]:
    """Every file that is, or is about to be, in the repository: what git tracks and does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    return sorted(name for name in listed.decode().split("\0") if name and (ROOT / name).is_file())
