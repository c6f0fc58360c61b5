"""Runs `veilmatch` as a process, or in this one where only the refusal is of interest."""

import subprocess
import sys
from dataclasses import dataclass
from unittest import mock

from veilmatch import main as command_line

SECONDS = 60.0  # a run of four processes on a machine that runs other tests too


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def line(self, *, quiet: bool = True) -> str:
        """The one line that says why; ``quiet``: the command had not begun to show progress."""
        *before, line = self.err.splitlines()
        assert self.code != 0
        assert not (quiet and before), self.err
        assert "Traceback" not in self.err + self.out
        where, what = line.split(": ", 1)
        assert where
        assert what
        assert "; " in line, f"does not say what to do: {line}"
        return line


def command(*arguments) -> list[str]:
    """The command line that the installed `veilmatch` stands for."""
    return [sys.executable, "-m", "veilmatch", *map(str, arguments)]


def run(*arguments, **keywords) -> Ended:
    """Run a command in a process of its own."""
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, timeout=SECONDS, **keywords
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def run_here(capsys, *arguments) -> Ended:
    """Run a command in this process, as `main` does."""
    capsys.readouterr()
    code = 0
    # The process that runs the tests keeps its own answer to signals.
    with mock.patch.object(sys, "argv", ["veilmatch", *map(str, arguments)]), mock.patch("signal.signal"):
        try:
            command_line.main()
        except SystemExit as ended:
            code = ended.code
    captured = capsys.readouterr()
    return Ended(code, captured.out, captured.err)
