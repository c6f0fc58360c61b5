"""Documents and code say the same: commands, options, settings, exit codes, layout, links, names of tests."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import typer
from pydantic import BaseModel
from tree import PACKAGES, ROOT, documents, files, read

from veilmatch.main import command_line
from veilmatch.operator import OperatorConfig
from veilmatch_coordinator.config import CoordinatorConfig
from veilmatch_node.config import NodeConfig

# Commands.


def commands(group=None, words=()):
    """Every command of the command line by its words: its options and how many arguments it takes."""
    group = group or typer.main.get_command(command_line())
    found = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= commands(command, (*words, name))
        else:
            options = {
                option for parameter in command.params for option in parameter.opts if option[:2] == "--"
            }
            arguments = [p for p in command.params if p.param_type_name == "argument"]
            found[(*words, name)] = (options | {"--help"}, arguments)
    return found


COMMANDS = commands()


def calls(text: str) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Every call of `veilmatch` that stands as code in a document: its words, then all that follows."""
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL):
        code += block.splitlines()
    for line in code:
        found = re.match(r"(?:\.venv/bin/)?veilmatch((?: .*)?)$", line.strip())
        if found and (parts := found[1].split()):
            words = next(
                (tuple(parts[:n]) for n in (3, 2, 1) if tuple(parts[:n]) in COMMANDS), tuple(parts[:2])
            )
            yield words, parts[len(words) :]


def test_every_call_in_a_document_is_one():
    seen = set()
    for name in documents():
        for words, rest in calls(read(name)):
            assert words in COMMANDS, f"{name}: veilmatch {' '.join(words)}"
            options = {part.strip("[]") for part in rest if part.strip("[]").startswith("--")}
            assert options <= COMMANDS[words][0], f"{name}: {words} {options - COMMANDS[words][0]}"
            seen.add(words)
    assert seen == COMMANDS.keys()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_is_documented_and_says_what_it_does(words):
    options, arguments = COMMANDS[words]
    text = "\n".join(read(name) for name in documents() if name.startswith(("README", "docs/")))
    for option in options - {"--help"}:
        assert option in text, f"{' '.join(words)} {option}"
    group = typer.main.get_command(command_line())
    for word in words:
        group = group.commands[word]
    assert group.help
    for parameter in [p for p in group.params if "--help" not in p.opts]:
        assert parameter.help, parameter.name
    assert len(arguments) <= 1


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/exit-codes.md"])
def test_every_make_target_that_a_document_names_exists(name):
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    for target in re.findall(r"(?:`|^    )make ([a-z]+)", read(name), re.MULTILINE):
        assert target in targets


# Settings.


def settings(model: type[BaseModel], before: str = "") -> dict[str, bool]:
    """Every setting of a configuration file, and whether it must be there."""
    found = {}
    for name, field in model.model_fields.items():
        # A section, or one that may be absent.
        sections = [
            each
            for each in (field.annotation, *get_args(field.annotation))
            if isinstance(each, type) and issubclass(each, BaseModel)
        ]
        if sections:
            found |= settings(sections[0], f"{before}{name}.")
        else:
            found[before + name] = field.is_required()
    return found


@pytest.mark.parametrize(
    ("heading", "model"),
    [("A node", NodeConfig), ("The coordinator", CoordinatorConfig), ("The operator", OperatorConfig)],
)
def test_every_setting_is_documented(heading, model):
    text = read("docs/configuration.md")
    section = re.search(rf"^## {heading}\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)[1]
    rows = dict(re.findall(r"^\| `([\w.]+)` \| ([^|]*) \|", section, re.MULTILINE))
    # What all have may be described once, for the node.
    others = (
        dict(re.findall(r"^\| `([\w.]+)` \| ([^|]*) \|", text, re.MULTILINE))
        if model is not NodeConfig
        else {}
    )
    have = settings(model)
    assert have.keys() <= rows.keys() | others.keys()
    assert rows.keys() <= have.keys()
    for name, said in rows.items():
        assert have[name] == (said.strip() == "yes"), f"{name}: required?"


# Exit codes.


def test_every_exit_code_is_documented():
    text = read("docs/exit-codes.md")
    sections = {int(code) for code in re.findall(r"^## (\d+):", text, re.MULTILINE)}
    tabled = {int(code) for code in re.findall(r"^\| \[(\d+)\]", text, re.MULTILINE)}
    used = {0}
    for package in PACKAGES.values():
        for path in package.rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            for pattern in (r"exit_code(?:: int)? = (\d+)\b", r"_refuse\(.*, (\d+)\)$"):
                used |= {int(code) for code in re.findall(pattern, source, re.MULTILINE)}
    assert {0, 1, 2, 3, 4, 5} <= used
    assert used <= sections
    assert sections == tabled


# Layout.


def test_the_layout_names_every_folder_at_the_top():
    text = read("REPO_LAYOUT.md")
    head = text[: text.index("\n## ")]
    named = {name.split("/")[0] for name in re.findall(r"^\| `([\w./]+)/`", head, re.MULTILINE)}
    assert named == {name.split("/")[0] for name in files() if "/" in name}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_layout_names_every_module(package):
    folder = PACKAGES[package]
    text = read("REPO_LAYOUT.md")
    heading = f"{folder.relative_to(ROOT)}"
    section = re.search(rf"^## {heading}\n(.*?)(?:^## |\Z)", text, re.DOTALL | re.MULTILINE)[1]
    named = re.findall(r"`(\w+\.py)`", "\n".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)))
    modules = {path.name for path in folder.glob("*.py")}
    assert len(named) == len(set(named))
    assert set(named) <= modules
    assert modules - set(named) <= {"errors.py", "__init__.py"}  # the document says so


def test_the_layout_names_every_folder_of_tests_and_every_document():
    text = read("REPO_LAYOUT.md")
    for top, pattern in (("tests", r"`(\w+)/`"), ("docs", r"`([\w-]+(?:\.md|/))`")):
        section = re.search(rf"^## {top}\n(.*?)(?:^## |\Z)", text, re.DOTALL | re.MULTILINE)[1]
        named = {name.strip("/") for name in re.findall(pattern, section)}
        below = {name.split("/")[1] for name in files() if name.startswith(f"{top}/")}
        here = {each for each in below if top == "docs" or (ROOT / top / each).is_dir()}
        assert here <= named
        assert named <= below | {name for package in PACKAGES.values() for name in (package.parent.name,)}


# References.


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    words = re.sub(r"`|\*|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


@pytest.mark.parametrize("name", documents())
def test_every_link_leads_somewhere(name):
    text = re.sub(r"```.*?```", "", read(name), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (ROOT / name).parent / path if path else ROOT / name
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, target


def test_every_test_that_a_document_names_exists():
    have = {Path(name).name: name for name in files() if Path(name).name.startswith(("test_", "bench_"))}
    for name in documents():
        for folder, test in re.findall(r"`(?:tests/)?(\w+/)?((?:test|bench)_\w+\.py)", read(name)):
            assert test in have, f"{name}: {test}"
            assert folder in have[test], f"{name}: {folder}{test}"


def functions(test: str) -> set[str]:
    """The tests that a file holds."""
    return set(re.findall(r"^ *def (\w+)\(", read(test), re.MULTILINE))


def test_every_function_that_a_document_names_is_in_its_file():
    have = {Path(test).name: test for test in files() if Path(test).name.startswith("test_")}
    seen = 0
    for name in documents():
        test = ""  # `::name` alone is of the file that was named before
        for file, function in re.findall(r"`(?:[\w/]*/)?(test_\w+\.py)?(?:::(test_\w+))?`", read(name)):
            test = file or test
            if function:
                assert function in functions(have[test]), f"{name}: {test}::{function}"
                seen += 1
    assert seen > 100
