"""systemd units: they start what exists, are confined, and nothing that they forbid is needed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from confined import EX_UNAVAILABLE, allowed, settings

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
EXPOSURE = 1.1  # of 10; RootImage, PrivateNetwork and addresses are the machine's owner's

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here"
)


def analyze(*words):
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)


def test_each_role_has_one():
    assert [unit.name for unit in UNITS] == ["veilmatch-coordinator.service", "veilmatch-node.service"]


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_it_is_a_unit(unit, tmp_path):
    # Not installed here; the rest of the line is in test_it_runs_a_service.
    text = unit.read_text().replace("ExecStart=/opt/veilmatch/bin/veilmatch", f"ExecStart={sys.executable}")
    (tmp_path / unit.name).write_text(text)
    done = analyze("verify", "--man=no", tmp_path / unit.name)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_it_is_confined(unit):
    threshold = round(EXPOSURE * 10)
    done = analyze("security", "--offline=true", f"--threshold={threshold}", "--no-pager", unit)
    assert done.returncode == 0, done.stdout.splitlines()[-1]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_it_runs_a_service_as_nobody_else_with_its_passphrase_as_a_credential(unit):
    role = unit.stem.removeprefix("veilmatch-")
    home = f"/var/lib/veilmatch/{role}"
    assert settings(unit, "ExecStart") == [
        f"/opt/veilmatch/bin/veilmatch {role} serve --config {home}/{role}.toml"
    ]
    assert settings(unit, "StateDirectory") == [f"veilmatch/{role}"]
    assert settings(unit, "WorkingDirectory") == [home]
    assert settings(unit, "ExecReload") == ["kill -HUP $MAINPID"]
    assert settings(unit, "Restart") == ["on-failure"]
    assert settings(unit, "User") == ["veilmatch"]
    assert settings(unit, "LoadCredential") == [f"passphrase:/etc/veilmatch/{role}.passphrase"]
    assert f"file:/run/credentials/{unit.name}/passphrase" in unit.read_text()
    assert "Environment" not in unit.read_text()  # others would read it there
    user = (ROOT / "deploy" / "systemd" / "veilmatch.sysusers").read_text()
    assert "\nu veilmatch " in user


def confined(unit, *words):
    done = subprocess.run(
        [sys.executable, HERE / "confined.py", unit, *words], capture_output=True, text=True, check=False
    )
    if done.returncode == EX_UNAVAILABLE:
        pytest.skip("this kernel has no PR_SET_MDWE or no seccomp")
    return done


@needs_systemd
def test_both_forbid_the_same():
    assert len({frozenset(allowed(unit)) for unit in UNITS}) == 1
    for name in ("ptrace", "mount", "bpf", "setuid", "chroot", "reboot", "perf_event_open", "init_module"):
        assert name not in allowed(UNITS[0])


@pytest.mark.campaign
@needs_systemd
def test_our_libraries_work_under_what_it_forbids():
    done = confined(UNITS[0], sys.executable, HERE / "working.py")
    assert (done.returncode, done.stdout, done.stderr) == (0, "worked\n", "")


@needs_systemd
@pytest.mark.campaign
def test_a_whole_federation_works_under_what_it_forbids(tmp_path):
    example = ROOT / "examples" / "eusilc"
    run = ["local", "run", example / "policies" / "under-poverty-line.yaml", "--key-bits", "2048"]
    where = ["--departments", example / "departments", "--out", tmp_path / "out", "--workers", "2"]
    done = confined(UNITS[0], sys.executable, "-m", "veilmatch", *map(str, [*run, *where]))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "under-poverty-line" / "eligible.csv").exists()
