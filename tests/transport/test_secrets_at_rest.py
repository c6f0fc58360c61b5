"""Where passphrases and private keys are read from, and every way in which they are refused without being shown."""

import pytest

from veilmatch_crypto import LOOPBACK, Passphrase, Validity, issue, key_files, make_root
from veilmatch_transport import (
    SettingsError,
    Tls,
    read_passphrase,
    read_secret,
    read_tls,
    read_tls_key,
    secrets_at_rest,
)

WORDS = "correct horse battery staple"
SECRET = bytes(range(32))


@pytest.fixture(autouse=True)
def _cheap(monkeypatch):
    monkeypatch.setattr(key_files, "_USUAL", key_files._Cost(16, 1, 1))


def private(path, text):
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


def refusal(action):
    with pytest.raises(SettingsError) as refused:
        action()
    line = str(refused.value)
    assert "\n" not in line
    assert WORDS not in line
    assert SECRET.hex() not in line
    return line


def opens(passphrase):
    """Whether it is the passphrase of these tests."""
    return passphrase.unlock("root", Passphrase(WORDS).lock("root", SECRET)) == SECRET


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_passphrase_from_a_file_beside_the_configuration(tmp_path, ending):
    private(tmp_path / "words", WORDS + ending)
    assert opens(read_passphrase("file:words", tmp_path))
    assert opens(read_passphrase(f"file:{tmp_path / 'words'}", tmp_path / "elsewhere"))


def test_a_passphrase_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_WORDS", WORDS)
    assert opens(read_passphrase("env:SOME_WORDS", tmp_path))


def test_no_passphrase(tmp_path, monkeypatch):
    assert read_passphrase(None, tmp_path) is None
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("NOT_SET", raising=False)
    (tmp_path / "latin").touch(mode=0o600)
    (tmp_path / "latin").write_bytes(b"\xff\xfe")
    private(tmp_path / "blank", "\n")
    for unlock, said in (
        ("env:NOT_SET", "NOT_SET: is not set"),
        ("env:EMPTY", "EMPTY: the passphrase is empty"),
        ("file:missing", "cannot be read"),
        ("file:latin", "is not UTF-8"),
        ("file:blank", "the passphrase is empty"),
        (WORDS, "say file:PATH or env:NAME"),  # the passphrase itself: it must not reach a log
    ):
        assert said in refusal(lambda unlock=unlock: read_passphrase(unlock, tmp_path))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_file_that_others_can_read(tmp_path, mode):
    passphrase = Passphrase(WORDS)
    words = private(tmp_path / "words", WORDS)
    plain = private(tmp_path / "plain.key", SECRET.hex())
    locked = private(tmp_path / "locked.key", passphrase.lock("tls", SECRET))
    for path, read in (
        (words, lambda: read_passphrase("file:words", tmp_path)),
        (plain, lambda: read_secret(plain, "store", None)),
        (locked, lambda: read_tls_key(locked, passphrase)),
    ):
        path.chmod(mode)
        assert refusal(read) == f"{path}: others can read this key; run chmod 600 on it"


def test_a_key_plain_or_encrypted(tmp_path):
    passphrase = Passphrase(WORDS)
    plain = private(tmp_path / "plain.key", SECRET.hex() + "\n")
    locked = private(tmp_path / "locked.key", passphrase.lock("identity", SECRET))
    assert read_secret(plain, "identity", None) == SECRET
    assert read_secret(plain, "identity", passphrase) == SECRET
    assert read_secret(locked, "identity", passphrase) == SECRET


def test_a_key_that_does_not_open(tmp_path):
    passphrase = Passphrase(WORDS)
    locked = private(tmp_path / "locked.key", passphrase.lock("identity", SECRET))
    short = private(tmp_path / "short.key", passphrase.lock("identity", b"16 bytes of key."))
    broken = private(tmp_path / "broken.key", passphrase.lock("identity", SECRET)[:-20])
    for said, read in (
        ("is encrypted; say in keys.unlock", lambda: read_secret(locked, "identity", None)),
        ("another use (identity, not store)", lambda: read_secret(locked, "store", passphrase)),
        ("does not open", lambda: read_secret(locked, "identity", Passphrase("another, also long"))),
        ("is not a key file of this version", lambda: read_secret(broken, "identity", passphrase)),
        ("is not a key of 32 bytes", lambda: read_secret(short, "identity", passphrase)),
    ):
        line = refusal(read)
        assert said in line
        assert line.startswith(str(tmp_path))


def test_tls(tmp_path):
    root = make_root("spree", Validity.for_days(2))
    certificate, key = issue(root, "tax", hosts=LOOPBACK, validity=Validity.for_days(1))
    (tmp_path / "root.pem").write_bytes(root.certificate)
    (tmp_path / "tls.pem").write_bytes(certificate)
    passphrase = Passphrase(WORDS)
    plain = private(tmp_path / "plain.key", key.decode())
    locked = private(tmp_path / "locked.key", passphrase.lock("tls", key))
    for path, unlock in ((plain, None), (plain, passphrase), (locked, passphrase)):
        tls = Tls(root=tmp_path / "root.pem", certificate=tmp_path / "tls.pem", key=path)
        assert read_tls(tls, unlock).key == key
    assert "is encrypted; say in keys.unlock" in refusal(lambda: read_tls(tls, None))


def test_what_systemd_gives_a_service_may_show_its_access_list(tmp_path, monkeypatch):
    given, elsewhere = tmp_path / "credentials" / "veilmatch" / "words", tmp_path / "words"
    given.parent.mkdir(parents=True)
    monkeypatch.setattr(secrets_at_rest, "_CREDENTIALS", tmp_path / "credentials")
    for path in (given, elsewhere):
        private(path, "open sesame")
        path.chmod(0o440)
    assert read_passphrase(f"file:{given}", tmp_path) is not None
    assert "others can read this key" in refusal(lambda: read_passphrase(f"file:{elsewhere}", tmp_path))
    given.chmod(0o444)
    assert "others can read this key" in refusal(lambda: read_passphrase(f"file:{given}", tmp_path))
