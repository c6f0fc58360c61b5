"""A service that is set up wrongly says so in one line and does not start: keys, directories, settings, addresses."""

import socket
import subprocess
import sys
import tomllib
from contextlib import closing

import pytest
import tomli_w
from processes.small_world import write_departments

from veilmatch.federation import COORDINATOR, NodePlan, make_federation
from veilmatch_coordinator.serve import serve as serve_coordinator
from veilmatch_coordinator.store import CoordinatorStore
from veilmatch_crypto import IdentityKey, Quota, Validity, Vault, make_root
from veilmatch_node.serve import serve as serve_node
from veilmatch_node.store import NodeStore
from veilmatch_policy.directory import signed_bytes
from veilmatch_policy.errors import CatalogError, DirectoryError
from veilmatch_transport import CredentialError, ListenError, SettingsError

SERVE = {"tax": serve_node, COORDINATOR: serve_coordinator}


@pytest.fixture
def homes(tmp_path):
    """A federation that is not started, all of whose members are configured for one port that is taken."""
    departments = write_departments(tmp_path / "departments")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        plans = {name: NodePlan(departments / name, address, {}) for name in ("police", "social", "tax")}
        make_federation(tmp_path / "federation", tmp_path / "out", plans, address, workers=1)
        yield tmp_path / "federation"


def refusal(homes, member, error):
    with pytest.raises(error) as refused:
        SERVE[member](homes / member / "config.toml")
    assert "\n" not in str(refused.value)
    return str(refused.value)


def configure(homes, member, change):
    path = homes / member / "config.toml"
    settings = tomllib.loads(path.read_text())
    change(settings)
    path.write_text(tomli_w.dumps(settings))


@pytest.mark.parametrize("member", SERVE)
def test_all_is_well_but_the_address(homes, member):
    """What every other test here changes one thing of."""
    line = refusal(homes, member, ListenError)
    assert "cannot listen there; the port is in use" in line


@pytest.mark.parametrize("member", SERVE)
def test_a_cluster_that_is_away_keeps_nobody_from_starting_but_one_that_members_could_pose_as_does(
    homes, member
):
    tls = tomllib.loads((homes / member / "config.toml").read_text())["tls"]
    ca = homes / "workers-ca.pem"
    ca.write_bytes(make_root("workers", Validity.for_days(1)).certificate)
    cluster = {"engine": "dask", "address": "tls://127.0.0.1:1", "ca": str(ca), **tls}
    del cluster["root"]
    configure(homes, member, lambda settings: settings.update(workers=cluster))
    assert "cannot listen there" in refusal(homes, member, ListenError)
    configure(homes, member, lambda settings: settings["workers"].update(ca=tls["root"]))
    assert "each of them could pose as the cluster" in refusal(homes, member, SettingsError)


@pytest.mark.parametrize("member", SERVE)
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_every_key_that_others_can_read(homes, member, mode):
    settings = tomllib.loads((homes / member / "config.toml").read_text())
    keys = [*settings["keys"].values(), settings["tls"]["key"]]
    assert len(keys) == {"tax": 5, COORDINATOR: 2}[member]
    for key in keys:
        path = homes / member / key
        path.chmod(mode)
        line = refusal(homes, member, SettingsError)
        assert line == f"{path}: others can read this key; run chmod 600 on it"
        path.chmod(0o600)


@pytest.mark.parametrize("member", SERVE)
@pytest.mark.parametrize("data", [b"", b"00" * 31, b"zz" * 32, b"\xff" * 64])
def test_a_key_that_is_none_is_not_repeated(homes, member, data):
    path = homes / member / "identity.key"
    path.write_bytes(data)
    assert refusal(homes, member, SettingsError) == f"{path}: is not a key of 32 bytes in hex; restore it"


@pytest.mark.parametrize("key", ["identity", "sealing", "officer"])
def test_a_key_that_is_not_the_one_in_the_directory(homes, key):
    """Nobody would believe what the node signs, nor could it open what is sealed to it."""
    path = homes / "tax" / f"{key}.key"
    path.write_bytes((homes / "police" / f"{key}.key").read_bytes())
    assert refusal(homes, "tax", SettingsError) == (
        f"{path}: is not the key that the directory gives for tax; restore it, or have a new directory signed"
    )


def quota(homes, officer="tax", requester="tax", **changed):
    """A quota file of the tax bureau, in the place of its officer's key."""
    key = IdentityKey.from_bytes(bytes.fromhex((homes / officer / "officer.key").read_text()))
    signed = Quota.signed(key, requester=requester, rows=40)
    file = {"requester": requester, "rows": 40, "signature": signed.signature.hex(), **changed}
    (homes / "tax" / "quota.toml").write_text(tomli_w.dumps(file))

    def change(settings):
        settings["keys"].pop("officer", None)
        settings["keys"]["quota"] = "quota.toml"

    configure(homes, "tax", change)


def test_a_quota_that_the_officer_did_not_sign_for_this_department(homes):
    quota(homes)
    refusal(homes, "tax", ListenError)  # all is well but the address
    for wrong, said in (
        ({"officer": "police"}, "is not signed by the officer that the directory names"),
        ({"rows": 41}, "is not signed by the officer"),
        ({"requester": "police"}, "is the quota of police; get the one of tax"),
        ({"rows": -1}, "is not a quota"),
        ({"signature": "no hex"}, "is not a quota"),
        ({"more": 1}, "is not a quota"),
    ):
        quota(homes, **wrong)
        assert said in refusal(homes, "tax", SettingsError)
    (homes / "tax" / "quota.toml").unlink()
    assert "cannot be read" in refusal(homes, "tax", SettingsError)


def test_a_quota_beside_the_key_that_signs_any(homes):
    configure(homes, "tax", lambda settings: settings["keys"].update(quota="quota.toml"))
    assert "say either quota or officer" in refusal(homes, "tax", SettingsError)


@pytest.mark.parametrize("modes", [["names"], "oprf"])
def test_linkage_modes_that_are_none(homes, modes):
    configure(homes, "tax", lambda settings: settings.update(linkage=modes))
    assert "linkage" in refusal(homes, "tax", SettingsError)


@pytest.mark.parametrize("member", SERVE)
def test_a_certificate_and_a_key_that_do_not_belong_together(homes, member):
    (homes / member / "node.key").write_bytes((homes / "police" / "node.key").read_bytes())
    assert "our key does not belong to our certificate" in refusal(homes, member, CredentialError)


@pytest.mark.parametrize("member", SERVE)
@pytest.mark.parametrize("signature", ["00" * 64, "", "no hex"])
def test_a_directory_that_the_root_has_not_signed(homes, member, signature):
    (homes / "federation.toml.sig").write_text(signature)
    assert refusal(homes, member, DirectoryError) == (
        "directory: not signed by the federation's root; get federation.toml and its .sig again"
    )


@pytest.mark.parametrize("member", SERVE)
def test_a_directory_with_one_byte_changed(homes, member):
    path = homes / "federation.toml"
    path.write_bytes(path.read_bytes().replace(b"version = 1", b"version = 2"))
    assert "not signed by the federation's root" in refusal(homes, member, DirectoryError)


def store_of(home, member):
    path = home / "state.sqlite"
    if member == COORDINATOR:
        return closing(CoordinatorStore(path))
    return closing(NodeStore(path, Vault(bytes.fromhex((home / "store.key").read_text().strip()))))


@pytest.mark.parametrize("member", SERVE)
def test_a_directory_that_is_older_than_one_seen(homes, member):
    root = IdentityKey.generate()
    configure(homes, member, lambda settings: settings["federation"].update(root=root.public.hex()))
    path = homes / "federation.toml"
    first = path.read_bytes()

    def publish(directory):
        path.write_bytes(directory)
        path.with_name("federation.toml.sig").write_text(root.sign(signed_bytes(directory)).hex())

    with store_of(homes / member, member) as store:
        store.set_directory_version(3)
    publish(first.replace(b"version = 1", b"version = 2"))
    assert refusal(homes, member, DirectoryError) == (
        "directory: version 2 is older than 3, seen before; get the newest"
    )


@pytest.mark.parametrize("member", SERVE)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda settings: settings.update(lisen="x"), "lisen: Extra inputs are not permitted"),
        (lambda settings: settings.pop("store"), "store: Field required"),
        (lambda settings: settings["keys"].pop("identity"), "keys.identity: Field required"),
        (
            lambda settings: settings.update(workers=0),
            "workers.count: Input should be greater than or equal to 1",
        ),
    ],
    ids=["unknown", "missing", "missing below", "out of range"],
)
def test_a_setting_that_is_wrong(homes, member, change, said):
    configure(homes, member, change)
    line = refusal(homes, member, SettingsError)
    assert line == f"{homes / member / 'config.toml'}: {said}; see docs/configuration.md"


def test_listen_or_connect(homes):
    configure(homes, "tax", lambda settings: settings.update(connect=True))
    assert 'say either listen = "host:port" or connect = true' in refusal(homes, "tax", SettingsError)


def test_another_departments_folder(homes):
    folder = str(homes.parent / "departments" / "police")
    configure(homes, "tax", lambda settings: settings["data"].update(folder=folder))
    assert "name is tax, the catalog is of police" in refusal(homes, "tax", SettingsError)


def test_a_catalog_that_is_refused(homes):
    path = homes.parent / "departments" / "tax" / "catalog.yaml"
    path.write_text(path.read_text().replace("identifier:", "identifer:"))
    assert "there is no key 'identifer'" in refusal(homes, "tax", CatalogError)


def test_the_process_ends_with_the_line_and_the_exit_code(homes):
    path = homes / "tax" / "identity.key"
    path.chmod(0o644)
    command = [sys.executable, "-m", "veilmatch", "node", "serve", "--config", homes / "tax" / "config.toml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{path}: others can read this key; run chmod 600 on it\n"


def test_evidence_on_a_disk_of_its_own(homes):
    configure(homes, COORDINATOR, lambda settings: settings.update(evidence="/proc"))
    assert refusal(homes, COORDINATOR, SettingsError) == (
        "/proc: is a disk of its own; name a folder on it as evidence"
    )
