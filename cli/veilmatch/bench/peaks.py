"""The largest resident memory of processes, as the kernel counts it (proc(5), VmHWM)."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_RESET_PEAK = "5"  # written to clear_refs: VmHWM starts again from what is resident now


def reset_peaks(members: Mapping[str, int]) -> None:
    """Start the peaks of members, by name and process, and of their workers, anew where the kernel lets us."""
    for process in _processes(members).values():
        with suppress(OSError):
            Path(f"/proc/{process}/clear_refs").write_text(_RESET_PEAK, encoding="ascii")


def read_peaks(members: Mapping[str, int]) -> dict[str, float]:
    """The peak of each member, in MiB, and of the largest of its workers (``NAME, worker``), before they stop."""
    peaks: dict[str, float] = {}
    for (name, worker), process in _processes(members).items():
        with suppress(OSError):  # it has ended
            status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
            mebibytes = int(status.split("VmHWM:")[1].split()[0]) / 1024
            called = f"{name}, worker" if worker else name
            peaks[called] = max(mebibytes, peaks.get(called, 0.0))
    return peaks


def _processes(members: Mapping[str, int]) -> dict[tuple[str, int], int]:
    """Every process of every member: the member's own as worker 0."""
    found = {}
    for name, process in members.items():
        for worker, each in enumerate([process, *_descendants(process)]):
            found[name, worker] = each
    return found


def _descendants(process: int) -> list[int]:
    children: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            children += map(int, task.read_text(encoding="ascii").split())
    return [each for child in children for each in (child, *_descendants(child))]
