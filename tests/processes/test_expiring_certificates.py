"""Certificates that expire while a job runs: it finishes on its connections, and afterwards the member is named."""

import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from processes.moments import evidence_says, relayed_federation
from processes.real_federation import COORDINATOR, SECONDS
from processes.small_world import plain_answers
from processes.test_job_queue import HeldFile

from veilmatch import federation as federation_module
from veilmatch.errors import JobFailedError
from veilmatch_crypto import Validity, issue

pytestmark = pytest.mark.campaign
VALID = 90  # seconds: until all processes are there and have linked, on a machine that does other things too


@contextmanager
def short_lived(*members):
    """Certificates of these members that are issued meanwhile end soon; yields when."""
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=VALID)

    def shorter(root, member, *, hosts, validity):
        validity = Validity(validity.not_before, end) if member in members else validity
        return issue(root, member, hosts=hosts, validity=validity)

    with mock.patch.object(federation_module, "issue", shorter):
        yield end


@pytest.fixture(scope="module")
def expiring(tmp_path_factory):
    with (
        short_lived("tax", "police") as end,
        relayed_federation(tmp_path_factory.mktemp("expiring")) as federation,
    ):
        federation.link()
        federation.end = end
        yield federation


def test_a_job_that_runs_while_certificates_expire_finishes(expiring):
    job = expiring.operator.submit([expiring.policies["supplement"].encode()], 2048)
    with HeldFile(expiring) as held:
        held.wait_until_read()
        assert datetime.now(UTC) < expiring.end
        time.sleep((expiring.end - datetime.now(UTC)).total_seconds() + 2.0)
    expiring.operator.watch(job.job, lambda *_: None)
    eligible = (expiring.out / "supplement" / "eligible.csv").read_text().splitlines()[1:]
    assert eligible == plain_answers()["supplement"]
    evidence_says(expiring, "supplement", "complete")


def test_afterwards_a_node_that_listens_is_named_with_the_remedy(expiring):
    assert datetime.now(UTC) > expiring.end
    expiring.relays["tax"].cut(reset=True)
    time.sleep(1.5)
    error = expiring.refused(expiring.link)
    assert (str(error), error.exit_code) == ("tax: its certificate has expired; it needs a new one", 5)


def test_afterwards_a_node_that_dials_out_is_named_and_its_log_says_why(expiring):
    """The coordinator cannot know why: TLS refuses the node before it says who it is."""
    assert datetime.now(UTC) > expiring.end
    expiring.relays[COORDINATOR].cut(reset=True)
    time.sleep(2.0)  # until the coordinator knows
    with pytest.raises(JobFailedError, match=r"^(tax|police): ") as refused:
        expiring.link()
    if str(refused.value).startswith("police: "):
        assert "police: has not dialled in; start it, or see in its log why it cannot" in str(refused.value)
    last = [line for line in expiring.log("police").splitlines() if '"not attached"' in line][-1]
    assert "check that our certificate is valid and from its root" in last


def test_a_member_that_starts_with_an_expired_certificate_says_so(expiring):
    for name in ("tax", "police"):
        expiring.terminate(name)
        expiring.members.start({name: expiring.local.configs[name]}, COORDINATOR)
        assert expiring.ended(name, 3 * SECONDS) == 5
        last = expiring.log(name).splitlines()[-1]
        assert last.startswith("TLS: our certificate is valid from ")
        assert last.endswith("not now; ask the root for a new one")
