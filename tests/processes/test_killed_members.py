"""A department whose process dies while it works is named within seconds, and can take part again after a restart."""

import os
import threading
import time

import pytest
from processes.real_federation import SECONDS
from processes.small_world import plain_answers, tables

pytestmark = pytest.mark.campaign  # as test_killed_processes; tests/cli kills a department in `make test`


class Pipe:
    """A department's file of data that is a pipe: the node that reads it waits until the test writes."""

    def __init__(self, federation, department):
        self.path, self.text = federation.data(department), tables()[department]

    def __enter__(self):
        self.path.unlink()
        os.mkfifo(self.path)
        return self

    def wait_until_read(self):
        """Return when the node has opened the file, and is in the middle of its task."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                return os.close(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:  # nobody reads it yet
                assert time.monotonic() < deadline
                time.sleep(0.01)

    def __exit__(self, *_):
        self.path.unlink()
        self.path.write_text(self.text, encoding="utf-8")


@pytest.mark.parametrize(
    ("department", "step"), [("tax", "link"), ("police", "run")], ids=["listening", "dialling out"]
)
def test_a_member_killed_at_work_is_named(linked, department, step):
    if step == "run":
        linked.link()
    outcome = []

    def work():
        action = linked.link if step == "link" else lambda: linked.run("supplement")
        outcome.append(linked.refused(action))

    with Pipe(linked, department) as pipe:
        office = threading.Thread(target=work)
        office.start()
        pipe.wait_until_read()
        linked.kill(department)
        office.join(SECONDS)
    [error] = outcome
    assert error.exit_code == 5
    assert str(error).startswith(f"{department}: ")
    linked.start(department)
    linked.link()
    assert linked.run("supplement") == plain_answers()["supplement"]
