"""Peers: other libraries' programs, each in an interpreter of its own, measured round by round beside ours.

A program (``programs/NAME.py``) pins what it needs in its head (PEP 723), for peers want other versions of
what we pin.  It runs where this interpreter has its module, else where uv has fetched its pins once
(``uv sync --script``); nothing is fetched here.  Line by line, JSON: the program prints what it has made
ready (seconds for its keys, versions); then, for each operation on standard input, one sample.
"""

import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from threading import Timer
from typing import IO, Any

from veilmatch.bench.errors import PeerSkippedError

_READY_SECONDS = 300.0  # most of it for making keys: TNO's take minutes
_ROUND_SECONDS = 600.0
_END_SECONDS = 10.0


@dataclass(frozen=True)
class Peer:
    """A peer by its name in reports: its program, the module that it measures, and its last arguments.

    ``apart`` is what its program does before its rounds.
    """

    name: str
    program: str
    module: str
    more: tuple[str, ...] = ()
    apart: str = "keys"


@dataclass(frozen=True)
class Sample:
    """One round of a peer: seconds of processor time, all parties together, for ``items``."""

    seconds: float
    items: int


class RunningPeer:
    """A peer that is ready; ``apart`` are the seconds that took."""

    def __init__(self, peer: Peer, process: "subprocess.Popen[str]", said: IO[str]) -> None:
        self.name = peer.name
        self.what_is_apart = peer.apart
        self._process = process
        self._said = said
        ready = self._answer(_READY_SECONDS)
        self.apart: float = ready["apart"]
        self.versions: dict[str, str] = ready["versions"]

    def round(self, operation: str) -> Sample:
        """Measure one round of an operation.  Raises PeerSkippedError where the program fails."""
        with suppress(BrokenPipeError):  # it has ended, and the answer does not come
            _pipe(self._process.stdin).write(f"{operation}\n")
            _pipe(self._process.stdin).flush()
        sample = self._answer(_ROUND_SECONDS)
        return Sample(sample["seconds"], sample["items"])

    def _answer(self, seconds: float) -> dict[str, Any]:
        late = Timer(seconds, _kill, [self._process])
        late.start()
        try:
            for line in _pipe(self._process.stdout):
                if line.startswith("{"):  # libraries print remarks
                    answer: dict[str, Any] = json.loads(line)
                    return answer
        finally:
            late.cancel()
        code = self._process.wait()
        if code == -signal.SIGKILL:
            raise PeerSkippedError(f"its program took more than {seconds:g} seconds, or was killed")
        self._said.seek(0)
        raise PeerSkippedError(f"its program failed: {_last_line(self._said.read(), code)}")


@dataclass
class Peers:
    """Starts peers, and remembers the versions of those that ran."""

    versions: dict[str, dict[str, str]] = field(default_factory=dict)

    @contextmanager
    def running(self, peer: Peer, argument: str) -> Iterator[RunningPeer]:
        """Run a peer's program while the context is open; ``argument`` is its size or its key's length.

        Raises PeerSkippedError where it is not installed or does not get ready.
        """
        program = programs() / f"{peer.program}.py"
        command = [*_interpreter(peer.module, program), str(program), argument, *peer.more]
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said,
            # A session of its own: it is ended with all that it starts.
            subprocess.Popen(  # noqa: S603  our own program
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                start_new_session=True,
            ) as process,
        ):
            try:
                running = RunningPeer(peer, process, said)
                self.versions[peer.name] = running.versions
                yield running
            finally:
                with suppress(BrokenPipeError):
                    _pipe(process.stdin).close()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_END_SECONDS)
                _kill(process)


def programs() -> Path:
    """The folder of the peers' programs."""
    return Path(str(files("veilmatch.bench"))) / "programs"


@cache
def _interpreter(module: str, program: Path) -> tuple[str, ...]:
    """The command that runs a program.  Raises PeerSkippedError where there is none."""
    if _installed(module):
        return (sys.executable,)
    uv = _uv()
    # Which Python: uv chooses, by the program's head, as it did when it fetched what is pinned there.
    ready = subprocess.run(  # noqa: S603  as above
        [*uv, "sync", "--offline", "--script", str(program)], capture_output=True, text=True, check=False
    )
    if ready.returncode:
        said = _last_line(ready.stderr, ready.returncode)
        fetch = shlex.join([*uv, "sync", "--script", str(program)])
        raise PeerSkippedError(f"uv has not got it ready ({said}); `{fetch}` fetches it, once")
    return (*uv, "run", "--quiet", "--offline", "--script")


def _uv() -> tuple[str, ...]:
    if importlib.util.find_spec("uv"):
        return (sys.executable, "-m", "uv")
    found = shutil.which("uv")
    if found is None:
        raise PeerSkippedError("uv, which runs peers apart, is not installed; `pip install uv`")
    return (found,)


def _installed(module: str) -> bool:
    """Whether this interpreter has the module: its parents are looked up first, outermost to innermost."""
    parts = module.split(".")
    return all(importlib.util.find_spec(".".join(parts[: i + 1])) for i in range(len(parts)))


def _last_line(said: str, code: int) -> str:
    """What a program that failed said last."""
    lines = said.strip().splitlines()
    return lines[-1].strip() if lines else f"exit code {code}"


def _kill(process: "subprocess.Popen[str]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:  # both are asked for
        raise TypeError("a process without pipes")
    return pipe
