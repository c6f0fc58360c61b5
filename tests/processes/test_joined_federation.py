"""A federation of several offices, made with the commands of docs/join.md: encrypted keys, one run, one revocation."""

import re
import shlex
import shutil
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from processes.small_world import plain_answers, write_departments, write_policy

from veilmatch import main as command_line
from veilmatch.client import NODE, OFFICE, Operator, wait_for
from veilmatch.operator import read_operator
from veilmatch.processes import Members, reserved_ports
from veilmatch_crypto import key_files, key_fingerprint
from veilmatch_node.serve import serve
from veilmatch_policy.errors import DirectoryError
from veilmatch_transport import (
    Code,
    PeerRefusedError,
    Tls,
    open_channel,
    read_passphrase,
    read_tls,
    wait_until_serving,
)

DOCUMENT = (Path(__file__).parents[2] / "docs" / "join.md").read_text(encoding="utf-8")
DEPARTMENTS = ("police", "social", "tax")
WORDS = {
    "ROOT_WORDS": "the root's own words",
    "VEILMATCH_PASSPHRASE": "the services' words",
    "OFFICER_WORDS": "the officer's own words",
}


def documented(*words):
    """The arguments of the first command in the document that begins with these words."""
    found = re.search(rf"^    veilmatch ({' '.join(words)}.*)$", DOCUMENT, re.MULTILINE)
    return shlex.split(found[1])


def veilmatch(*arguments, unlock=None):
    """Run a command as `main` does, in this process: what it does is what counts, not how it starts."""
    words = ["veilmatch", *map(str, arguments), *(["--unlock", f"env:{unlock}"] if unlock else [])]
    with mock.patch.object(sys, "argv", words), mock.patch("signal.signal"):
        command_line.main()


def told(arguments, changes):
    """A documented command with a reader's own names."""
    assert changes.keys() <= set(arguments)
    return [changes.get(each, each) for each in arguments]


def without(arguments, option):
    """A command without one option and its value."""
    at = arguments.index(option)
    return arguments[:at] + arguments[at + 2 :]


@pytest.fixture
def joined(tmp_path, monkeypatch):
    """Coordinator, operator and three departments, of which the tax bureau dials out; nothing runs yet."""
    monkeypatch.setattr(key_files, "_USUAL", key_files._Cost(16, 1, 1))  # the files say so themselves
    for name, words in WORDS.items():
        monkeypatch.setenv(name, words)
    monkeypatch.chdir(tmp_path)
    write_departments(tmp_path / "srv")
    with reserved_ports(3) as ports:
        addresses = dict(
            zip(("coordinator", "police", "social"), (f"127.0.0.1:{port}" for port in ports), strict=True)
        )
        make(addresses)
        yield addresses


def make(addresses):
    """Go through the document."""
    veilmatch(*documented("federation", "init"), unlock="ROOT_WORDS")
    for name in DEPARTMENTS:
        named = {"tax": name, "60000": "60"}
        veilmatch(*told(documented("node", "officer"), named), unlock="OFFICER_WORDS")
        init = documented("node", "init")
        if name in addresses:
            init = told(init, {"tax": name, "tax.example:7443": addresses[name]})
        else:
            init = without(init, "--address")
        veilmatch(*init, unlock="VEILMATCH_PASSPHRASE")
    office = {"office.example:7443": addresses["coordinator"]}
    veilmatch(*told(documented("coordinator", "init", "coordinator"), office), unlock="VEILMATCH_PASSPHRASE")
    veilmatch(*documented("coordinator", "init", "operator"), unlock="VEILMATCH_PASSPHRASE")
    requests = [f"{name}/{name}.request" for name in (*DEPARTMENTS, "operator")]
    requests.append("office/coordinator.request")
    add = documented("federation", "add")
    add = [each for each in add if not each.endswith(".request")]
    veilmatch(*add, *requests, "--compared", unlock="ROOT_WORDS")
    fingerprint = key_fingerprint(bytes.fromhex(Path("root/root.pub").read_text()))
    for name in DEPARTMENTS:
        listen = ("--listen", addresses[name]) if name in addresses else ()
        own = {
            "tax.reply": f"root/replies/{name}.reply",
            "FINGERPRINT": fingerprint,
            "/srv/tax": f"srv/{name}",
        }
        veilmatch(*told(documented("node", "join"), own | ({} if name == "tax" else {"tax": name})), *listen)
    for name in ("coordinator", "operator"):
        own = {f"{name}.reply": f"root/replies/{name}.reply", "FINGERPRINT": fingerprint}
        listen = ("--listen", addresses[name]) if name in addresses else ()
        veilmatch(*told(documented("coordinator", "join", f"{name}.reply"), own), *listen)


def config(name):
    """The configuration that `join` wrote."""
    return Path("office/coordinator.toml") if name == "coordinator" else Path(name) / "node.toml"


@contextmanager
def serving(addresses, *names):
    """Services as the document's last commands start them."""
    members = Members(Path("logs"))
    _, tls = read_operator(Path("operator/operator.toml"))
    try:
        members.start({name: config(name) for name in names}, "coordinator")
        for name in names:
            if name in addresses:
                wait_for(addresses[name], name, OFFICE if name == "coordinator" else NODE, tls, 60.0)
        yield members
    finally:
        members.stop()


def may_call(addresses, caller, at, service):
    """Whether a member's calls are answered there."""
    home = Path("operator") if caller == "operator" else Path(caller)
    tls = read_tls(
        Tls(root=home / "root.pem", certificate=home / "tls.pem", key=home / "tls.key"),
        read_passphrase("env:VEILMATCH_PASSPHRASE", home),
    )
    with open_channel(addresses[at], at, tls) as channel:
        try:
            wait_until_serving(channel, at, service, 2.0)
        except PeerRefusedError as refused:
            return refused.code is not Code.NOT_PERMITTED
    return True


def approved(addresses):
    """The name of the one job there is, once the officer of every department has approved it."""
    directory, tls = read_operator(Path("operator/operator.toml"))
    operator = Operator(addresses["coordinator"], directory.coordinator, tls)
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            [job] = operator.jobs(10)
            if set(job.waits_for) == set(DEPARTMENTS):
                break
            time.sleep(0.05)
    finally:
        operator.close()
    assert (job.state, set(job.waits_for)) == ("waiting", set(DEPARTMENTS))
    for name in DEPARTMENTS:
        one = ("", "--config", config(name), "--officer-key", f"{name}/officer.key")  # of one request
        veilmatch("node", "approvals", "approve", *one, unlock="OFFICER_WORDS")
    return job.job


def test_a_federation_made_by_the_document(joined):
    coordinator = config("coordinator")
    coordinator.write_text(coordinator.read_text().replace("# approval_retry = 60", "approval_retry = 1"))
    for folder in (*DEPARTMENTS, "office", "operator", "root"):
        for key in Path(folder).glob("*.key"):
            assert key.read_text().startswith("veilmatch key file"), key
    with serving(joined, "coordinator", *DEPARTMENTS):
        veilmatch(*documented("epoch", "open"))
        policy = write_policy(Path(), "supplement")
        office = ("--config", "operator/operator.toml")
        veilmatch("job", "submit", policy, *office, "--key-bits", "2048")
        veilmatch("job", "watch", approved(joined), *office)
        header, *eligible = Path("social/results/supplement/eligible.csv").read_text().splitlines()
        assert (header, eligible) == ("id", plain_answers()["supplement"])
        assert may_call(joined, "tax", "coordinator", OFFICE)
    veilmatch(*documented("federation", "revoke"), unlock="ROOT_WORDS")
    for group, name in (("coordinator", "office"), ("node", "police")):
        reply = f"root/replies/{'coordinator' if name == 'office' else name}.reply"
        veilmatch(
            group,
            *told(
                documented("node", "join", "tax.reply", "--home", "tax$")[1:],
                {"tax.reply": reply, "tax": name},
            ),
        )
    with serving(joined, "coordinator", "police"):
        for at, service in (("coordinator", OFFICE), ("police", NODE)):
            assert may_call(joined, "operator", at, service)
            assert not may_call(joined, "tax", at, service)
    # It had no reply; with the new directory from somebody else it does not even start.
    for name in ("federation.toml", "federation.toml.sig"):
        shutil.copyfile(Path("root") / name, Path("tax") / name)
    with pytest.raises(DirectoryError, match=r"tax was revoked on .* \(its keys were copied\)"):
        serve(config("tax"))
