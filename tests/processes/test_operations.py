"""Running services: they begin anew on SIGHUP with what their files say, and their health is what it is."""

import json
import os
import signal
import socket
import sqlite3
import time
import tomllib
import urllib.error
import urllib.request
from contextlib import closing

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from processes.real_federation import COORDINATOR, real_federation
from processes.small_world import plain_answers, write_departments

from veilmatch import federation as federation_module
from veilmatch.client import NODE, OFFICE
from veilmatch.doctor import examine
from veilmatch_crypto import LOOPBACK, IdentityKey, Validity, fingerprint, issue, make_root
from veilmatch_policy.directory import encode_directory, open_directory, signed_bytes
from veilmatch_transport import open_channel, server_name
from veilmatch_transport.status import ask_status

SECONDS = 30.0


def eventually(look, seconds=SECONDS):
    """What ``look`` gives as soon as it gives something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come")


class Operated:
    """A federation whose root's key is at hand, and whose members are asked for their health."""

    def __init__(self, federation, root):
        self.federation = federation
        self.root = root
        self.ports = {}

    def watch(self, name):
        """Have a member answer /health, from its next beginning."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.ports[name] = free.getsockname()[1]
        self.federation.configure(name, metrics={"listen": f"127.0.0.1:{self.ports[name]}"})

    def get(self, name, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}{path}", timeout=20) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.read().decode()

    def health(self, name):
        return json.loads(self.get(name, "/health"))

    def checks(self, name):
        """The checks of a member that may begin anew this moment."""
        try:
            return self.health(name)["checks"]
        except urllib.error.URLError:
            return {}

    def serving(self, name, service):
        """What gRPC's health says of a service."""
        with open_channel(
            self.federation.address(name), name, self.federation.identity("operator")
        ) as channel:
            request = health_pb2.HealthCheckRequest(service=service)
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    def status(self, name):
        with open_channel(
            self.federation.address(name), name, self.federation.identity("operator")
        ) as channel:
            return ask_status(channel, name, timeout=5)

    def hang_up(self, *names):
        for name in names:
            os.kill(self.federation.members.running[name].pid, signal.SIGHUP)

    def certify(self, name):
        """A new certificate for a member; its fingerprint."""
        made = issue(
            self.federation.root, name, hosts=[*LOOPBACK, server_name(name)], validity=Validity.for_days(1)
        )
        home = self.federation.home(name)
        (home / "node.pem").write_bytes(made.certificate)
        (home / "node.key").write_bytes(made.key)
        return fingerprint(made.certificate)

    def publish(self, version, **certificates):
        """Sign a newer directory in which members have other certificates."""
        path = self.federation.folder / "federation" / "federation.toml"
        old = open_directory(
            path.read_bytes(),
            bytes.fromhex(path.with_name("federation.toml.sig").read_text()),
            self.root.public,
        )
        members = {
            name: member.model_copy(update={"certificate": certificates.get(name, member.certificate)})
            for name, member in old.members.items()
        }
        data = encode_directory(old.federation, version, old.trustees, members, {})
        path.write_bytes(data)
        path.with_name("federation.toml.sig").write_text(self.root.sign(signed_bytes(data)).hex())


@pytest.fixture(scope="module")
def operated(tmp_path_factory):
    """Police dials out, the others listen."""
    folder = tmp_path_factory.mktemp("operated")
    write_departments(folder / "departments")
    made = []

    class KeptKey(IdentityKey):
        """The root is the first identity key that a federation makes."""

        @classmethod
        def generate(cls):
            made.append(super().generate())
            return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(federation_module, "IdentityKey", KeptKey)
        running = real_federation(folder, dialling=frozenset({"police"}))
        federation = running.__enter__()
    try:
        yield Operated(federation, made[0])
    finally:
        running.__exit__(None, None, None)


def test_services_begin_anew_with_certificate_directory_and_budget(operated):
    federation = operated.federation
    members = (COORDINATOR, "police", "social", "tax")
    pids = {name: federation.members.running[name].pid for name in members}
    assert operated.status("tax").directory_version == 1
    before = fingerprint((federation.home("tax") / "node.pem").read_bytes())
    operated.publish(2, tax=operated.certify("tax"))
    assert fingerprint((federation.home("tax") / "node.pem").read_bytes()) != before
    federation.configure("police", budget={"runs_an_epoch": 1, "runs_a_year": 9})
    for name in (COORDINATOR, "tax"):
        operated.watch(name)
    eventually(
        lambda: '"dialling"' in federation.log("police")
    )  # before it is there, the signal would end it
    operated.hang_up(*members)
    eventually(lambda: all('"begins anew' in federation.log(name) for name in members))
    eventually(lambda: all(federation.log(name).count('"listening"') == 2 for name in (COORDINATOR, "tax")))
    eventually(lambda: operated.health(COORDINATOR)["status"] != "failed")
    for name in (COORDINATOR, "tax"):
        assert operated.status(name).directory_version == 2  # over its new certificate
    assert {name: federation.members.running[name].pid for name in members} == pids
    federation.link()
    assert sorted(federation.run("old-age")) == plain_answers()["old-age"]
    assert "budget" in str(federation.refused(lambda: federation.run("old-age")))


def test_what_is_refused_changes_nothing(operated):
    federation = operated.federation
    refused = (
        ("tax", {"workers": 0}, "workers.count"),
        (COORDINATOR, {"jobs_at_once": 99}, "jobs_at_once"),
    )
    for name, setting, called in refused:
        path = federation.local.configs[name]
        well = path.read_text()
        federation.configure(name, **setting)
        operated.hang_up(name)
        [line] = eventually(
            lambda name=name: [line for line in federation.log(name).splitlines() if "not begun anew" in line]
        )
        assert f"{called}: Input should be" in json.loads(line)["reason"]
        path.write_text(well)
    assert operated.serving("tax", NODE)
    assert operated.serving(COORDINATOR, OFFICE)


def test_metrics_say_what_was_done(operated):
    eventually(lambda: operated.health(COORDINATOR)["checks"]["peers"]["status"] == "ok")
    node, office = operated.get("tax", "/metrics"), operated.get(COORDINATOR, "/metrics")
    assert 'veilmatch_build_info{member="tax",release="' in node
    assert 'veilmatch_jobs_ended_total{state="complete"} 1.0' in office
    assert "veilmatch_attached_nodes 1.0" in office
    assert 'veilmatch_chunks_total{step="combined"}' in office
    assert 'veilmatch_tasks_total{outcome="done",task="link"} 1.0' in node
    assert 'veilmatch_wire_bytes_total{direction="received",peer="coordinator"}' in node
    assert 'veilmatch_peer_up{peer="police"} 1.0' in office
    assert "veilmatch_directory_version 2.0" in node


def test_health_of_a_store_that_another_program_holds(operated):
    store = operated.federation.home("tax") / "state.sqlite"
    assert operated.health("tax")["checks"]["store"]["status"] == "ok"
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        found = eventually(lambda: (told := operated.health("tax"))["status"] == "failed" and told)
        assert "is locked by another program" in found["checks"]["store"]["what"]
        assert not operated.serving("tax", NODE)
        other.rollback()
    eventually(lambda: operated.health("tax")["checks"]["store"]["status"] == "ok")
    assert operated.serving("tax", NODE)


def test_the_doctor_beside_services_that_run(operated):
    lines = {line.check: line for line in examine(operated.federation.local.configs["tax"])}
    assert {check for check, line in lines.items() if line.word != "ok"} <= {
        "certificate",
        f"certificate of {COORDINATOR}",
    }


@pytest.mark.campaign
def test_a_service_whose_cluster_is_away_begins_anew_and_says_so(operated, tmp_path):
    federation = operated.federation
    path = federation.local.configs["tax"]
    well, pid = path.read_text(), federation.members.running["tax"].pid
    tls = tomllib.loads(well)["tls"]
    ca = tmp_path / "workers-ca.pem"
    ca.write_bytes(make_root("workers", Validity.for_days(1)).certificate)
    cluster = {"engine": "dask", "address": "tls://127.0.0.1:1", "ca": str(ca)}
    cluster |= {name: tls[name] for name in ("certificate", "key")}
    federation.configure("tax", workers=cluster)
    before = federation.log("tax").count('"listening"')
    operated.hang_up("tax")
    found = eventually(
        lambda: (told := operated.checks("tax").get("workers", {})).get("status") == "degraded" and told
    )
    assert found["what"].startswith("the cluster at tls://127.0.0.1:1 does not answer")
    operated.hang_up("tax")  # healthy but for its cluster, it goes on
    eventually(lambda: federation.log("tax").count('"listening"') == before + 2)
    path.write_text(well)
    operated.hang_up("tax")
    eventually(lambda: (told := operated.checks("tax")) and "workers" not in told)
    assert federation.members.running["tax"].pid == pid


def test_what_cannot_be_begun_with_leaves_what_was_there(operated):
    """The new configuration asks for a port that is taken; the new directory must not be the oldest that is taken."""
    federation, path = operated.federation, operated.federation.local.configs["tax"]
    well, begun = path.read_text(), federation.log("tax").count('"listening"')
    with socket.create_server(("127.0.0.1", 0)) as taken:
        federation.configure("tax", metrics={"listen": f"127.0.0.1:{taken.getsockname()[1]}"})
        operated.publish(3)
        operated.hang_up("tax")
        [line] = eventually(
            lambda: [line for line in federation.log("tax").splitlines() if "goes on as before" in line]
        )
    assert "cannot be had" in json.loads(line)["reason"]
    eventually(lambda: federation.log("tax").count('"listening"') == begun + 1)
    assert operated.status("tax").directory_version == 2
    assert operated.health("tax")["checks"]["store"]["status"] == "ok"
    path.write_text(well)


def test_a_node_that_is_gone_degrades_the_coordinator_and_nothing_more(operated):
    federation = operated.federation
    federation.kill("social")
    federation.kill("police")

    def gone():
        told = operated.health(COORDINATOR)
        what = told["checks"]["peers"]["what"]
        return "social: " in what and "police: has not dialled in" in what and told

    told = eventually(gone)
    assert told["status"] == "degraded"
    assert operated.serving(COORDINATOR, OFFICE)


def test_a_log_that_was_replaced_is_noticed_before_anybody_asks(operated):
    federation = operated.federation
    log = federation.home("tax") / "evidence.log"
    log.rename(log.with_name("elsewhere"))
    assert federation.ended("tax", SECONDS) == 5
    assert "No such file" in federation.log("tax").splitlines()[-1]
