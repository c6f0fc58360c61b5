"""compose.yaml: every service is confined, networks are a star around the coordinator, commands and files exist."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from veilmatch.main import command_line

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
DEPARTMENTS = {path.name for path in (DEPLOY.parent / "examples" / "eusilc" / "departments").iterdir()}
LASTING = {*DEPARTMENTS, "coordinator"}

each = pytest.mark.parametrize("name", SERVICES)
each_lasting = pytest.mark.parametrize("name", sorted(LASTING))


def test_the_image_is_of_this_release():
    version = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["version"]
    assert {service["image"] for service in SERVICES.values()} == {f"veilmatch:{version}"}


def test_the_six_departments_of_the_example_are_there():
    assert SERVICES.keys() == {*LASTING, "operator", "set-up"}
    assert {name for name, service in SERVICES.items() if "profiles" not in service} == LASTING


@each
def test_it_is_confined(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == "10001:10001"
    assert service["ulimits"]["core"] == 0
    assert {"pids_limit", "mem_limit"} <= service.keys()
    assert all(
        {"noexec", "nosuid", "nodev"} <= set(mount.partition(":")[2].split(",")) for mount in service["tmpfs"]
    )
    assert (
        not {"privileged", "cap_add", "devices", "pid", "ipc", "ports", "environment", "env_file"}
        & service.keys()
    )


@each_lasting
def test_it_is_a_service_that_lasts(name):
    service = SERVICES[name]
    role = "coordinator" if name == "coordinator" else "node"
    assert service["command"] == [role, "serve", "--config", f"/var/lib/veilmatch/{role}.toml"]
    assert "serve" in get_command(command_line()).commands[role].commands
    assert service["restart"] == "on-failure"
    assert int(service["stop_grace_period"].removesuffix("s")) > 8  # what a service takes at most
    assert service["healthcheck"]["test"][:2] == ["CMD", "python"]  # no shell


def test_the_health_check_is_the_images_and_asks_where_services_answer():
    test = SERVICES["tax"]["healthcheck"]["test"]
    image = (DEPLOY / "Dockerfile").read_text()
    asked = re.search(r'HEALTHCHECK .*?CMD \["python", "-c", "(.*?)"\]', image, re.DOTALL)[1]
    assert test[2:] == ["-c", asked]
    listen = re.search(r'^METRICS = "(.*)"', (DEPLOY / "set_up.py").read_text(), re.MULTILINE)[1]
    assert f"http://{listen}/health" in asked


def test_networks_are_a_star_and_lead_nowhere_else():
    members = {
        network: {n for n in SERVICES if network in SERVICES[n].get("networks", ())}
        for network in COMPOSE["networks"]
    }
    assert members == {
        **{name: {name, "coordinator"} for name in DEPARTMENTS},
        "office": {"operator", "coordinator"},
    }
    assert all(network == {"internal": True} for network in COMPOSE["networks"].values())
    assert SERVICES["set-up"]["network_mode"] == "none"


@each
def test_it_sees_its_own_folder_only(name):
    mounts = {mount["target"]: mount for mount in SERVICES[name]["volumes"]}
    for mount in mounts.values():
        source = (DEPLOY / mount["source"]).resolve()
        written = source.is_relative_to(DEPLOY / "federation")
        assert source.exists() or written
        # A folder that is missing is not made, by root; what the repository has is not written.
        assert mount.get("bind") == ({"create_host_path": False} if written else None)
        assert mount.get("read_only", False) is not written
    if name != "set-up":
        assert mounts["/var/lib/veilmatch"]["source"] == f"./federation/{name}"
        assert SERVICES[name]["secrets"] == [{"source": name, "target": "passphrase"}]
        assert COMPOSE["secrets"][name] == {"file": f"./federation/secrets/{name}"}
    if name in DEPARTMENTS:
        assert mounts["/srv/data"]["source"] == f"../examples/eusilc/departments/{name}"


def test_what_is_made_there_never_gets_into_the_repository_or_an_image():
    assert "/deploy/federation/" in (DEPLOY.parent / ".gitignore").read_text().splitlines()
    ignored = (DEPLOY.parent / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert not [
        line for line in ignored if line.startswith("!deploy") and not line.endswith("requirements.txt")
    ]
