"""Joining a federation by the command line: who decides, what is checked on both sides, and every refusal."""

import hashlib
import io
import json
import shutil
import stat
import tomllib
from datetime import UTC, datetime, timedelta

import pytest
from command_line import run_here
from cryptography import x509
from membership_world import WORDS, World, cheap_keys, make_members

from veilmatch.membership.state import Overview
from veilmatch_crypto import IdentityKey, Passphrase, make_request
from veilmatch_node.config import NodeConfig
from veilmatch_policy import canonical
from veilmatch_policy.directory import open_directory
from veilmatch_transport import load_settings, server_name


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders with two departments, coordinator and operator, to be copied: each command takes its time."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        cheap_keys(patch)
        make_members(folder)
    return folder


@pytest.fixture
def anywhere(tmp_path, capsys, monkeypatch):
    cheap_keys(monkeypatch)
    for name, words in WORDS.items():
        monkeypatch.setenv(name, words)
    return World(tmp_path / "world", capsys)


@pytest.fixture
def world(anywhere):
    """A root without members."""
    anywhere.folder.mkdir()
    anywhere.done("federation", "init", "example", "--home", anywhere.root)
    return anywhere


@pytest.fixture
def members(made, anywhere):
    """Two departments, coordinator and operator, in version 1."""
    shutil.copytree(made, anywhere.folder)
    return anywhere


def directory(world):
    """The newest directory, as a member reads it."""
    path = world.root / "federation.toml"
    public = bytes.fromhex((world.root / "root.pub").read_text())
    return open_directory(
        path.read_bytes(), bytes.fromhex((path.parent / "federation.toml.sig").read_text()), public
    )


def joined(world, name, *more):
    ended = world.join(name, "--root", world.fingerprint, *more)
    assert (ended.code, ended.err) == (0, "")
    return ended.out


# Folders.


def test_every_private_key_is_encrypted_and_for_its_owner_alone(members):
    members.done("node", "officer", "tax", "--home", members.home("tax"), "--rows", 40)
    keys = sorted(members.folder.glob("*/*.key"))
    assert {f"{path.parent.name}/{path.name}" for path in keys} == {
        *("coordinator/identity.key", "coordinator/tls.key", "operator/identity.key", "operator/tls.key"),
        *(
            f"{name}/{use}.key"
            for name in ("housing", "tax")
            for use in ("identity", "sealing", "store", "tls")
        ),
        *("tax/officer.key", "root/root.key", "root/tls.key"),
    }
    for path in keys:
        assert path.read_text().startswith("veilmatch key file, version 1\n")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_travels_holds_no_secret(members):
    """No private key of a member, of the root or of an officer is in a request, a reply or a directory."""
    secrets = []
    for path in members.folder.glob("*/*.key"):
        words = WORDS["ROOT_WORDS"] if path.parent.name == "root" else WORDS["VEILMATCH_PASSPHRASE"]
        secrets.append(Passphrase(words).unlock(path.stem, path.read_text()))
    assert len(secrets) == 14
    travels = [*members.folder.glob("*/*.request"), *members.root.glob("replies/*")]
    travels += [members.root / "federation.toml", members.root / "root.pem"]
    for path in travels:
        data = path.read_bytes()
        assert b"PRIVATE" not in data
        for secret in secrets:
            assert secret not in data
            assert secret.hex().encode() not in data


def test_the_directory_says_what_was_asked_for(members):
    known = directory(members)
    assert (known.federation, known.version, known.trustees) == ("example", 1, ("housing", "tax"))
    assert {name: member.role for name, member in known.members.items()} == {
        "housing": "node",
        "tax": "node",
        "coordinator": "coordinator",
        "operator": "operator",
    }
    assert known.member("tax").address == "tax.example:7443"
    certificate = x509.load_pem_x509_certificate(members.state.certificates["tax"].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["tax.example", server_name("tax")]
    lasts = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=364) < lasts < timedelta(days=366)


def test_a_configuration_that_loads_is_written_once(members, tmp_path):
    home = members.home("tax")
    joined(
        members,
        "tax",
        "--data",
        tmp_path / "data",
        "--unlock",
        f"file:{tmp_path / 'words'}",
        "--listen",
        "127.0.0.1:7777",
    )
    config = load_settings(home / "node.toml", NodeConfig)
    assert (config.name, config.listen, config.keys.unlock) == (
        "tax",
        "127.0.0.1:7777",
        f"file:{tmp_path / 'words'}",
    )
    assert config.data.folder == tmp_path / "data"
    assert config.keys.quota is None
    (home / "node.toml").write_text((home / "node.toml").read_text() + "# mine\n")
    again = members.join("tax")
    assert "is as it was" in again.out
    assert "restart it: veilmatch node serve" in again.out
    assert (home / "node.toml").read_text().endswith("# mine\n")


def test_a_department_that_dials_out_with_an_officer(world):
    home = world.home("police")
    said = world.done("node", "officer", "police", "--home", home, "--rows", 40)
    assert "fingerprint" in said
    world.done("node", "init", "police", "--home", home)
    world.init("tax")
    world.add("police", "tax", "coordinator")
    joined(world, "police", "--data", world.folder)
    config = load_settings(home / "node.toml", NodeConfig)
    assert (config.listen, config.connect, config.keys.quota) == (None, True, home / "quota.toml")
    known = directory(world)
    assert known.officer("police").hex() == (home / "officer.pub").read_text().strip()
    with pytest.raises(Exception, match="tax has no officer's key"):
        known.officer("tax")


# At the root.


def test_nothing_is_signed_before_the_fingerprints_were_compared(world, monkeypatch):
    world.init("tax", office=False)
    add = ("federation", "add", world.request("tax"), "--home", world.root)
    for answer in ("n\n", "\n", ""):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        ended = world(*add)
        assert ended.code == 2
        assert "not compared, so nothing was signed" in ended.err
        assert world.state.members == {}
    fingerprint = hashlib.sha256(
        json.loads(world.request("tax").read_bytes())["statement"].encode()
    ).hexdigest()
    assert fingerprint in ended.out.replace(" ", "")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert world(*add).code == 0
    assert set(world.state.members) == {"tax"}


def test_members_come_one_after_the_other(world):
    world.init("tax", "housing")
    assert "still needs a coordinator" in world.add("tax")
    assert "still needs two departments" in world.add("coordinator")
    assert not list((world.root / "replies").iterdir())
    assert "version 1 is signed" in world.add("housing")
    assert {path.stem for path in (world.root / "replies").iterdir()} == {"tax", "coordinator", "housing"}
    assert "version 2 is signed" in world.add("operator")
    assert directory(world).version == 2


def test_show(members):
    members.done("federation", "set", "--home", members.root, "--purpose", "relief=Relief of hardship")
    text = members("federation", "show", "--home", members.root).out
    certificate = directory(members).member("tax").certificate
    for said in (
        "example, version 2",
        "tax: node, tax.example:7443, without officer",
        f"SHA-256 {certificate}",
        f"certificate until {datetime.now(UTC) + timedelta(days=365):%Y-%m-%d}",
        "trustees: housing, tax",
        "dealers: every department",
        "relief: Relief of hardship",
        "nobody",
        members.fingerprint[:4],
    ):
        assert said in text


def test_setting_parts_and_purposes(members):
    members.done(
        *("federation", "set", "--home", members.root, "--trustee", "tax", "--dealer", "tax"),
        *("--register", "housing", "--purpose", "relief=Relief of hardship", "--purpose", "x=y"),
    )
    known = directory(members)
    assert (known.trustees, known.dealers, known.register) == (("tax",), ("tax",), "housing")
    assert known.purposes == {"relief": "Relief of hardship", "x": "y"}
    clear = ("--dealer", "", "--register", "", "--purpose", "x=")
    members.done("federation", "set", "--home", members.root, *clear)
    known = directory(members)
    assert (known.trustees, known.dealers, known.register) == (("tax",), (), None)
    assert known.purposes == {"relief": "Relief of hardship"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "changes nothing"),
        (("--trustee", "coordinator"), "coordinator: is no department and cannot be trustee"),
        (("--dealer", "police"), "police: is no member; members are coordinator, housing, operator, tax"),
        (("--trustee", "tax", "--trustee", "tax"), "tax: is named twice as trustee"),
        (("--purpose", "relief"), "is not CODE=MEANING"),
        (("--register", "operator"), "operator: is no department and cannot be register"),
    ],
)
def test_parts_that_nobody_can_have(members, more, said):
    assert said in members.refused("federation", "set", "--home", members.root, *more)
    assert directory(members).version == 1


def test_renewing_certificates(members):
    before = directory(members)
    members.done("federation", "renew", "tax", "--home", members.root, "--days", 30)
    known = directory(members)
    assert known.version == 2
    assert known.member("tax").certificate != before.member("tax").certificate
    assert known.member("housing") == before.member("housing")
    assert known.member("tax").identity == before.member("tax").identity
    joined(members, "tax", "--data", members.folder)
    assert (members.home("tax") / "tls.pem").read_text() == members.state.certificates["tax"]


def test_a_later_request_brings_officer_and_address(members):
    home = members.home("tax")
    early = members.request("tax").read_bytes()
    members.done("node", "officer", "tax", "--home", home, "--rows", 40)
    members.done("node", "renew", "--home", home, "--address", "new.example:7000", "--title", "Tax bureau")
    later = ("--request", members.request("tax"), "--compared")
    said = members.done("federation", "renew", "--home", members.root, *later)
    assert "the officer of tax: " in said
    known = directory(members).member("tax")
    assert (known.address, known.title) == ("new.example:7000", "Tax bureau")
    assert known.officer == (home / "officer.pub").read_text().strip()
    assert "is not later than the last" in members.refused(
        "federation", "renew", "--home", members.root, *later
    )
    members.request("tax").write_bytes(early)
    assert "is not later than the last" in members.refused(
        "federation", "renew", "--home", members.root, *later
    )


def test_renewing_what_cannot_be(members):
    assert "names nobody" in members.refused("federation", "renew", "--home", members.root)
    assert "is no member" in members.refused("federation", "renew", "police", "--home", members.root)
    other = members.home("other")
    members.done("node", "init", "tax", "--home", other)
    stolen = ("--request", other / "tax.request", "--compared")
    assert "asks with another identity key" in members.refused(
        "federation", "renew", "--home", members.root, *stolen
    )


def test_what_is_refused_changes_nothing(members):
    """Nor half of it: a certificate that is not in the directory would keep its member out."""
    before = {path: path.read_bytes() for path in members.root.rglob("*") if path.is_file()}
    unknown = ("tax", "housing", "police")
    members.refused("federation", "renew", *unknown, "--home", members.root)
    members.init("police", office=False)
    both = (members.request("police"), members.request("tax"))
    members.refused("federation", "add", *both, "--home", members.root, "--compared")
    assert {path: path.read_bytes() for path in members.root.rglob("*") if path.is_file()} == before


def test_revoking(members):
    members.init("police", office=False)
    members.add("police")
    members.done("federation", "revoke", "police", "--home", members.root, "--reason", "its keys were copied")
    known = directory(members)
    today = datetime.now(UTC).date()
    assert known.version == 3
    with pytest.raises(Exception, match=f"police was revoked on {today} \\(its keys were copied\\)"):
        known.member("police")
    assert "police: " in members("federation", "show", "--home", members.root).out
    assert "is no member" in members.refused(
        "federation", "revoke", "police", "--home", members.root, "--reason", "x"
    )
    # Its keys were revoked with it; with new ones it may come back.
    again = ("federation", "add", members.request("police"), "--home", members.root, "--compared")
    assert "its identity key is one that police joined with" in members.refused(*again)
    shutil.rmtree(members.home("police"))
    members.init("police", office=False)
    members.add("police")
    assert directory(members).revoked == {}


def test_whoever_has_a_part_is_not_revoked(members):
    revoke = ("federation", "revoke", "tax", "--home", members.root, "--reason", "x")
    assert "tax: is a trustee; name others with federation set" in members.refused(*revoke)
    members.done("federation", "set", "--home", members.root, "--trustee", "housing", "--dealer", "tax")
    assert "tax: is a dealer" in members.refused(*revoke)
    members.done("federation", "set", "--home", members.root, "--dealer", "", "--register", "tax")
    assert "tax: is the register" in members.refused(*revoke)


def test_another_coordinator(members):
    gone = ("federation", "revoke", "coordinator", "--home", members.root, "--reason", "moved")
    assert "Nothing was signed: the federation still needs a coordinator" in members.done(*gone)
    assert directory(members).version == 1
    address = ("--address", "new.example:7443")
    members.done("coordinator", "init", "bureau", "--home", members.home("bureau"), *address)
    members.add("bureau")
    assert directory(members).coordinator == "bureau"
    assert "coordinator" in directory(members).revoked


def test_a_second_coordinator(members):
    members.done(
        "coordinator", "init", "bureau", "--home", members.home("bureau"), "--address", "b.example:1"
    )
    more = ("federation", "add", members.request("bureau"), "--home", members.root, "--compared")
    assert "bureau: is a second coordinator; revoke coordinator first" in members.refused(*more)


def test_a_member_twice_or_with_anothers_keys(members):
    again = ("federation", "add", members.request("tax"), "--home", members.root, "--compared")
    assert "tax: is a member already" in members.refused(*again)
    text = json.loads(members.request("tax").read_bytes())["statement"]
    key = IdentityKey.from_bytes(
        Passphrase(WORDS["VEILMATCH_PASSPHRASE"]).unlock(
            "identity", (members.home("tax") / "identity.key").read_text()
        )
    )
    path = members.folder / "tax2.request"
    path.write_bytes(signed(key, json.loads(text) | {"name": "tax2"}))
    more = ("federation", "add", path, "--home", members.root, "--compared")
    assert "its identity key is one that tax joined with" in members.refused(*more)


def test_state_that_somebody_without_the_passphrase_wrote(members):
    path = members.root / "state.json"
    good = path.read_bytes()
    path.write_bytes(good.replace(b"tax.example", b"evil.exampl"))
    line = members.refused("federation", "renew", "tax", "--home", members.root, code=3)
    assert "state.json: is not signed by the key that it names" in line
    path.write_bytes(good)
    members.done("federation", "renew", "tax", "--home", members.root)
    path.write_bytes(good)  # an older one of the root's own: it would sign version 2 a second time
    line = members.refused("federation", "renew", "tax", "--home", members.root)
    assert "is signed already, so state.json is an old one" in line


def test_the_roots_passphrase(members):
    line = members.refused(
        *("federation", "renew", "tax", "--home", members.root, "--unlock", "env:VEILMATCH_PASSPHRASE")
    )
    assert "root.key: does not open" in line
    assert "holds a root already" in members.refused("federation", "init", "two", "--home", members.root)


# Requests.


def signed(key, content, kind="request"):
    """A document as its signer would make it."""
    from veilmatch_crypto import encode_tuple

    statement = canonical.encode(content)
    signature = key.sign(encode_tuple(f"veilmatch/1/federation-{kind}", statement))
    return canonical.encode({"statement": statement.decode(), "signature": signature.hex()})


def test_requests_that_are_refused(world):
    key = IdentityKey.generate()
    good = {
        "name": "tax",
        "role": "node",
        "title": "",
        "address": "tax.example:7443",
        "made": "2026-01-01T00:00:00Z",
        "certificate": make_request("tax").request.decode(),
        "identity": key.public.hex(),
        "sealing": "11" * 32,
    }
    path = world.folder / "tax.request"
    add = ("federation", "add", path, "--home", world.root, "--compared")
    for data in (
        b"",
        b"no request",
        signed(key, good)[:-1],
        signed(key, good).replace(b"tax.example", b"tax.exampl2"),
        signed(IdentityKey.generate(), good),
        signed(key, good, kind="reply"),
        *(
            signed(key, good | changed)
            for changed in (
                {"name": "../tax"},
                {"name": "tax/x"},
                {"name": ""},
                {"role": "root"},
                {"role": "coordinator"},
                {"role": "operator"},
                {"address": "no port"},
                {"address": "a:1:2"},
                {"made": "soon"},
                {"identity": "11"},
                {"more": "x"},
                {"title": "x" * 201},
            )
        ),
    ):
        path.write_bytes(data)
        line = world.refused(*add, code=3)
        assert line.startswith(str(path))
    for changed in (
        {"certificate": "x"},
        {"certificate": make_request("tax").request.decode().replace("M", "N")},
    ):
        path.write_bytes(signed(key, good | changed))
        assert "tax: gets no certificate" in world.refused(*add)
    assert world.state.members == {}
    path.write_bytes(signed(key, good))
    world.done(*add)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("node", "init", "a/b"), "name: 'a/b' is not a name"),
        (("node", "init", "tax", "--address", "nowhere"), "address: "),
        (("node", "init", "tax", "--title", "x" * 201), "title: "),
        (("coordinator", "init", "office"), "a coordinator has an address"),
        (("node", "init", "tax", "--unlock", "env:NOT_SET"), "NOT_SET: is not set"),
        (("node", "init", "tax", "--unlock", "the passphrase itself"), "say file:PATH or env:NAME"),
        (("node", "join", "tax.reply", "--unlock", "the passphrase itself"), "--unlock: is neither"),
        (("node", "officer", "a b", "--rows", "4"), "--name: 'a b' is not a name"),
        (("node", "officer", "tax", "--rows", "-4"), "--rows"),
    ],
)
def test_folders_that_are_not_made(world, more, said):
    line = world.refused(*more, "--home", world.home("new"))
    assert said in line
    assert "passphrase itself" not in line
    assert not world.home("new").exists()


def test_nobody_to_ask_for_a_passphrase(world):
    ended = run_here(world.capsys, "node", "init", "tax", "--home", world.home("new"))
    assert ended.line() == "the passphrase: none was typed; say --unlock file:PATH or --unlock env:NAME"
    assert not world.home("new").exists()


def test_a_passphrase_that_is_too_short(world, monkeypatch):
    monkeypatch.setenv("SHORT", "short")
    line = world.refused("node", "init", "tax", "--home", world.home("new"), "--unlock", "env:SHORT")
    assert line == "the passphrase: has fewer than 12 characters; choose a longer one"
    assert not (world.home("new") / "identity.key").exists()


def test_keys_are_not_overwritten(members):
    before = (members.home("tax") / "identity.key").read_bytes()
    assert "holds a member's keys already" in members.refused(
        "node", "init", "tax", "--home", members.home("tax")
    )
    assert (members.home("tax") / "identity.key").read_bytes() == before


def test_officer_and_service_have_a_passphrase_each(world):
    home = world.home("tax")
    same = ("--unlock", "env:VEILMATCH_PASSPHRASE")
    world.done("node", "officer", "tax", "--home", home, "--rows", 40, *same)
    assert "opens under the same passphrase" in world.refused("node", "init", "tax", "--home", home)
    (home / "officer.key").unlink()
    world.done("node", "init", "tax", "--home", home)
    again = ("node", "officer", "tax", "--home", home, "--rows", 40)
    assert "opens under the same passphrase" in world.refused(*again, *same)
    world.done(*again)
    assert "is there already" in world.refused(*again)


def test_a_quota_only_grows(world):
    home = world.home("tax")
    world.done("node", "officer", "tax", "--home", home, "--rows", 40)
    assert "less than the 40" in world.refused("node", "quota", "--home", home, "--rows", 39)
    world.done("node", "quota", "--home", home, "--rows", 41)
    file = tomllib.loads((home / "quota.toml").read_text())
    assert (file["requester"], file["rows"]) == ("tax", 41)


# At the member.


def test_the_root_must_be_the_one_that_was_told(members):
    nothing = set(members.home("tax").iterdir())
    more = ("--data", members.folder)
    line = members.join("tax", *more).line()
    assert "--root: is missing; say the fingerprint" in line
    wrong = "0" + members.fingerprint[1:] if members.fingerprint[0] != "0" else "1" + members.fingerprint[1:]
    for typed in (wrong, members.fingerprint[:-1], "", "no hex"):
        ended = members.join("tax", "--root", typed, *more)
        assert ended.code == 3
        assert "is from another root" in ended.line()
    assert "--data: is missing; say where" in members.join("tax", "--root", members.fingerprint).line()
    assert set(members.home("tax").iterdir()) == nothing
    spaced = " ".join(members.fingerprint.upper()[at : at + 4] for at in range(0, 64, 4))
    assert members.join("tax", "--root", spaced, *more).code == 0


def test_replies_that_are_refused(members, tmp_path):
    joined(members, "housing", "--data", tmp_path)
    home = members.home("tax")
    before = {path: path.read_bytes() for path in home.iterdir()}
    good = members.reply("tax").read_bytes()
    key = IdentityKey.from_bytes(
        Passphrase(WORDS["ROOT_WORDS"]).unlock("root", (members.root / "root.key").read_text())
    )
    content = json.loads(json.loads(good)["statement"])
    housing = json.loads(json.loads(members.reply("housing").read_bytes())["statement"])

    def refused(data, said, code=3):
        members.reply("tax").write_bytes(data)
        ended = members.join("tax", "--root", members.fingerprint, "--data", tmp_path)
        assert ended.code == code
        assert said in ended.line()
        assert {path: path.read_bytes() for path in home.iterdir()} == before

    refused(b"", "is no reply")
    refused(good.replace(b"tax.example", b"tax.exampl2"), "is not signed")
    refused(members.reply("housing").read_bytes(), "is the reply to housing")
    refused(signed(IdentityKey.generate(), content, "reply"), "is not signed")
    refused(signed(key, content, "request"), "is not signed")
    refused(
        signed(key, content | {"certificate": housing["certificate"]}, "reply"), "not for the key that asked"
    )
    refused(signed(key, content | {"signature": "00" * 64}, "reply"), "not signed by the federation's root")
    other = members.folder / "two"
    members.done("federation", "init", "example", "--home", other)
    root = (other / "root.pem").read_text()
    refused(signed(key, content | {"tls_root": root}, "reply"), "not from the federation's root")
    members.done("federation", "add", members.request("tax"), "--home", other, "--compared")
    certificate = Overview.read(other).state.certificates["tax"]
    # A certificate for our key and name, from another authority that calls itself by the same name.
    both = {"tls_root": root, "certificate": certificate}
    refused(signed(key, content | both, "reply"), "lists other keys of tax than its newest request")
    members.reply("tax").write_bytes(good)
    joined(members, "tax", "--data", tmp_path)


def test_a_reply_to_an_earlier_request(members):
    members.done("node", "officer", "tax", "--home", members.home("tax"), "--rows", 40)
    members.done("node", "renew", "--home", members.home("tax"))
    ended = members.join("tax", "--root", members.fingerprint, "--data", members.folder)
    assert "lists other keys of tax than its newest request" in ended.line()


def test_an_older_directory(members):
    old = members.reply("tax").read_bytes()
    members.done("federation", "renew", "tax", "--home", members.root)
    joined(members, "tax", "--data", members.folder)
    members.reply("tax").write_bytes(old)
    ended = members.join("tax")
    assert ended.code == 3
    assert "version 1 is older than 2" in ended.line()


def test_a_folder_without_a_request(members):
    ended = members.join("operator", "--root", members.fingerprint)
    assert ended.code == 0
    members.request("operator").unlink()
    assert "holds 0 requests, not one" in members.join("operator").line()
