"""Make bundles that install veilmatch where no network is: one a machine type, for every Python that we support.

usage: bundle.py FOLDER [--machine MACHINE]... [--python VERSION]...

FOLDER has the wheel and the bill of materials of this version already.  Downloads what deploy/requirements.txt pins,
by hash, and writes FOLDER/veilmatch-VERSION-linux-MACHINE/ and the same as a .tar.  The same lock file, wheel and
bill give the same bytes.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

from pins import RUNTIME, Pin, for_target, read_pins

MACHINES = ("x86_64", "aarch64")
PYTHONS = ("3.11", "3.12", "3.13")
EXTRAS = "node,coordinator,console,dask"
# The oldest GNU C library that every wheel allows: RHEL 8, Debian 10, Ubuntu 20.04, and whatever is newer.
GLIBC = 28
INSTALL = Path("deploy/install.sh")


def platforms(machine: str) -> list[str]:
    """Return the platform tags of wheels that run there (PEP 600, and its older names)."""
    named = [f"manylinux2014_{machine}"]
    if machine == "x86_64":
        named += ["manylinux2010_x86_64", "manylinux1_x86_64"]
    oldest = 5 if machine == "x86_64" else 17
    return [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, oldest - 1, -1)] + named


def download(pins: Iterable[Pin], machine: str, python: str, folder: Path) -> None:
    """Download wheels for one target.  Raises CalledProcessError where one is missing or has another hash."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as lock:
        # pip would evaluate markers for the Python that it runs in; they were, for the target.
        lock.writelines(pin.line() + "\n" for pin in pins)
        lock.flush()
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--require-hashes", "--no-deps", "--only-binary=:all:", "--requirement", lock.name]
        command += ["--implementation=cp", f"--python-version={python}", "--dest", str(folder)]
        command += [f"--platform={platform}" for platform in platforms(machine)]
        abis = [f"cp{python.replace('.', '')}", "abi3", "none"]
        subprocess.run([*command, *(f"--abi={abi}" for abi in abis)], check=True)


def sha256(path: Path) -> str:
    """Return a file's SHA-256, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fill(folder: Path, version: str, machine: str, pythons: Iterable[str]) -> None:
    """Write a bundle's folder: wheels, their lock, the bill of materials, how to install, and SHA-256 of it all."""
    wheel = folder.parent / f"veilmatch-{version}-py3-none-any.whl"
    pins = read_pins(RUNTIME)
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    for python in pythons:
        download(for_target(pins, python, machine), machine, python, wheels)
    shutil.copy(wheel, wheels)
    ours = f"veilmatch[{EXTRAS}]=={version} \\\n    --hash=sha256:{sha256(wheel)}\n"
    (folder / "requirements.txt").write_text(ours + RUNTIME.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "machine").write_text(f"{machine}\n", encoding="utf-8")
    shutil.copy(INSTALL, folder)
    shutil.copy(folder.parent / f"veilmatch-{version}.cdx.json", folder)
    sums = "".join(f"{sha256(path)}  {path.relative_to(folder)}\n" for path in sorted(files(folder)))
    (folder / "SHA256SUMS").write_text(sums, encoding="utf-8")


def files(folder: Path) -> Iterable[Path]:
    """Return every file below a folder."""
    return (path for path in folder.rglob("*") if path.is_file())


def pack(folder: Path) -> Path:
    """Write the folder as a tar beside it, without times and owners: wheels are compressed already."""
    path = folder.with_name(folder.name + ".tar")
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for file in sorted(files(folder)):
            entry = tarfile.TarInfo(f"{folder.name}/{file.relative_to(folder)}")
            entry.size = file.stat().st_size
            with file.open("rb") as data:
                tar.addfile(entry, data)
    return path


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--machine", action="append", choices=MACHINES)
    parser.add_argument("--python", action="append", choices=PYTHONS)
    chosen = parser.parse_args()
    version = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for machine in chosen.machine or MACHINES:
        folder = chosen.folder / f"veilmatch-{version}-linux-{machine}"
        shutil.rmtree(folder, ignore_errors=True)
        fill(folder, version, machine, chosen.python or PYTHONS)
        path = pack(folder)
        print(f"{path}: {path.stat().st_size / 1e6:.0f} MB, SHA-256 {sha256(path)}")


if __name__ == "__main__":
    main()
