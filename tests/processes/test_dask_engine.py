"""`[workers] engine = "dask"`: the same answers from a cluster of real processes, whatever is lost; no secret left."""

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from distributed import Security
from fakes.federation import tap_on
from fakes.paillier_keys import Keys
from federation.resumed_world import ELIGIBLE, LINEAR, once, several_chunks
from processes.dask_cluster import WITHOUT_DISK, real_cluster
from pydantic import TypeAdapter

from veilmatch.doctor.workers import look
from veilmatch_coordinator.errors import CoordinatorError
from veilmatch_crypto import OprfKey, blind, encrypt_chunk, multiply_chunks, open_chunk
from veilmatch_crypto.errors import CiphertextError
from veilmatch_transport import (
    SettingsError,
    Tls,
    Workers,
    WorkersError,
    WorkersSettings,
    check_workers,
    checks_of,
    machines,
    make_workers,
)
from veilmatch_transport import cluster as engine
from veilmatch_transport.cluster import ClusterExecutor
from veilmatch_transport.health import Status

PLENTY = 60.0
KEY = Keys().draw(2048)
MARKED = "identity-4711"  # what nobody's log may hold


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with real_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def executor(cluster):
    with ClusterExecutor(cluster.settings) as workers:
        yield workers


def eventually(look, well):
    """What ``look`` gives as soon as that is well."""
    deadline = time.monotonic() + PLENTY
    while not well(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def run_over(federation, executor):
    """Have every party of a federation work on the cluster."""
    for node in federation.nodes.values():
        node.executor = executor
        node.crash()
    federation.jobs._executor = executor


def test_keys_and_chunks_cross_and_equal_words_are_never_one_ciphertext(executor):
    assert executor.at_once == 2
    words = np.full((2, KEY.public.layout.slots), 7, np.uint64)
    encrypted = [executor.submit(encrypt_chunk, KEY.public, words, 10) for _ in range(6)]
    chunks = [each.result(PLENTY) for each in encrypted]
    assert len(set(chunks)) == len(chunks)
    product = executor.submit(multiply_chunks, KEY.public, chunks).result(PLENTY)
    assert np.array_equal(executor.submit(open_chunk, KEY, product).result(PLENTY), 6 * words)


def test_a_trustees_scalar_and_a_batch_cross(executor):
    key, inputs = OprfKey.generate(), [b"opaque\0%d" % number for number in range(600)]
    state, elements = blind(inputs, executor)
    evaluated = key.evaluate(elements, executor)
    assert evaluated == key.evaluate(state.blinded())
    assert np.array_equal(state.finalize(evaluated, executor), state.finalize(evaluated))


def test_a_failure_arrives_with_its_class_and_stays_out_of_the_clusters_logs(cluster, executor):
    with pytest.raises(CiphertextError, match="multiple of 512 bytes"):
        executor.submit(open_chunk, KEY, MARKED.encode()).result(PLENTY)
    with pytest.raises(ValueError, match=MARKED):
        executor.submit(int, MARKED).result(PLENTY)
    assert "Register worker" in cluster.said()
    assert MARKED not in cluster.said()
    assert "CiphertextError" not in cluster.said()
    assert "ValueError" not in cluster.said()


def test_what_is_cancelled_is_taken_back(executor):
    busy = [executor.submit(time.sleep, 0.3) for _ in range(2)]
    waiting = [executor.submit(time.sleep, PLENTY) for _ in range(20)]
    assert all(each.cancel() for each in waiting)
    for each in busy:
        each.result(PLENTY)
    assert executor.submit(os.getpid).result(PLENTY) != os.getpid()
    assert not executor._under_way


def test_a_job_ends_with_the_right_answer_though_a_worker_is_killed(tmp_path, monkeypatch, cluster, executor):
    """One worker stands still from the first call on, and is killed with what the scheduler gave it by then."""
    client = executor._connected()._client
    numbers = client.run(os.getpid)
    [victim] = [each for each in cluster.workers if each.pid == next(iter(numbers.values()))]
    [address] = [address for address, number in numbers.items() if number == victim.pid]
    lost, submit = [], executor.submit

    def losing(*call):
        if not lost:
            victim.send_signal(signal.SIGSTOP)
        future = submit(*call)
        if not lost:
            lost.extend(client.processing().get(address, ()))
            if lost:
                cluster.kill(victim)
        return future

    with several_chunks(tmp_path, monkeypatch) as federation:
        run_over(federation, executor)
        monkeypatch.setattr(executor, "submit", losing)
        federation.run(LINEAR)
        assert lost
        assert federation.eligible("aid") == ELIGIBLE


def test_a_worker_that_hangs_is_not_waited_for(cluster, monkeypatch):
    monkeypatch.setattr(machines, "_ANSWER", 0.3)
    running = [each for each in cluster.workers if each.poll() is None]
    running[0].send_signal(signal.SIGSTOP)
    try:
        with ClusterExecutor(cluster.settings) as workers:
            assert workers.look().status is Status.OK
            assert workers.at_once == len(
                running
            )  # its calls wait, and go elsewhere when the scheduler gives it up
    finally:
        running[0].send_signal(signal.SIGCONT)


def test_an_address_where_nobody_answers_is_one_line_when_it_is_needed(cluster, monkeypatch):
    assert machines._CONNECT <= 5.0
    monkeypatch.setattr(machines, "_CONNECT", 0.5)
    monkeypatch.setattr(engine, "_LOOK", 0.1)
    began, threads = time.monotonic(), set(threading.enumerate())
    settings = settings_of(replace(cluster.settings, address="tls://127.0.0.1:1"))
    with make_workers(settings) as workers:  # as at a start, or at SIGHUP: the service waits for its cluster
        with pytest.raises(
            WorkersError, match=r"^workers: the cluster at tls://127.0.0.1:1 does not answer"
        ) as refused:
            workers.submit(os.getpid)
        found = eventually(checks_of(workers)["workers"], lambda found: found.status is Status.DEGRADED)
    assert time.monotonic() - began < 10
    eventually(lambda: set(threading.enumerate()) - threads, lambda left: not left)
    assert "\n" not in str(refused.value)
    assert found.what.startswith("the cluster at tls://127.0.0.1:1 does not answer")


def test_the_doctor_says_whether_the_cluster_answers(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(machines, "_CONNECT", 0.5)
    other = tmp_path / "root.pem"
    other.write_text(Security.temporary().tls_ca_file)
    tls = Tls(root=other, certificate=other, key=other)
    for address, said in (
        (cluster.address, f"ok: workers: {cluster.address} answers, "),
        ("tls://127.0.0.1:1", "failed: workers: the cluster at tls://127.0.0.1:1 does not answer"),
    ):
        settings = settings_of(replace(cluster.settings, address=address))
        member = SimpleNamespace(config=SimpleNamespace(workers=settings, tls=tls))
        [line] = look(member)
        assert str(line).startswith(said)


# Settings.


def settings_of(cluster):
    return WorkersSettings(
        engine="dask",
        address=cluster.address,
        ca=cluster.ca,
        certificate=cluster.certificate,
        key=cluster.key,
    )


def test_the_short_form_is_so_many_processes():
    assert TypeAdapter(Workers).validate_python(3) == WorkersSettings(count=3)


DASK = {"engine": "dask", "address": "tls://h:8786", "ca": "c.pem", "certificate": "s.pem", "key": "s.key"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (DASK | {"address": "tcp://h:8786"}, "keys and randomness travel to the workers"),
        (DASK | {"address": "h:8786"}, "say tls://host:port"),
        (DASK | {"address": "tls://h"}, "say tls://host:port"),
        ({key: DASK[key] for key in ("engine", "address", "ca")}, "needs address, ca, certificate and key"),
        (DASK | {"count": 4}, "count is of processes"),
        (DASK | {"engine": "processes"}, 'are for engine = "dask"'),
        (DASK | {"engine": "ray"}, "'processes' or 'dask'"),
    ],
)
def test_settings_that_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        WorkersSettings.model_validate(given)


def test_a_cluster_that_any_member_could_pose_as_is_refused(cluster):
    own = cluster.settings
    settings = settings_of(own)
    tls = Tls(root=own.ca, certificate=own.certificate, key=own.key)
    with pytest.raises(SettingsError, match="each of them could pose as the cluster"):
        check_workers(settings, tls)


def test_without_the_extra_one_line_names_it(cluster, monkeypatch):
    monkeypatch.delitem(sys.modules, "veilmatch_transport.cluster")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        SettingsError, match=r"needs distributed, which is not installed; install veilmatch\[dask\]"
    ):
        make_workers(settings_of(cluster.settings))


# Longer.


@pytest.mark.campaign
def test_a_lost_scheduler_ends_the_job_in_words_and_the_next_one_runs(tmp_path, monkeypatch):
    (tmp_path / "cluster").mkdir()
    (tmp_path / "federation").mkdir()
    with (
        real_cluster(tmp_path / "cluster") as cluster,
        ClusterExecutor(cluster.settings) as executor,
        several_chunks(tmp_path / "federation", monkeypatch) as federation,
    ):
        run_over(federation, executor)
        federation.jobs._reconnect_wait = 1.0

        def kill(passing):
            cluster.kill(cluster.scheduler)
            return [passing.message]

        with (
            federation.tapped(tap_on("contribution", once(kill))),
            pytest.raises((CoordinatorError, WorkersError)) as ended,
        ):
            federation.run(LINEAR)
        assert "workers" in str(ended.value)
        assert "\n" not in str(ended.value)
        cluster.start_scheduler()
        cluster.start_workers(2)
        federation.run(LINEAR)
        assert federation.eligible("aid") == ELIGIBLE


@pytest.mark.campaign
def test_what_waits_for_a_worker_in_vain_fails_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "_WITHOUT", 1.0)
    with real_cluster(tmp_path, 1) as cluster, ClusterExecutor(cluster.settings) as executor:
        waiting = [executor.submit(time.sleep, PLENTY) for _ in range(2)]
        cluster.kill(cluster.workers[0])
        for each in waiting:
            with pytest.raises(WorkersError, match="has no worker any more that answers; start some"):
                each.result(PLENTY)
        cluster.start_workers(1)
        assert executor.submit(os.getpid).result(PLENTY) == cluster.workers[1].pid


@pytest.mark.campaign
def test_what_a_worker_that_hangs_had_in_hand_is_done_by_another(tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", "3s")
    with real_cluster(tmp_path) as cluster, ClusterExecutor(cluster.settings) as executor:
        assert executor.at_once == 2
        cluster.workers[0].send_signal(signal.SIGSTOP)
        calls = [executor.submit(os.getpid) for _ in range(10)]
        assert {each.result(PLENTY) for each in calls} == {cluster.workers[1].pid}
        assert executor.submit(os.getpid).result(PLENTY) == cluster.workers[1].pid


@pytest.mark.campaign
def test_workers_that_may_write_to_their_disks_are_left_out_and_refused_where_there_are_no_others(tmp_path):
    spilling = ("--memory-limit", "1GB")
    with real_cluster(tmp_path, 1) as cluster:
        with ClusterExecutor(cluster.settings) as executor:
            assert executor.at_once == 1
            cluster.start_workers(1, *spilling)
            for _ in range(20):
                assert executor.submit(os.getpid).result(PLENTY) == cluster.workers[0].pid
            assert executor.look().status is Status.DEGRADED
            assert executor.at_once == 1
            cluster.kill(cluster.workers[0])
            with pytest.raises(
                WorkersError, match=r"a worker may write keys to its disk; .* --memory-limit 0"
            ):
                executor.submit(os.getpid).result(PLENTY)
        with (
            ClusterExecutor(cluster.settings) as executor,
            pytest.raises(WorkersError, match="a worker may write keys to its disk"),
        ):
            executor.submit(os.getpid)


@pytest.mark.campaign
def test_a_cluster_without_workers_and_one_without_tls_are_refused(tmp_path):
    for name in ("empty", "plain"):
        (tmp_path / name).mkdir()
    with (
        real_cluster(tmp_path / "empty", 0) as cluster,
        ClusterExecutor(cluster.settings) as executor,
        pytest.raises(WorkersError, match="no worker; start some"),
    ):
        executor.submit(os.getpid)
    with (
        real_cluster(tmp_path / "plain", 1, protocol="tcp") as cluster,
        ClusterExecutor(cluster.settings) as executor,
        pytest.raises(WorkersError, match="does not answer, or not to our certificate"),
    ):
        executor.submit(os.getpid)


@pytest.mark.campaign
def test_a_killed_workers_work_is_done_again_ten_times(tmp_path):
    words = np.arange(3 * KEY.public.layout.slots, dtype=np.uint64).reshape(3, -1)
    with real_cluster(tmp_path, 3) as cluster, ClusterExecutor(cluster.settings) as executor:
        for _ in range(10):
            calls = [executor.submit(encrypt_chunk, KEY.public, words, 10) for _ in range(100)]
            cluster.kill(cluster.workers[-1])
            chunks = [each.result(PLENTY) for each in calls]
            assert len(set(chunks)) == len(chunks)
            for chunk in chunks[::10]:
                assert np.array_equal(open_chunk(KEY, chunk), words)
            cluster.start_workers(1, *WITHOUT_DISK)
