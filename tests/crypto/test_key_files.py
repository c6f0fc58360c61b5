"""Key files: scrypt as RFC 7914 has it, a format that a second implementation reads, and every way not to open."""

import hashlib
import re

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from veilmatch_crypto import key_files
from veilmatch_crypto.errors import KeyFileError
from veilmatch_crypto.key_files import Passphrase, is_key_file

SECRET = bytes(range(32))
WORDS = "correct horse battery staple"


@pytest.fixture
def cheap(monkeypatch):
    """Parameters that take no time; the file states its own, so reading is the same."""
    monkeypatch.setattr(key_files, "_USUAL", key_files._Cost(16, 1, 1))


# RFC 7914, 12; the first half of the 64 bytes there, which is what 32 bytes are (PBKDF2 works in blocks of 32).
@pytest.mark.parametrize(
    ("passphrase", "salt", "n", "r", "p", "expected"),
    [
        (b"", b"", 16, 1, 1, "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"),
        (
            b"password",
            b"NaCl",
            1024,
            8,
            16,
            "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162",
        ),
        (
            b"pleaseletmein",
            b"SodiumChloride",
            16384,
            8,
            1,
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2",
        ),
    ],
)
def test_scrypt(passphrase, salt, n, r, p, expected):
    assert key_files._derive(passphrase, salt, key_files._Cost(n, r, p)).hex() == expected


def test_the_usual_file_says_what_it_is_and_a_second_implementation_opens_it():
    owner = Passphrase(WORDS)
    text = owner.lock("identity", SECRET)
    head, use, cost, salt, locked = text.splitlines()
    assert head == "veilmatch key file, version 1"
    assert use == "use: identity"
    assert cost == "scrypt: n=131072, r=8, p=1"
    key = hashlib.scrypt(
        WORDS.encode(),
        salt=bytes.fromhex(salt.removeprefix("salt: ")),
        n=2**17,
        r=8,
        p=1,
        maxmem=2**28,
        dklen=32,
    )
    data = bytes.fromhex(locked.removeprefix("locked: "))
    parts = (b"veilmatch/1/store", b"key-file", 1, b"identity", 2**17, 8, 1)
    parts = [part.to_bytes(8, "big") if isinstance(part, int) else part for part in parts]
    place = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    assert AESGCM(key).decrypt(data[:12], data[28:] + data[12:28], place) == SECRET
    assert owner.unlock("identity", text) == SECRET


def test_a_file_of_another_day_opens():
    """Changing the format without a new version would leave members without their keys."""
    text = (
        "veilmatch key file, version 1\nuse: store\nscrypt: n=16, r=1, p=1\n"
        "salt: 9f0ba59d80d0a77aa5d5bbd0a69f8a71\n"
        "locked: 9f0ba59d80d0a77aa5d5bbd0f6991f0252bcf0a5041b25f35428ef046109"
        "92408c5ed1577a3a6ee52b32234995c72d275381a232e50aa9eb6fc50e56\n"
    )
    assert Passphrase(WORDS).unlock("store", text) == SECRET


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("use", ["identity", "sealing", "store", "officer", "root", "tls"])
def test_a_file_opens_for_its_own_use_only(use):
    text = Passphrase(WORDS).lock(use, SECRET)
    assert is_key_file(text)
    assert Passphrase(WORDS).unlock(use, text) == SECRET
    other = "root" if use != "root" else "tls"
    with pytest.raises(KeyFileError, match=rf"another use \({use}, not {other}\)"):
        Passphrase(WORDS).unlock(other, text)
    with pytest.raises(KeyFileError, match="does not open"):
        Passphrase(WORDS).unlock(other, text.replace(f"use: {use}", f"use: {other}"))


@pytest.mark.usefixtures("cheap")
def test_another_passphrase():
    text = Passphrase(WORDS).lock("root", SECRET)
    for other in (WORDS + " ", WORDS.title(), "x" * 30):
        with pytest.raises(KeyFileError, match="does not open: the passphrase is another one, or") as refused:
            Passphrase(other).unlock("root", text)
        assert "\n" not in str(refused.value)
        assert other not in str(refused.value)


@pytest.mark.usefixtures("cheap")
def test_every_changed_lost_or_added_character():
    text = Passphrase(WORDS).lock("tls", SECRET)
    opener = Passphrase(WORDS)
    for at, old in enumerate(text):
        for new in ("", "0" if old != "0" else "1", old + old):
            with pytest.raises(KeyFileError):
                opener.unlock("tls", text[:at] + new + text[at + 1 :])
    for more in ("\n", " ", "x: y\n"):
        with pytest.raises(KeyFileError):
            opener.unlock("tls", text + more)


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(
    "cost",
    [
        "n=8388608, r=1, p=1",  # 2^23
        "n=131072, r=64, p=1",  # 1 GiB
        "n=131072, r=8, p=9",
        "n=2, r=9999, p=9999",
        "n=1, r=8, p=1",
        "n=131071, r=8, p=1",  # no power of two: RFC 7914, 6
        "n=0, r=8, p=1",
        "n=16, r=0, p=1",
        "n=16, r=1, p=-1",
        "n=99999999999, r=8, p=1",
    ],
)
def test_parameters_that_would_take_the_machine(monkeypatch, cost):
    text = Passphrase(WORDS).lock("root", SECRET)
    monkeypatch.setattr(key_files, "_derive", lambda *_: pytest.fail("memory was asked for"))
    with pytest.raises(KeyFileError):
        Passphrase(WORDS).unlock("root", re.sub("n=.*", cost, text))


def test_four_times_the_usual_is_the_most_that_is_read():
    assert key_files._MOST == 4 * 2**17 * 8


@pytest.mark.usefixtures("cheap")
def test_files_of_one_owner_cost_one_derivation(monkeypatch):
    derive, calls = key_files._derive, []
    monkeypatch.setattr(key_files, "_derive", lambda *cost: calls.append(cost) or derive(*cost))
    owner = Passphrase(WORDS)
    texts = [owner.lock("identity", SECRET), owner.lock("sealing", SECRET)]
    assert len(calls) == 1
    assert texts[0].splitlines()[4] != texts[1].splitlines()[4]
    reader = Passphrase(WORDS)
    assert [reader.unlock(use, text) for use, text in zip(("identity", "sealing"), texts, strict=True)]
    assert len(calls) == 2
    assert Passphrase(WORDS).lock("root", SECRET).splitlines()[3] != texts[0].splitlines()[3]  # another salt


@pytest.mark.usefixtures("cheap")
def test_passphrases_in_any_script_and_spelling():
    composed, decomposed = (
        "\u00e9t\u00e9 \u6c11\u653f\u5c40\u5bc6\u7801\u77ed\u8bed",
        "e\u0301te\u0301 \u6c11\u653f\u5c40\u5bc6\u7801\u77ed\u8bed",
    )
    composed, decomposed = composed * 2, decomposed * 2
    assert composed != decomposed
    assert Passphrase(decomposed).unlock("root", Passphrase(composed).lock("root", SECRET)) == SECRET


def test_passphrases_that_are_too_short():
    with pytest.raises(KeyFileError, match="is empty"):
        Passphrase("")
    with pytest.raises(KeyFileError, match="fewer than 12 characters"):
        Passphrase("x" * 11).lock("root", SECRET)


def test_nothing_shows_when_printed():
    shown = f"{Passphrase(WORDS)!r}{Passphrase(WORDS)}"
    assert "horse" not in shown
