"""Members of a local federation end with those who started them, whatever is killed or interrupted in between."""

import os
import signal
import time
from multiprocessing import forkserver
from pathlib import Path

import pytest

from veilmatch import processes
from veilmatch.errors import ProcessError
from veilmatch.processes import Members


@pytest.fixture
def server(monkeypatch):
    """A fork server of its own: the members of other tests' federations are forks of the common one."""
    own = forkserver.ForkServer()
    monkeypatch.setattr(forkserver, "connect_to_new_process", own.connect_to_new_process)
    return own


def ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_member_whose_fork_server_is_killed_ends_with_it(server, tmp_path):
    config = tmp_path / "config.toml"
    os.mkfifo(config)  # whoever reads it waits as long as somebody might write
    members = Members(tmp_path / "logs")
    members.start({"tax": config}, coordinator="office")
    pid = members.running["tax"].pid
    writing = os.open(config, os.O_WRONLY)  # returns when the member reads
    os.kill(server._forkserver_pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while not ended(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.close(writing)
    with pytest.raises(ProcessError, match="tax: its process ended"):
        members.check()
    members.stop()


class Stubborn:
    """A process that does not end before it is killed, and whose first wait the keyboard interrupts."""

    def __init__(self):
        self.exitcode = None
        self.waits = 0

    def terminate(self):
        pass

    def kill(self):
        self.exitcode = -signal.SIGKILL

    def join(self, _seconds=None):
        self.waits += 1
        if self.exitcode is None:
            raise KeyboardInterrupt


def test_an_interrupted_stop_leaves_nobody(tmp_path):
    running = {name: Stubborn() for name in ("tax", "police")}
    with pytest.raises(KeyboardInterrupt):
        Members(tmp_path, running).stop()
    assert {process.exitcode for process in running.values()} == {-signal.SIGKILL}


def test_a_fork_server_that_ends_while_it_starts_a_member_is_a_line(tmp_path, monkeypatch):
    def fail(_self):
        raise EOFError

    monkeypatch.setattr(processes._FORKS.Process, "start", fail)
    with pytest.raises(
        ProcessError, match=r"^tax: its process does not start \(the process that starts the others"
    ):
        Members(tmp_path / "logs").start({"tax": tmp_path / "config.toml"}, coordinator="office")
