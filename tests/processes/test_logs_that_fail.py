"""What cannot be written down is not done: a service whose log fails serves nobody, and says why (protocol.md, 7)."""

import os
import re

import pytest
from federation.attacked_world import POLICY, make
from processes.real_federation import real_federation
from processes.small_world import write_departments

from veilmatch.federation import COORDINATOR
from veilmatch_coordinator.errors import NodeFailedError
from veilmatch_evidence.errors import LogError

pytestmark = pytest.mark.campaign  # `make test` has tests/evidence and test_operations


def fill_disk(log):
    """Let the log's next bytes meet a full disk: the kernel's own ENOSPC."""
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log._file)
    os.close(full)


def test_nodes_whose_disks_are_full_contribute_and_open_nothing(tmp_path):
    with make(tmp_path) as federation:
        federation.link()
        for name in ("tax", "social"):
            fill_disk(federation.nodes[name].log)
        for _ in range(2):
            with pytest.raises(NodeFailedError, match=r"(tax|social): this party cannot write its log"):
                federation.run(POLICY)
        assert federation.network.sent("contribution") == []
        assert federation.nodes["tax"].desk.decisions() == federation.nodes["social"].desk.decisions() == []


def test_a_coordinator_whose_disk_is_full_runs_nothing(tmp_path):
    with make(tmp_path) as federation:
        federation.link()
        federation.network.passed.clear()
        fill_disk(federation.log)
        for match in ("No space left on device", "cannot be written"):
            with pytest.raises(LogError, match=match):
                federation.run(POLICY)
        assert federation.network.sent("manifest") == []


def test_services_stop_when_their_log_is_gone_and_do_not_start_without_one(tmp_path):
    write_departments(tmp_path / "departments")
    with real_federation(tmp_path) as federation:
        federation.link()
        (federation.home("tax") / "evidence.log").unlink()
        refused = federation.refused(lambda: federation.run("tax-card"))
        assert refused.exit_code == 5
        # Its health may have noticed first: then it is gone already.
        assert re.match(
            "tax: (this party cannot write its log and serves nobody until it can|.*lost|nothing)",
            str(refused),
        )
        assert federation.ended("tax", 10) == 5
        last = federation.log("tax").splitlines()[-1]
        assert "evidence.log: the log was replaced by another file" in last or "No such file" in last

        federation.configure("tax", log="/proc/evidence.log")  # nobody can make a file there
        federation.members.start({"tax": federation.local.configs["tax"]}, COORDINATOR)
        assert federation.ended("tax", 20) == 5
        assert "/proc/evidence.log: the log cannot be written" in federation.log("tax").splitlines()[-1]

        (federation.home(COORDINATOR) / "evidence.log").rename(tmp_path / "elsewhere")
        federation.refused(lambda: federation.run("old-age"))
        assert federation.ended(COORDINATOR, 10) == 5
