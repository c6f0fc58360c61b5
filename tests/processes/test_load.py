"""Many jobs, many clients and clients that do not read, at real processes: every job ends right, memory is bounded."""

import os
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
from processes.real_federation import COORDINATOR, silent
from processes.small_world import plain_answers

from veilmatch_transport import Code, PeerRefusedError, server_name
from veilmatch_wire.v1 import coordinator_pb2, coordinator_pb2_grpc

ENDS_WITHIN = 150.0  # seconds, on a machine that does other things too
MOST_MEMORY = 160 << 20  # bytes by which the coordinator may grow under a load


def resident(federation, name):
    pages = Path(f"/proc/{federation.members.running[name].pid}/statm").read_text().split()[1]
    return int(pages) * 4096


@contextmanager
def office(federation):
    """A client with a connection of its own: gRPC lets channels of one process share one otherwise."""
    options = [
        ("grpc.ssl_target_name_override", server_name(COORDINATOR)),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    credentials = federation.identity("operator").channel_credentials()
    with grpc.secure_channel(federation.address(COORDINATOR), credentials, options) as channel:
        yield coordinator_pb2_grpc.OfficeStub(channel)


def client(federation, job, over, number, seen, wrong):
    """List, show and watch until it is over; what was refused for want of room is asked again."""
    with office(federation) as stub:
        while not over.is_set():
            try:
                if number % 5 == 0:
                    for event in stub.Watch(coordinator_pb2.WatchRequest(job=job), timeout=ENDS_WITHIN):
                        seen[event.WhichOneof("body")] += 1
                elif number % 5 == 1:
                    seen[stub.List(coordinator_pb2.ListRequest(most=20), timeout=30).WhichOneof("body")] += 1
                else:
                    seen[stub.Show(coordinator_pb2.ShowRequest(job=job), timeout=30).WhichOneof("body")] += 1
            except grpc.RpcError as refused:
                if refused.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    wrong.append(f"{refused.code()}: {refused.details()}")
                    return
                seen["refused"] += 1
            over.wait(0.3)


@contextmanager
def clients(federation, job, count):
    """So many clients that ask about a job while the body runs; none meets anything but answers and want of room."""
    over, seen, wrong = threading.Event(), Counter(), []
    threads = [
        threading.Thread(target=client, args=(federation, job, over, number, seen, wrong))
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)


@contextmanager
def clients_that_do_not_read(federation, job, count):
    """Watches whose events nobody takes, and work streams without an offer."""
    with ExitStack() as stack:
        for _ in range(count):
            stub = stack.enter_context(office(federation))
            watch = stub.Watch(coordinator_pb2.WatchRequest(job=job), timeout=ENDS_WITHIN)
            stack.callback(watch.cancel)
        yield


def submit_at_once(federation, count):
    """Submit so many jobs at the same moment; their names, with the policy of each."""
    policies = [*federation.policies]
    chosen = [policies[number % len(policies)] for number in range(count)]
    found: dict[str, str] = {}

    def submit(policy):
        source = federation.policies[policy].encode()
        found[federation.operator.submit([source], 2048).job] = policy

    threads = [threading.Thread(target=submit, args=(policy,)) for policy in chosen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == count
    return found


def shown(federation, job):
    """A job's state, asked until there is room: all these clients are one member, the operator."""
    while True:
        try:
            return federation.operator.job(job)
        except PeerRefusedError as refused:
            if refused.code is not Code.TOO_MANY:
                raise
            time.sleep(0.1)


def loaded(federation, jobs, count):
    """Run jobs under a load of clients; what the clients saw."""
    before = resident(federation, COORDINATOR)
    running = submit_at_once(federation, jobs)
    first = next(iter(running))
    deadline = time.monotonic() + ENDS_WITHIN
    with clients(federation, first, count) as seen, clients_that_do_not_read(federation, first, 4):
        left = set(running)
        while left:
            job = shown(federation, next(iter(left)))
            assert job.state not in {"failed", "cancelled"}, job.reason
            assert time.monotonic() < deadline
            if job.state == "complete":
                left.remove(job.job)
            else:
                time.sleep(0.2)
    for policy in set(running.values()):
        eligible = (federation.out / policy / "eligible.csv").read_text(encoding="utf-8").splitlines()[1:]
        assert eligible == plain_answers()[policy]
    assert resident(federation, COORDINATOR) - before < MOST_MEMORY
    assert "internal" not in federation.log(COORDINATOR)
    return seen


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_twenty_jobs_at_once_under_two_hundred_clients(linked):
    seen = loaded(linked, jobs=20, count=200)
    assert seen["jobs"] > 200
    assert seen["job"] > 200


@pytest.mark.campaign
def test_a_node_that_reads_slowly(linked):
    """Tax gets a tenth of the time, as on a machine that swaps: its streams fill, and nobody else's memory does."""
    process = linked.members.running["tax"]
    before, over = resident(linked, COORDINATOR), threading.Event()

    def slow_down():
        while not over.wait(0.02):
            os.kill(process.pid, signal.SIGSTOP)
            over.wait(0.18)
            os.kill(process.pid, signal.SIGCONT)

    slowing = threading.Thread(target=slow_down)
    slowing.start()
    try:
        job = linked.operator.submit([linked.policies["tax-card"].encode()], 2048).job
        linked.operator.watch(job, silent)
    finally:
        over.set()
        slowing.join()
        os.kill(process.pid, signal.SIGCONT)
    eligible = (linked.out / "tax-card" / "eligible.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert eligible == plain_answers()["tax-card"]
    assert resident(linked, COORDINATOR) - before < MOST_MEMORY
