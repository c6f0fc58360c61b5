"""Operating-system processes of a local federation: one a member, started and stopped together."""

import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from veilmatch.errors import ProcessError
from veilmatch.main import main

_STOP_SECONDS = 10.0  # the services' own grace period and a little
_LOOPBACK = "127.0.0.1"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Exit codes that come with a line that says what to do (docs/exit-codes.md).
_REFUSALS = frozenset({2, 3, 4, 5})


# One process imports what members work with, once, and does nothing else: members are its forks, each ready at
# once where a new interpreter takes two seconds of processor time.  (A fork of *this* process would copy the
# locks of gRPC's threads in whatever state.  The one thread beside the server's own is of Arrow's jemalloc, which
# prepares its locks for forks by pthread_atfork.)
_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(["veilmatch_node.serve", "veilmatch_coordinator.serve", __name__])


@contextmanager
def reserved_ports(count: int) -> Iterator[list[int]]:
    """Reserve loopback ports while the context is open: nobody else is given them.

    The sockets are bound, not listening, with SO_REUSEPORT, which gRPC's listeners set too: the
    members bind beside them, and connections reach the members only.
    """
    with ExitStack() as stack:
        ports = []
        for _ in range(count):
            held = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind((_LOOPBACK, 0))
            ports.append(held.getsockname()[1])
        yield ports


@dataclass
class Members:
    """The running processes by member, and where each writes its log."""

    logs: Path
    running: dict[str, BaseProcess] = field(default_factory=dict)

    def start(self, configs: Mapping[str, Path], coordinator: str) -> None:
        """Start a process for each configuration; ``coordinator`` names the one that is not a node."""
        self.logs.mkdir(parents=True, exist_ok=True)
        for name, config in configs.items():
            role = "coordinator" if name == coordinator else "node"
            command = [role, "serve", "--config", str(config)]
            log = self.logs / f"{name}.log"
            process = _FORKS.Process(target=_member, args=(command, log, dict(os.environ)))
            try:
                process.start()
            # The fork server's socket is below TMPDIR, and a socket's path is short; EOFError where it was killed.
            except (OSError, EOFError) as error:
                why = getattr(error, "strerror", None) or "the process that starts the others has ended"
                raise ProcessError(
                    f"{name}: its process does not start ({why}); free memory, or shorten TMPDIR"
                ) from error
            self.running[name] = process

    def check(self) -> None:
        """Raise ProcessError naming a member whose process has ended, with its own last line where it refused."""
        for name, process in self.running.items():
            code = process.exitcode
            if code is not None:
                log = self.logs / f"{name}.log"
                said = _refusal(log) if code in _REFUSALS else ""
                why = said or f"its process ended ({_ending(code)}); see {log}"
                raise ProcessError(f"{name}: {why}")

    def stop(self) -> None:
        """Ask all to stop, wait, and kill what is left, also where the wait is interrupted."""
        try:
            for process in self.running.values():
                process.terminate()
            deadline = time.monotonic() + _STOP_SECONDS
            for process in self.running.values():
                process.join(max(0.0, deadline - time.monotonic()))
        finally:
            left = [process for process in self.running.values() if process.exitcode is None]
            for process in left:
                process.kill()
            for process in left:
                process.join()


def _member(command: list[str], log: Path, environment: Mapping[str, str]) -> None:
    """Be one member, in a process of its own: the command line `veilmatch ROLE serve`."""
    # Without the fork server nobody could stop it: it tells us no process's end, and `terminate` does nothing then.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.environ.clear()  # it is of the moment when the first member was started
    os.environ.update(environment)
    sys.argv[1:] = command
    main()


def _refusal(log: Path) -> str:
    """The last line of a member's log, where it is not one of its records (JSON objects)."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "" if not lines or lines[-1].startswith("{") else lines[-1]


def _ending(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
