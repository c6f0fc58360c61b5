"""Real processes whose disks fill up, whose stores are locked or whose descriptors run out: a line, then work again."""

import resource
import sqlite3
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from processes.moments import COUNT, OLD, evidence_says, works
from processes.real_federation import COORDINATOR, SECONDS, real_federation
from processes.small_world import write_departments

from veilmatch.errors import JobFailedError
from veilmatch_transport import TransportError

pytestmark = pytest.mark.campaign
BUSY = 5.0  # seconds that SQLite waits for another program's transaction
DISK = 96 << 20  # bytes: more than a service wants to find free (transport/checks.py)


class Disk:
    """A small disk of its own at a folder: a tmpfs, where this machine lets us mount one."""

    def __init__(self, folder):
        folder.mkdir(parents=True)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "veilmatch-test", folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode:
            pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
        self.folder = folder

    @contextmanager
    def full(self):
        filler = self.folder / "filler"
        with filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 4096):
                with suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass
        yield
        filler.unlink()

    def unmount(self):
        subprocess.run(["umount", self.folder], check=True)


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    """Disks for the tax bureau's store and log, for social insurance's results, for the coordinator's evidence."""
    folder = tmp_path_factory.mktemp("disks")
    places = {
        "store": folder / "store",
        "log": folder / "log",
        "evidence": folder / "out",
        "results": folder / "out" / "supplement",  # on a disk within that one
        "queue": folder / "queue",
    }
    made = {}
    try:
        for name, place in places.items():
            made[name] = Disk(place)
        yield folder, made
    finally:
        for disk in reversed(made.values()):
            disk.unmount()


@pytest.fixture(scope="module")
def machines(disks):
    folder, made = disks
    write_departments(folder / "departments")
    settings = {
        "tax": {
            "store": str(made["store"].folder / "state.sqlite"),
            "log": str(made["log"].folder / "evidence.log"),
            "reports": str(folder / "reports" / "tax"),
        },
        "police": {"reports": str(folder / "reports" / "police")},
        "social": {"reports": str(folder / "reports" / "social")},
        COORDINATOR: {"store": str(made["queue"].folder / "state.sqlite"), "reconnect_wait": 3},
    }
    with real_federation(folder, dialling=frozenset({"police"}), settings=settings) as federation:
        federation.policies["how-many"] = COUNT
        federation.link()
        yield federation
        for name in ("tax", "police", "social", COORDINATOR):
            assert "Traceback" not in federation.log(name)


def test_a_nodes_store_on_a_full_disk_is_its_own_line_and_it_goes_on_when_there_is_room(machines, disks):
    with disks[1]["store"].full():
        for action in (lambda: machines.run("supplement"), lambda: machines.link("oprf")):
            error = machines.refused(action)
            assert str(error) == "tax: this party's machine fails: its store cannot be used"
        assert machines.members.running["tax"].exitcode is None
        assert "the store cannot be written, the disk is full; free the disk" in machines.log("tax")
    machines.link()
    works(machines)


def test_a_nodes_log_on_a_full_disk_stops_it_with_a_line_and_it_starts_when_there_is_room(machines, disks):
    with disks[1]["log"].full():
        error = machines.refused(
            lambda: [machines.run("supplement") for _ in range(9)]
        )  # a block may have room
        assert str(error).startswith("tax: ")
        assert machines.ended("tax", SECONDS) == 5
        last = machines.log("tax").splitlines()[-1]
        assert "the log cannot be written (No space left on device)" in last
    machines.start("tax")
    time.sleep(1.5)  # the coordinator dials again: limits.LAST_RETRY, with gRPC's jitter
    works(machines)
    evidence_says(machines, "supplement", "complete")


def test_a_recipient_without_room_for_the_result_is_named_and_the_next_job_delivers(machines, disks):
    for result in disks[1]["results"].folder.iterdir():  # an older one would leave its room to the new one
        result.unlink()
    with disks[1]["results"].full():
        error = machines.refused(lambda: machines.run("supplement"))
        assert str(error) == "social: this party's machine fails: No space left on device"
        assert not (machines.out / "supplement" / "eligible.csv").exists()
    works(machines)


def test_a_coordinator_without_room_for_the_evidence_runs_nothing(machines, disks):
    with disks[1]["evidence"].full():
        error = machines.refused(lambda: machines.run("supplement"))
        assert str(error) == f"{COORDINATOR}: this party's machine fails: No space left on device"
    works(machines)
    evidence_says(machines, "supplement", "complete")


def test_a_coordinator_without_room_for_its_store_takes_no_job_and_goes_on(machines, disks):
    with disks[1]["queue"].full():
        with pytest.raises(Exception, match=f"^{COORDINATOR}: this party's machine fails"):
            machines.submit("supplement")
        assert machines.members.running[COORDINATOR].exitcode is None
    works(machines)


@contextmanager
def locked(store, seconds):
    """Another program's transaction on a store, for so long."""
    connection = sqlite3.connect(store, check_same_thread=False, isolation_level=None, timeout=SECONDS)
    connection.execute("BEGIN EXCLUSIVE")
    ending = threading.Timer(seconds, connection.rollback)
    ending.start()
    yield
    ending.join()
    connection.close()


@pytest.mark.parametrize("member", ["tax", COORDINATOR])
def test_a_store_that_is_locked_for_a_moment_is_waited_for(machines, disks, member):
    place = disks[1]["store" if member == "tax" else "queue"].folder / "state.sqlite"
    with locked(place, BUSY / 2):
        works(machines)


@pytest.mark.parametrize("member", ["tax", COORDINATOR])
def test_a_store_that_is_locked_for_long_is_a_line_and_works_afterwards(machines, disks, member):
    place = disks[1]["store" if member == "tax" else "queue"].folder / "state.sqlite"
    with locked(place, 3 * BUSY):
        with pytest.raises(Exception, match=f"^{member}: ") as refused:
            machines.submit("supplement")
        assert str(refused.value) == f"{member}: this party's machine fails: its store cannot be used"
        assert machines.members.running[member].exitcode is None
    works(machines)


def error_of(action):
    """What an action ended with, None where it did not fail."""
    try:
        action()
    except (JobFailedError, TransportError) as error:
        return error
    return None


@contextmanager
def few_descriptors(process):
    """No descriptor beyond those that the process has."""
    before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    used = max(int(each.name) for each in Path(f"/proc/{process.pid}/fd").iterdir())
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (used + 1, before[1]))
    yield
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("member", ["tax", "police", "social", COORDINATOR])
def test_a_party_out_of_descriptors_is_named_survives_and_works_again(machines, member):
    with few_descriptors(machines.members.running[member]):
        for action in (machines.link, lambda: machines.run("supplement")):
            began = time.monotonic()
            error = error_of(action)  # what needs no new descriptor may go on
            assert error is None or str(error).startswith(f"{member}: ")
            assert time.monotonic() - began < 3 * SECONDS
        assert machines.members.running[member].exitcode is None
    machines.link()
    works(machines)
    assert [result["eligible"] for result in machines.submit("how-many")] == [OLD]
