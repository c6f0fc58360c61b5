"""What the repository must not hold, and the checks that `make check` rests on: each goes red when it should."""

import re
import shutil
import subprocess
import sys
import tomllib

import pytest
from tree import PACKAGES, ROOT, files, read

BANNED = ("random", "numpy.random", "pickle", "marshal", "shelve")

# In pieces, so that this file holds none of them.
HOSTS = ("py" + "pi.org", "files.python" + "hosted.org", "registry.np" + "mjs.org", "proxy.go" + "lang.org")
PLACES = ("/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/", "/Us" + "ers/", "/tm" + "p/")


def texts():
    for name in files():
        data = (ROOT / name).read_bytes()
        if b"\0" not in data:
            yield name, data.decode("utf-8")


def test_no_registry_is_named():
    for name, text in texts():
        assert not [host for host in HOSTS if host in text], name
        assert "--index-url" not in text or name.startswith("tests/"), name


def test_no_machines_path_is_in_a_file():
    path = re.compile(rf"(?<![\w.\-/])(?:{'|'.join(PLACES)})[\w.-]+/")
    for name, text in texts():
        assert not path.search(text), (name, path.search(text))


def test_no_secret_is_in_a_file():
    begins = re.compile("-----BEGIN [A-Z ]*" + "PRIVATE KEY-----")
    for name, text in texts():
        assert not begins.search(text), name


def test_everything_is_pinned_by_hash():
    requirements = read("requirements.txt")
    pins = re.findall(r"^([a-z0-9][\w.\-\[\]]*)==", requirements, re.MULTILINE | re.IGNORECASE)
    assert len(pins) > 50
    for block in re.split(r"^(?=[a-z0-9])", requirements, flags=re.MULTILINE | re.IGNORECASE)[1:]:
        assert "--hash=sha256:" in block, block.splitlines()[0]
    assert "--require-hashes" in read("tools/setup.sh")


def ruff(name, source):
    """What lint says of a source at that place."""
    command = [
        "-m",
        "ruff",
        "check",
        "--select",
        "TID251",
        "--output-format",
        "concise",
        "--stdin-filename",
        name,
        "-",
    ]
    done = subprocess.run(
        [sys.executable, *command], input=source, cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout


def test_lint_bans_what_is_no_randomness_for_keys_and_no_format_for_peers():
    lint = tomllib.loads(read("pyproject.toml"))["tool"]["ruff"]["lint"]
    assert lint["flake8-tidy-imports"]["banned-api"].keys() >= set(BANNED)
    assert lint["select"] == ["ALL"]
    assert "TID251" not in lint["ignore"]
    lifted = {
        pattern
        for pattern, codes in lint["per-file-ignores"].items()
        if {"TID251", "TID", "ALL"} & set(codes)
    }
    assert lifted == {"tests/**"}


@pytest.mark.parametrize("name", ["node/veilmatch_node/x.py", "benchmarks/bench_x.py"])
def test_lint_goes_red(name):
    source = "".join(f"import {module}\n" for module in BANNED) + "from numpy import random\n"
    said = ruff(name, source)
    assert said.count("TID251") == len(BANNED) + 1
    assert "TID251" not in ruff("tests/test_x.py", source)


def test_no_module_imports_what_is_banned():
    """Beside lint, for an ignore in the wrong place."""
    banned = re.compile(
        rf"^\s*(?:import|from) (?:{'|'.join(map(re.escape, BANNED))})\b|numpy import random", re.MULTILINE
    )
    for package in PACKAGES.values():
        for path in package.rglob("*.py"):
            assert not banned.search(path.read_text(encoding="utf-8")), path


def drift(folder):
    """What `make drift` says in a copy of the tree."""
    command = [sys.executable, ROOT / "tools" / "protos.py", "--check", "proto/gen"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_the_drift_check_notices_a_changed_a_new_and_a_left_over_stub(tmp_path):
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    assert drift(tmp_path) == (0, "")
    protos = tmp_path / "proto" / "veilmatch_wire" / "v1"
    node = protos / "node.proto"
    node.write_text(node.read_text().replace("string text = 2;", "string text = 3;"))
    (protos / "news.proto").write_text('syntax = "proto3";\npackage veilmatch_wire.v1;\nmessage News {}\n')
    (tmp_path / "proto" / "gen" / "veilmatch_wire" / "v1" / "old_pb2.py").touch()
    code, said = drift(tmp_path)
    assert code == 1
    for stub in ("node_pb2.py", "news_pb2.py", "news_pb2.pyi", "news_pb2_grpc.py", "old_pb2.py"):
        assert f"veilmatch_wire/v1/{stub}" in said
    assert "job_pb2" not in said
    assert "run `make protos`" in said
