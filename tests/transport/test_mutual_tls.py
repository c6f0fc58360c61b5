"""Who may connect to whom: every wrong certificate ends in one line, within seconds."""

import socket
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from transport_world import FEDERATION, UncheckedIdentity, World, message, procedure, work

from veilmatch_crypto import CertificateRefusedError, Validity, fingerprint
from veilmatch_transport import limits
from veilmatch_transport.channel import call, wait_until_serving
from veilmatch_transport.errors import (
    CredentialError,
    PeerUnavailableError,
    PeerUntrustedError,
)
from veilmatch_transport.streams import open_stream
from veilmatch_transport.tls import TlsIdentity, peer_certificate, server_name


@contextmanager
def refused(error, wording, seconds=3.0):
    began = time.monotonic()
    with pytest.raises(error) as caught:
        yield
    assert time.monotonic() - began < seconds
    assert wording in str(caught.value)
    assert str(caught.value).startswith("tax: ")
    assert str(caught.value).isprintable()


@pytest.fixture(scope="module")
def stranger():
    return World()  # the same names under a root of its own


def ask(channel):
    return call(procedure(channel, "Ask"), "tax", message(b"x"))


def test_members_meet(world):
    with world.serving() as port, world.dialling(port) as channel:
        assert ask(channel).value == b"x"


def test_names_in_any_script_meet(world):
    identity = world.identity("民政")
    with world.serving(identity=identity) as port, world.dialling(port, to="民政") as channel:
        assert call(procedure(channel, "Ask"), "民政", message(b"x")).value == b"x"


def test_another_member_at_the_address_is_not_taken_for_the_one_dialled(world):
    with (
        world.serving(identity=world.identity("housing")) as port,
        world.dialling(port) as channel,
        refused(PeerUntrustedError, "another member's"),
    ):
        ask(channel)


def test_a_server_under_a_foreign_root(world, stranger):
    with (
        world.serving(identity=stranger.identity("tax")) as port,
        world.dialling(port) as channel,
        refused(PeerUntrustedError, "not from this federation's root"),
    ):
        ask(channel)


def test_a_server_whose_certificate_has_expired(world):
    with (
        world.serving(identity=world.expired("tax")) as port,
        world.dialling(port) as channel,
        refused(PeerUntrustedError, "has expired"),
    ):
        ask(channel)


@pytest.mark.parametrize("member", ["tax", "office"], ids=["of the server", "of the caller"])
def test_a_certificate_that_expires_ends_no_connection_and_begins_none(world, monkeypatch, member):
    now = datetime.now(UTC)
    end = now + timedelta(seconds=2)
    short = world.issue(member, Validity(now - timedelta(hours=1), end))
    monkeypatch.setitem(world.credentials, member, short)
    monkeypatch.setitem(world.listed, member, (fingerprint(short.certificate), world.listed[member][1]))
    with world.serving() as port:
        with world.dialling(port) as channel, open_stream(work(channel), "tax") as stream:
            stream.send(message(b"before"))
            assert stream.receive().value == b"before"
            dialler = world.identity("office")
            time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds()) + 1.0)
            stream.send(message(b"after"))
            assert stream.receive().value == b"after"
        wording = (
            "its certificate has expired; " if member == "tax" else "check that our certificate is valid"
        )
        with (
            world.dialling(port, identity=dialler) as channel,
            refused(PeerUnavailableError, wording),
        ):
            ask(channel)


def test_a_caller_under_a_foreign_root(world, stranger):
    credential = stranger.credentials["office"]
    identity = UncheckedIdentity(world.root.certificate, *credential)
    with (
        world.serving() as port,
        world.dialling(port, identity=identity) as channel,
        refused(PeerUnavailableError, "check that our certificate"),
    ):
        ask(channel)


def test_a_caller_whose_certificate_has_expired(world):
    with (
        world.serving() as port,
        world.dialling(port, identity=world.expired("office")) as channel,
        refused(PeerUnavailableError, "check that our certificate"),
    ):
        ask(channel)


def test_a_stream_of_a_caller_that_is_not_trusted(world):
    with world.serving() as port, world.dialling(port, identity=world.expired("office")) as channel:
        stream = open_stream(work(channel), "tax")
        with refused(PeerUnavailableError, "check that our certificate"):
            stream.receive()
        with refused(PeerUnavailableError, "check that our certificate"):
            while True:
                stream.send(message())


@pytest.mark.parametrize("kind", ["no certificate", "no TLS"])
def test_a_caller_without_a_certificate(world, kind):
    with world.serving() as port:
        address = f"127.0.0.1:{port}"
        if kind == "no TLS":
            channel = grpc.insecure_channel(address)
        else:
            credentials = grpc.ssl_channel_credentials(world.root.certificate)
            channel = grpc.secure_channel(address, credentials)
        with channel, refused(PeerUnavailableError, ""):
            ask(channel)


def test_nobody_listens(world):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with world.dialling(port) as channel:
        with refused(PeerUnavailableError, "nothing listens"):
            ask(channel)
        with refused(PeerUnavailableError, "nothing listens"):
            wait_until_serving(channel, "tax", "", 0.5)


def test_a_listener_that_says_nothing(world, monkeypatch):
    monkeypatch.setattr(limits, "CONNECT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent, world.dialling(silent.getsockname()[1]) as channel:
        with refused(PeerUnavailableError, "time allowed"):
            call(procedure(channel, "Ask"), "tax", message(), timeout=0.1)
        with refused(PeerUnavailableError, "does not answer"):
            open_stream(work(channel), "tax").receive()


def test_server_names():
    assert server_name("tax") == "m-63347f1551ab835fe77db8cbbcac3d37.veilmatch.internal"
    names = {server_name(member) for member in ("tax", "Tax", "民政", "x" * 64)}
    assert len(names) == 4
    for name in names:
        assert name.isascii()
        assert max(map(len, name.split("."))) <= 63  # RFC 1035, 2.3.4


def test_our_own_mistakes_are_found_at_the_start(world, stranger):
    root, (certificate, key) = world.root.certificate, world.credentials["tax"]
    with pytest.raises(CredentialError, match="does not belong"):
        TlsIdentity(root, certificate, world.credentials["office"].key)
    with pytest.raises(CredentialError, match="not from the federation's root"):
        TlsIdentity(stranger.root.certificate, certificate, key)
    old = world.expired("tax")
    with pytest.raises(CredentialError, match="ask the root for a new one"):
        TlsIdentity(root, old.certificate, old.key)
    for broken in ((b"", certificate, key), (root, b"junk", key), (root, certificate, b"junk")):
        with pytest.raises(CredentialError, match=r"TLS: .* is not "):
            TlsIdentity(*broken)


def test_the_key_is_not_printed(world):
    identity = world.identity("tax")
    body = identity.key.split(b"\n")[1].decode()
    assert body not in repr(identity)
    assert body not in str(identity)


def test_a_caller_outside_tls_has_no_name():
    class Plain:
        def auth_context(self):
            return {}

    with pytest.raises(CertificateRefusedError, match="no certificate"):
        peer_certificate(Plain(), FEDERATION)
