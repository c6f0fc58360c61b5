"""`veilmatch node account`: accounts of the officer's page; and a node that has the section but not its libraries."""

import io
import sys

import pytest
from command_line import run_here

from veilmatch_node.config import ConsoleSettings
from veilmatch_node.console.accounts import Accounts, Hashing
from veilmatch_node.serve import _officers_page
from veilmatch_transport import SettingsError

PASSWORD = "a password of twelve and more"
CONFIG = """\
name = "tax"
listen = "127.0.0.1:7443"
store = "tax.sqlite"
log = "tax.jsonl"
reports = "reports"
results = "results"
federation = {{directory = "federation.toml", root = "{root}"}}
tls = {{root = "root.pem", certificate = "tax.pem", key = "tax.key"}}
keys = {{identity = "identity.key", sealing = "sealing.key", store = "store.key"}}
data = {{folder = "tax"}}
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(Accounts.__init__, "__defaults__", (Hashing(n=2),))  # no test waits for scrypt
    path = tmp_path / "node.toml"
    path.write_text(
        CONFIG.format(root="00" * 32) + '[console]\nlisten = "127.0.0.1:8443"\naccounts = "accounts.toml"\n'
    )
    return path


def test_add_list_and_remove(config, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n"))
    assert run_here(capsys, "node", "account", "add", "li", "--config", config).code == 0
    password = tmp_path / "password"
    password.write_text(f"{PASSWORD}\r\n")
    arguments = ("--config", config, "--role", "reader", "--password-file", password)
    assert run_here(capsys, "node", "account", "add", "wang", *arguments).code == 0
    accounts = Accounts(tmp_path / "accounts.toml")
    assert {name: accounts.check(name, PASSWORD).role for name in accounts.read()} == {
        "li": "officer",
        "wang": "reader",
    }
    assert (
        run_here(capsys, "node", "account", "list", "--config", config).out == "li: officer\nwang: reader\n"
    )
    assert run_here(capsys, "node", "account", "remove", "wang", "--config", config).code == 0
    assert run_here(capsys, "node", "account", "list", "--config", config).out == "li: officer\n"


def test_what_is_refused(config, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    ended = run_here(capsys, "node", "account", "add", "li", "--config", config)
    assert (ended.code, ended.line()) == (
        2,
        "account li: the password has 5 characters; give one of 12 to 1000",
    )
    ended = run_here(capsys, "node", "account", "remove", "li", "--config", config)
    assert (ended.code, "there is none of this name" in ended.line()) == (2, True)
    config.write_text(CONFIG.format(root="00" * 32))
    ended = run_here(capsys, "node", "account", "list", "--config", config)
    assert (ended.code, "has no section [console]" in ended.line()) == (2, True)


def test_a_password_is_never_an_argument(config, capsys):
    ended = run_here(capsys, "node", "account", "add", "li", PASSWORD, "--config", config)
    assert ended.code == 2
    ended = run_here(capsys, "node", "account", "add", "li", "--password", PASSWORD, "--config", config)
    assert ended.code == 2


def test_without_the_extra_the_node_says_what_to_install(monkeypatch, tmp_path):
    settings = ConsoleSettings(listen="127.0.0.1:0", accounts=tmp_path / "accounts.toml")
    monkeypatch.delitem(sys.modules, "veilmatch_node.console.server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SettingsError, match=r"install veilmatch with the extra console") as refused:
        _officers_page(settings, None)
    assert str(refused.value).startswith("[console] needs uvicorn")
