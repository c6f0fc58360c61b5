"""set_up.py really run: a federation by the project's own commands, whose configurations compose.yaml can use."""

import contextlib
import importlib.util
import io
import stat
import sys
from pathlib import Path
from unittest import mock

import pytest

from veilmatch import main as command_line
from veilmatch.operator import OperatorConfig
from veilmatch_coordinator.config import CoordinatorConfig
from veilmatch_crypto import key_files
from veilmatch_node.config import NodeConfig
from veilmatch_node.quota import read_quota
from veilmatch_transport import (
    load_settings,
    read_directory,
    read_passphrase,
    read_secret,
    read_tls,
    require_member,
)

SCRIPT = Path(__file__).parents[2] / "deploy" / "set_up.py"
MODELS = {"coordinator": CoordinatorConfig, "operator": OperatorConfig}


def load():
    spec = importlib.util.spec_from_file_location("set_up", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def here(words):
    """A command in this process; starting one takes a second."""
    out = io.StringIO()
    with (
        mock.patch.object(sys, "argv", list(words)),
        mock.patch("signal.signal"),
        contextlib.redirect_stdout(out),
        contextlib.suppress(SystemExit),
    ):
        command_line.main()
    return out.getvalue()


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compose") / "federation"
    folder.mkdir(mode=0o700)
    script = load()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_files, "_USUAL", key_files._Cost(16, 1, 1))  # encrypted as always, in no time
        patch.setattr(script.subprocess, "run", lambda words, **_: mock.Mock(stdout=here(words)))
        patch.setattr(sys, "argv", ["set_up.py", str(folder)])
        script.main()
        with pytest.raises(SystemExit, match="holds a federation already"):
            script.main()
    return script, folder


def member(script, folder, name):
    role = "node" if name in script.DEPARTMENTS else name
    return role, load_settings(folder / name / f"{role}.toml", MODELS.get(role, NodeConfig))


@pytest.mark.parametrize("name", [*load().DEPARTMENTS, "coordinator", "operator"])
def test_every_members_configuration_loads_and_its_keys_open(federation, name):
    script, folder = federation
    role, config = member(script, folder, name)
    assert config.keys.unlock == f"file:{script.PASSPHRASE}"
    words = read_passphrase(f"file:{folder / 'secrets' / name}", folder)
    directory = read_directory(config.federation, oldest=1)
    require_member(directory, name, role, read_tls(config.tls, words))
    read_secret(folder / name / "identity.key", "identity", words)
    if role == "node":
        assert config.data.folder == Path(script.DATA)
        assert read_quota(config.keys.quota, name, directory.officer(name)).rows == script.ROWS
        read_secret(config.keys.store, "store", words)
    if role != "operator":
        assert config.metrics.listen == script.METRICS
        assert config.listen == f"0.0.0.0:{script.PORT}"
        assert directory.member(name).address == f"{name}:{script.PORT}"  # as compose.yaml calls it


def test_the_officers_key_is_not_where_the_node_runs(federation):
    script, folder = federation
    for name in script.DEPARTMENTS:
        own = folder / "officers" / name
        assert not (folder / name / "officer.key").exists()
        assert read_secret(own / "officer.key", "officer", read_passphrase(f"file:{own / 'passphrase'}", own))


def test_nobody_else_reads_it_and_no_two_share_a_passphrase(federation):
    _, folder = federation
    for path in folder.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    words = [path.read_text() for path in [*folder.glob("secrets/*"), *folder.glob("officers/*/passphrase")]]
    assert len(set(words)) == len(words) == 15
