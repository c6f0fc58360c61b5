"""The machine and the versions that a report names."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import gmpy2

from veilmatch.bench.report import Machine

_LIBRARIES = (
    *("veilmatch", "gmpy2", "rbcl", "pycryptodome", "cryptography"),
    *("numpy", "duckdb", "pyarrow", "grpcio", "protobuf"),
)


def this_machine() -> Machine:
    """Describe the machine that this process runs on."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=platform.platform(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        load=round(os.getloadavg()[0], 2),
    )


def our_versions() -> dict[str, str]:
    """The versions of the libraries that decide our times; those that are not installed are left out."""
    return {**versions_of(_LIBRARIES), "GMP": gmpy2.mp_version().removeprefix("GMP ")}


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """The installed versions of some packages."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    """The processor's name, with family, model and stepping: GMP chooses its routines by them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    said = {}
    for line in text.split("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        said[key.strip()] = value.strip()
    numbers = [f"{key} {said[key]}" for key in ("cpu family", "model", "stepping") if key in said]
    return ", ".join([said.get("model name", platform.machine()), *numbers])
