"""What an office does again and again goes on after a round that failed; metrics answer while the store is away."""

import threading
import time
from datetime import timedelta

import pytest
from fakes.federation import COORDINATOR, _directory
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from veilmatch_coordinator import office as office_module
from veilmatch_coordinator.client import Nodes
from veilmatch_coordinator.heads import Heads
from veilmatch_coordinator.office import Office
from veilmatch_coordinator.queue import Limits
from veilmatch_coordinator.store import CoordinatorStore
from veilmatch_crypto import AgreementKey, IdentityKey
from veilmatch_evidence.log import EvidenceLog
from veilmatch_node.linkage import NodeKeys
from veilmatch_transport.errors import StoreFailedError
from veilmatch_transport.metrics import Metrics

LIMITS = Limits(1, 5, timedelta(seconds=1), timedelta(days=1), timedelta(days=1))


def away(*_):
    raise StoreFailedError("store: its database does not answer; start it")


@pytest.fixture
def office(tmp_path):
    """An office that nobody asks anything, its store and metrics."""
    identity = IdentityKey.generate()
    keys = NodeKeys(IdentityKey.generate(), AgreementKey.generate(), IdentityKey.generate())
    directory = _directory({"tax": keys}, identity, ("tax",), None)
    store, metrics = CoordinatorStore(tmp_path / "office.sqlite"), Metrics()
    log = EvidenceLog(tmp_path / "office.log", COORDINATOR, identity)
    yield (
        Office(
            identity=identity,
            directory=directory,
            store=store,
            nodes=Nodes(directory, None, None),
            executor=None,
            evidence=tmp_path / "evidence",
            log=log,
            limits=LIMITS,
            metrics=metrics,
        ),
        store,
        metrics,
    )
    log.close()
    store.close()


def test_a_round_that_fails_is_not_the_last_one(office, monkeypatch):
    made, store, _ = office
    monkeypatch.setattr(office_module, "_CLOSE_AGAIN", 0.01)
    monkeypatch.setattr(office_module, "_EXCHANGE", 0.01)
    exchanged, unfinished = [], store.unfinished
    monkeypatch.setattr(Heads, "exchange", lambda *_: exchanged.append(1) or away())
    monkeypatch.setattr(store, "unfinished", away)
    stopping, asked = threading.Event(), threading.Event()
    with capture_logs() as logs:
        made.start(stopping)
        deadline = time.monotonic() + 5
        while len(exchanged) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        monkeypatch.setattr(store, "unfinished", lambda: asked.set() or unfinished())
        assert asked.wait(5)
        stopping.set()
    assert len(exchanged) >= 3
    assert {(each["event"], each["reason"]) for each in logs if each["log_level"] == "warning"} == {
        ("not done, tried again", "store: its database does not answer; start it")
    }


def test_an_office_is_stopped_once_and_whoever_stops_it_waits_for_that(office, monkeypatch):
    made, _, _ = office
    begun, go_on, stopping, stopped = threading.Event(), threading.Event(), threading.Event(), []

    def stop(_within):
        begun.set()
        assert go_on.wait(5)
        stopped.append(1)

    monkeypatch.setattr(made._closing, "stop", stop)
    made.start(stopping)
    stopping.set()
    assert begun.wait(5)
    threading.Timer(0.05, go_on.set).start()
    made.stop()
    assert stopped == [1]


def test_metrics_are_told_while_the_store_is_away(office, monkeypatch):
    made, store, metrics = office
    made.measure()
    monkeypatch.setattr(store, "open_submissions", away)
    assert b'veilmatch_jobs{state="queued"} 0.0' in generate_latest(metrics.registry)
    with pytest.raises(StoreFailedError):  # which fails the check of the store (health), and nothing else
        made.measure()
    assert b'veilmatch_jobs{state="queued"} 0.0' in generate_latest(metrics.registry)
