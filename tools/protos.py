"""Generate the stubs of proto/ into a folder, or check that the stubs there are what proto/ gives.

usage: protos.py [--check] FOLDER
"""

import filecmp
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc_tools

PROTO = Path("proto")
WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"


def generate(folder: Path) -> None:
    """Write the Python stubs and their type stubs for every file of proto/ below ``folder``."""
    sources = sorted(str(path) for path in PROTO.glob("veilmatch_wire/**/*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"-I{WELL_KNOWN}"]
    command += [f"--{kind}_out={folder}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    tools = Path(sys.executable).parent  # protoc looks for the mypy plugins on PATH
    run = subprocess.run(
        [*command, *sources], check=False, env={"PATH": str(tools)}, capture_output=True, text=True
    )
    if run.returncode:
        sys.exit(run.stderr)
    for package in ("veilmatch_wire", "veilmatch_wire/v1"):
        (folder / package / "__init__.py").touch()


def differences(folder: Path, fresh: Path) -> list[str]:
    """Name every file that is missing, left over or different; both directions, new files too."""
    have = {p.relative_to(folder) for p in folder.rglob("*.py*") if "__pycache__" not in p.parts}
    want = {p.relative_to(fresh) for p in fresh.rglob("*.py*")}
    same = {p for p in have & want if filecmp.cmp(folder / p, fresh / p, shallow=False)}
    return sorted(str(p) for p in (have | want) - same)


def main() -> int:
    """Run the command line."""
    folder = Path(sys.argv[-1])
    if "--check" not in sys.argv:
        generate(folder)
        return 0
    with tempfile.TemporaryDirectory() as fresh:
        generate(Path(fresh))
        drift = differences(folder, Path(fresh))
    if drift:
        print(f"stubs differ from proto/: {', '.join(drift)}; run `make protos` and commit the result")
    return 1 if drift else 0


if __name__ == "__main__":
    sys.exit(main())
