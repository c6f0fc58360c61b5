"""Accounts, sessions and attempts of the officer's page, its settings, and what a node without it loads."""

import subprocess
import sys

import pytest
from console_world import CHEAP, PASSWORD
from pydantic import ValidationError

from veilmatch_node.config import ConsoleSettings
from veilmatch_node.console.accounts import Accounts, Hashing
from veilmatch_node.console.sessions import IDLE_SECONDS, LONGEST_SECONDS, Attempts, Sessions
from veilmatch_transport import SettingsError


@pytest.fixture
def accounts(tmp_path):
    return Accounts(tmp_path / "accounts.toml", CHEAP)


def test_an_account_opens_with_its_password_only(accounts, tmp_path):
    accounts.add("li", PASSWORD, "officer")
    accounts.add("wang", PASSWORD, "reader")
    assert accounts.check("li", PASSWORD).role == "officer"
    assert accounts.check("wang", PASSWORD).role == "reader"
    assert accounts.check("li", f"{PASSWORD}.") is None
    assert accounts.check("zhao", PASSWORD) is None
    text = (tmp_path / "accounts.toml").read_text()
    assert PASSWORD not in text
    assert (tmp_path / "accounts.toml").stat().st_mode & 0o777 == 0o600
    # Two people with one password have different hashes.
    stored = accounts.read()
    assert stored["li"].hash != stored["wang"].hash


def test_a_password_in_any_normal_form(accounts):
    accounts.add("li", "pässword of twelve", "officer")
    assert accounts.check("li", "pa\N{COMBINING DIAERESIS}ssword of twelve")


def test_an_account_is_changed_and_removed(accounts):
    accounts.add("li", PASSWORD, "officer")
    accounts.add("li", "another password", "reader")
    assert accounts.check("li", PASSWORD) is None
    assert accounts.check("li", "another password").role == "reader"
    accounts.remove("li")
    assert accounts.check("li", "another password") is None
    with pytest.raises(SettingsError, match="there is none of this name; there are: none"):
        accounts.remove("li")


@pytest.mark.parametrize("name", ["", "a b", "-li", "a" * 65, "li\n", "李"])
def test_a_name_that_is_none(accounts, name):
    with pytest.raises(SettingsError, match="is no name"):
        accounts.add(name, PASSWORD, "officer")


@pytest.mark.parametrize("password", ["", "a" * 11, "a" * 1001])
def test_a_password_that_is_too_short_or_long(accounts, password):
    with pytest.raises(SettingsError, match="the password has") as refused:
        accounts.add("li", password, "officer")
    assert not password or password not in str(refused.value)


def test_a_file_that_others_can_read_or_that_is_none(accounts, tmp_path):
    accounts.add("li", PASSWORD, "officer")
    path = tmp_path / "accounts.toml"
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="others can read"):
        accounts.check("li", PASSWORD)
    path.chmod(0o600)
    for text in ("accounts = 1", "[", '[accounts.li]\nrole = "root"\n', "\N{NULL}"):
        path.write_text(text)
        with pytest.raises(SettingsError, match="is not a file of accounts"):
            accounts.read()


def test_the_usual_cost_is_owasps():
    assert Hashing() == Hashing(n=2**17, r=8, p=1)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def test_a_session_ends_when_it_is_idle_or_old(accounts):
    accounts.add("li", PASSWORD, "officer")
    clock = Clock()
    sessions = Sessions(clock)
    token = sessions.open("li", accounts.read()["li"])
    assert sessions.find(token, touch=True).name == "li"
    clock.now += IDLE_SECONDS
    assert sessions.find(token, touch=False)  # looked at, not used: the time goes on
    clock.now += 1
    assert sessions.find(token, touch=True) is None
    token = sessions.open("li", accounts.read()["li"])
    began = clock.now
    while clock.now + IDLE_SECONDS <= began + LONGEST_SECONDS:
        clock.now += IDLE_SECONDS
        assert sessions.find(token, touch=True)
    clock.now += 1 + LONGEST_SECONDS % IDLE_SECONDS
    assert sessions.find(token, touch=True) is None


def test_tokens_are_long_and_not_kept(accounts):
    accounts.add("li", PASSWORD, "officer")
    sessions = Sessions()
    tokens = {sessions.open("li", accounts.read()["li"]) for _ in range(100)}
    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 43  # 32 bytes
    assert not any(token in repr(vars(sessions)) for token in tokens)
    assert sessions.find("another", touch=True) is None
    # Form tokens go with their cookie, and with this service's start.
    first, second = list(tokens)[:2]
    assert sessions.form_token(first) == sessions.form_token(first) != sessions.form_token(second)
    assert Sessions().form_token(first) != sessions.form_token(first)


def test_the_number_of_sessions_is_bounded(accounts):
    accounts.add("li", PASSWORD, "officer")
    account, sessions = accounts.read()["li"], Sessions()
    first = sessions.open("li", account)
    tokens = [sessions.open("li", account) for _ in range(1000)]
    assert sessions.find(first, touch=True) is None
    assert sessions.find(tokens[0], touch=True)


def test_attempts_are_counted_before_they_succeed_and_forgotten_in_time():
    clock = Clock()
    attempts = Attempts(60, clock)
    limits = {("li",): 3, ("address",): 5}
    assert [attempts.begin(limits) for _ in range(4)] == [True, True, True, False]
    assert attempts.begin({("address",): 4})  # the one that was refused counts nowhere
    # Who succeeds has a name's attempts forgotten, and of the address's its own.
    attempts.succeeded(("li",), ("address",), ("of another window",))
    assert [attempts.begin(limits) for _ in range(3)] == [True, True, False]
    assert not attempts.begin({("address",): 5})
    clock.now += 61
    assert attempts.begin({("address",): 1})
    assert attempts.begin({("li",): 1})


def settings(**stated):
    return ConsoleSettings(**{"listen": "127.0.0.1:8443", "accounts": "accounts.toml", **stated})


def test_without_https_the_page_is_for_this_machine_only():
    for listen in ("127.0.0.1:1", "localhost:1", "[::1]:1"):
        assert settings(listen=listen).key is None
    for listen in ("0.0.0.0:1", "10.0.0.1:1", "[::]:1", "tax.example:1"):
        with pytest.raises(ValidationError, match="without certificate and key"):
            settings(listen=listen)
        assert settings(listen=listen, certificate="c.pem", key="k.pem", hosts=["page.example"])
    with pytest.raises(ValidationError, match="go together"):
        settings(certificate="c.pem")
    for listen in ("8443", "127.0.0.1", "::1:8443", "a b:1"):
        with pytest.raises(ValidationError):
            settings(listen=listen)
    assert settings(listen="[::1]:8443").address == ("::1", 8443)


def test_the_names_of_the_page():
    loopback = {"localhost", "127.0.0.1", "[::1]"}
    for listen in ("127.0.0.1:1", "localhost:1", "[::1]:1"):
        assert settings(listen=listen).names == loopback
    assert settings(hosts=["Page.example", "[FE80:0::1]"]).names == {*loopback, "page.example", "[fe80::1]"}
    https = {"certificate": "c.pem", "key": "k.pem"}
    assert settings(listen="Tax.example:1", **https).names == {"tax.example"}
    assert settings(listen="10.0.0.1:1", hosts=["tax.example"], **https).names == {"10.0.0.1", "tax.example"}
    # No browser calls a page by the address that stands for all.
    for listen in ("0.0.0.0:1", "[::]:1", "[0::0]:1"):
        assert settings(listen=listen, hosts=["tax.example"], **https).names == {"tax.example"}
        with pytest.raises(ValidationError, match="say in hosts how"):
            settings(listen=listen, **https)
    for host in ("", "*", "*.example", "tax.example:1", "https://tax.example", "税.example", "[:::]"):
        with pytest.raises(ValidationError):
            settings(hosts=[host])


def test_a_node_without_the_page_loads_none_of_its_libraries():
    code = (
        "import sys, veilmatch_node.serve, veilmatch_node.console.accounts; "
        "print({'starlette', 'jinja2', 'uvicorn'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
