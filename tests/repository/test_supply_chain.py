"""What is deployed is what is locked: hashes of everything, the packages that are asked for, wheels that repeat."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from itertools import chain

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tree import ROOT, files, read

sys.path.insert(0, str(ROOT / "tools"))
from pins import EVERYTHING, RUNTIME, for_target, read_pins

PROJECT = tomllib.loads(read("pyproject.toml"))
BUILD = ROOT / "deploy" / "build-requirements.txt"
LOCKS = {"everything": ROOT / EVERYTHING, "runtime": ROOT / RUNTIME, "build": BUILD}
DEPLOYED = [
    *PROJECT["project"]["dependencies"],
    *chain(*PROJECT["project"]["optional-dependencies"].values()),
]
ASKED = {
    "everything": [*DEPLOYED, *PROJECT["dependency-groups"]["dev"]],
    "runtime": DEPLOYED,
    "build": PROJECT["build-system"]["requires"],
}

each_lock = pytest.mark.parametrize("lock", LOCKS)


def installed(pins):
    """The pins that this Python on this machine has."""
    return {
        pin.name: pin for pin in for_target(pins, f"{sys.version_info[0]}.{sys.version_info[1]}", "x86_64")
    }


@each_lock
def test_it_has_everything_that_is_asked_for_in_a_version_that_is(lock):
    pins = read_pins(LOCKS[lock])  # raises for what is not pinned by hash
    for asked in map(Requirement, ASKED[lock]):
        found = [pin for pin in pins if pin.name == canonicalize_name(asked.name)]
        assert found, f"{asked.name}: run `make lock`"
        assert all(asked.specifier.contains(pin.version) for pin in found), f"{asked}: run `make lock`"


@each_lock
def test_it_has_that_and_what_that_needs_and_nothing_else(lock):
    """As the installed packages' metadata says: `make lock` needs a network, this does not."""
    pins = installed(read_pins(LOCKS[lock]))
    reached, left = set(), [Requirement(asked) for asked in ASKED[lock]]
    seen = set()
    while left:
        asked = left.pop()
        name = canonicalize_name(asked.name)
        if (name, *sorted(asked.extras)) in seen:
            continue
        seen.add((name, *sorted(asked.extras)))
        assert name in pins, f"{name} is needed: run `make lock`"
        reached.add(name)
        try:
            needs = map(Requirement, requires(name) or ())
        except PackageNotFoundError:
            pytest.fail(f"{name} is not installed: run `make setup`")
        left += [
            need
            for need in needs
            if need.marker is None
            or any(need.marker.evaluate({"extra": extra}) for extra in ("", *asked.extras))
        ]
    assert reached == pins.keys()


@pytest.mark.parametrize("lock", ["runtime", "build"])
def test_what_is_deployed_is_what_everybody_tests_with(lock):
    tested = {(pin.name, pin.version): pin.hashes for pin in read_pins(LOCKS["everything"])}
    for pin in read_pins(LOCKS[lock]):
        assert tested[pin.name, pin.version] == pin.hashes, pin.name


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        ("no hash", "click==8.1.0\n"),
        ("no version", "click>=8 \\\n    --hash=sha256:" + "0" * 64 + "\n"),
        ("another hash", "click==8.1.0 \\\n    --hash=md5:" + "0" * 32 + "\n"),
        ("a short hash", "click==8.1.0 \\\n    --hash=sha256:" + "0" * 63 + "\n"),
        ("a hash that is none", "click==8.1.0 \\\n    --hash=sha256:" + "0" * 64 + " \\\n    --pre\n"),
    ],
)
def test_a_lock_with_a_hole_is_refused(tmp_path, broken, line):
    path = tmp_path / "requirements.txt"
    path.write_text("# made by hand\n" + line)
    with pytest.raises(ValueError, match="click: is not pinned"):
        read_pins(path)


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_target_gets_every_package_once_and_none_of_another_systems(python, machine):
    names = [pin.name for pin in for_target(read_pins(LOCKS["runtime"]), python, machine)]
    assert len(set(names)) == len(names)
    assert {"numpy", "gmpy2", "duckdb"} <= set(names)
    assert "colorama" not in names  # Windows


# The wheel.


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """What a wheel is made of, as it is now."""
    folder = tmp_path_factory.mktemp("sources")
    for name in files():
        if not name.startswith(("tests/", "docs/", "benchmarks/", ".")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def build(folder, *, time, mode):
    """Build a wheel in a folder whose files have this time and mode; its SHA-256."""
    for path in folder.rglob("*"):
        path.chmod(mode | 0o700 if path.is_dir() else mode)
        os.utime(path, (time, time))
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", "dist"],
        cwd=folder,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [wheel] = (folder / "dist").iterdir()
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def test_a_wheel_built_twice_is_the_same_bytes(sources, tmp_path):
    """Elsewhere, years later, by somebody whose files are for the owner alone."""
    other = shutil.copytree(sources, tmp_path / "elsewhere")
    first = build(sources, time=1_600_000_000, mode=0o644)
    assert build(other, time=1_800_000_000, mode=0o600) == first


def test_a_release_is_built_with_its_commits_time():
    makefile = read("Makefile")
    assert "SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct)" in makefile
    for target in ("wheel", "sbom"):
        assert re.search(rf"^{target}: .*\n\t@\$\(EPOCH\) ", makefile, re.MULTILINE)


# The bundle.


def test_the_bundle_installs_by_hash_without_an_index():
    text = read("deploy/install.sh")
    subprocess.run(["sh", "-n", ROOT / "deploy" / "install.sh"], check=True)
    install = text[text.index("-m pip") :]
    for option in ("--isolated", "--no-index", "--require-hashes", "--find-links"):
        assert option in install
    assert text.index("sha256sum --check") < text.index("-m venv")


def refused(folder, *words, **environment):
    done = subprocess.run(
        ["sh", folder / "install.sh", *words],
        env={**os.environ, "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


def test_the_bundle_refuses_what_cannot_be_right(tmp_path):
    folder, target = tmp_path / "bundle", tmp_path / "target"
    folder.mkdir()
    shutil.copy(ROOT / "deploy" / "install.sh", folder)
    (folder / "machine").write_text("pdp11\n")
    assert "this bundle is for pdp11" in refused(folder, target)
    (folder / "machine").write_text(os.uname().machine + "\n")
    assert "is not Python 3.11" in refused(folder, target, PYTHON="false")
    (folder / "requirements.txt").write_text("changed\n")
    (folder / "SHA256SUMS").write_text("0" * 64 + "  requirements.txt\n")
    assert "not what it was" in refused(folder, target)
    assert not target.exists()
    target.mkdir()
    assert "is there already" in refused(folder, target)
