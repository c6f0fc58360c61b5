"""The Dockerfile: built by hash in a stage of its own; what runs has no privileges, no installer and needs no shell."""

import json
import re
import shlex
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def instructions():
    """Every instruction as (word, rest), lines put together, comments left out; one list a stage."""
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    stages = [[]]
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, " ".join(rest.split())))
    return stages


HEAD, BUILD, FINAL = instructions()


def all_of(stage, word):
    return [rest for each, rest in stage if each == word]


def test_the_base_is_a_tag_of_a_python_that_we_support_and_can_be_a_digest():
    [base] = all_of(HEAD, "ARG")
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.1[123]-slim-bookworm", base)
    assert [all_of(stage, "FROM") for stage in (BUILD, FINAL)] == [
        ["${PYTHON_IMAGE} AS build"],
        ["${PYTHON_IMAGE}"],
    ]


def test_what_is_fetched_is_fetched_by_hash():
    ran = " ".join(all_of(BUILD, "RUN") + all_of(FINAL, "RUN"))
    assert not re.search(r"curl|wget|\| *(ba)?sh|https?:|apt|git ", ran)
    fetching = [command for command in ran.split("&&") if re.search(r"pip.* (download|install)", command)]
    assert len(fetching) == 3
    for command in fetching:
        words = set(shlex.split(command))
        assert {"--require-hashes", "--only-binary=:all:"} <= words or {"--no-index", "--find-links"} <= words
    assert not {"ADD"} & {word for word, _ in BUILD + FINAL}


def test_extras_are_the_projects():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [extras] = [rest for rest in all_of(BUILD, "ARG") if rest.startswith("EXTRAS")]
    assert set(extras.removeprefix("EXTRAS=").split(",")) == project["optional-dependencies"].keys()
    assert f"VERSION={project['version']}" in all_of(FINAL, "ARG")


def test_what_is_copied_is_there_and_not_ignored():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert all((ROOT / name).exists() for name in allowed)
    hatch = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    needed = [
        *hatch["targets"]["wheel"]["packages"],
        *hatch["targets"]["wheel"]["force-include"],
        "pyproject.toml",
    ]
    for name in needed:
        assert any(Path(name).is_relative_to(each) for each in allowed), name
    assert all_of(FINAL, "COPY") == ["--from=build /opt/veilmatch /opt/veilmatch"]


def test_it_runs_as_nobody_else_and_without_a_shell():
    assert all_of(FINAL, "USER") == ["10001:10001"]
    last_run = max(n for n, (word, _) in enumerate(FINAL) if word == "RUN")
    assert ("USER", "10001:10001") in FINAL[last_run:]
    for word in ("ENTRYPOINT", "CMD"):
        [line] = all_of(FINAL, word)
        assert json.loads(line)  # exec form: signals reach the service
    [health] = all_of(FINAL, "HEALTHCHECK")
    assert json.loads(health[health.index("[") :])[0] == "python"
    assert all_of(FINAL, "STOPSIGNAL") == ["SIGTERM"]
    assert "pip uninstall" in all_of(FINAL, "RUN")[0]
    assert not re.search(r"(?i)passphrase|password|secret|token", "\n".join(map(str, FINAL)))


def test_it_says_what_it_is():
    [labels] = all_of(FINAL, "LABEL")
    said = dict(each.split("=", 1) for each in shlex.split(labels))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert said["org.opencontainers.image.licenses"] == project["license"]
    assert said["org.opencontainers.image.description"] == project["description"]
    assert {f"org.opencontainers.image.{each}" for each in ("title", "version", "revision")} <= said.keys()
