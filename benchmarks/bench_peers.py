"""A 40-bit comparison by others that install from PyPI, as ratios to ours in one run.

Counted is the CPU of all parties together; ours are recipient, coordinator and dealer.  A peer
runs where this interpreter has it, else where uv has what the program in ``peers/`` pins:
``uv sync --script benchmarks/peers/NAME_comparison.py`` fetches it, once.  Where it is in neither
place its benchmark is skipped, and says so.
"""

import importlib.util
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bench_circuit import CHUNK, PEOPLE, work

from veilmatch_crypto.circuit import negative

PROGRAMS = Path(__file__).parent / "peers"
SECONDS = 600  # most of it for making TNO's key


def installed(module: str) -> bool:
    """Whether this interpreter has the module: its parents are looked up first, outermost to innermost."""
    parts = module.split(".")
    return all(importlib.util.find_spec(".".join(parts[: i + 1])) for i in range(len(parts)))


def interpreter(module: str, program: Path) -> list[str]:
    """The command that runs the program; skips the test where there is none."""
    if installed(module):
        return [sys.executable]
    uv = [sys.executable, "-m", "uv"]
    script = ["--offline", "--python", sys.executable, "--script", str(program)]
    ready = subprocess.run([*uv, "sync", *script], capture_output=True, text=True, check=False)
    if ready.returncode:
        pytest.skip(f"{module} is not installed; uv sync --script benchmarks/peers/{program.name} fetches it")
    return [*uv, "run", "--quiet", "--offline", "--python", sys.executable, "--script"]


def our_us() -> float:
    start = time.process_time()
    work(negative, CHUNK)
    return (time.process_time() - start) / PEOPLE * 1e6


@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.benchmark(group="peers")
@pytest.mark.parametrize(
    ("module", "name", "arguments"),
    [
        ("spu", "spu", ["100000", "SEMI2K"]),
        ("spu", "spu", ["100000", "CHEETAH"]),
        ("mpyc", "mpyc", ["5000", "-M3"]),
        ("tno.mpc.protocols.secure_comparison", "tno", ["20"]),
    ],
    ids=["spu-semi2k", "spu-cheetah", "mpyc", "tno"],
)
def test_comparison(benchmark, module: str, name: str, arguments: list[str]) -> None:
    program = PROGRAMS / f"{name}_comparison.py"
    command = [*interpreter(module, program), str(program), *arguments]
    before = [our_us() for _ in range(5)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert ended.returncode == 0, ended.stderr[-2000:]
    (line,) = (line for line in ended.stdout.splitlines() if line.startswith("{"))
    ours = statistics.median([*before, *(our_us() for _ in range(5))])
    peer = json.loads(line)
    benchmark.extra_info.update(
        peer_us=round(peer["us"], 2),
        peer_comparisons=peer["comparisons"],
        ours_us=round(ours, 3),
        times_ours=round(peer["us"] / ours, 1),
    )
    print(f"\n{benchmark.name}: {benchmark.extra_info}")
    benchmark.pedantic(work, (negative, CHUNK), rounds=3)
