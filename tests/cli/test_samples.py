"""The sample configurations load, name every setting, and say of each whether it is required and its default."""

import re
import tomllib
import types
from typing import get_args

import pytest
from pydantic import BaseModel, TypeAdapter

from veilmatch.membership.samples import fill, sample
from veilmatch.operator import OperatorConfig
from veilmatch_coordinator.config import CoordinatorConfig
from veilmatch_node.config import NodeConfig
from veilmatch_transport import load_settings

MODELS = {"node": NodeConfig, "coordinator": CoordinatorConfig, "operator": OperatorConfig}


def fields(model, before=""):
    """Every setting of a configuration file by its name, tables resolved, also those that may be absent."""
    found = {}
    for name, field in model.model_fields.items():
        kinds = get_args(field.annotation) if isinstance(field.annotation, types.UnionType) else ()
        inner = next((kind for kind in (field.annotation, *kinds) if _is_table(kind)), None)
        found |= {before + name: field} if inner is None else fields(inner, f"{before}{name}.")
    return found


def _is_table(kind):
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def shown(text):
    """What a sample says of each setting: its comment, its line without the sign of a comment, whether it is set.

    A table that is commented out as a whole counts as set.
    """
    section, optional, comment, found = "", False, [], {}
    for line in text.splitlines():
        if heading := re.match(r"(# )?\[([a-z_.]+)\]$", line):
            section, optional, comment = f"{heading[2]}.", heading[1] is not None, []
        elif setting := re.match(r"(# )?([a-z_]+) = ", line):
            assert section + setting[2] not in found
            found[section + setting[2]] = (
                " ".join(comment),
                line.removeprefix("# "),
                optional or not setting[1],
            )
            comment = []
        elif line.startswith("# "):
            comment.append(line.removeprefix("# "))
        else:
            assert line == ""
            comment = []
    return found


@pytest.mark.parametrize("role", MODELS)
def test_it_loads(role, tmp_path):
    path = tmp_path / "sample.toml"
    path.write_text(sample(role), encoding="utf-8")
    load_settings(path, MODELS[role])


@pytest.mark.parametrize("role", MODELS)
def test_it_names_every_setting_and_no_other(role):
    have = fields(MODELS[role])
    there = shown(sample(role))
    tables = {
        name for name in have if any(other.startswith(f"{name}.") for other in there)
    }  # names of one's own
    assert {name for name in there if name.rpartition(".")[0] not in tables} == have.keys() - tables


@pytest.mark.parametrize("role", MODELS)
def test_it_says_what_is_required_and_what_is_the_default(role):
    have = fields(MODELS[role])
    for name, (comment, line, is_set) in shown(sample(role)).items():
        if name not in have:
            assert "Default: none" in comment, name
            continue
        field = have[name]
        assert ("Required." in comment) == field.is_required(), name
        if field.is_required():
            assert is_set, name
            continue
        assert "Default:" in comment or "is required" in comment, name
        [value] = tomllib.loads(line).values()
        read = TypeAdapter(field.annotation).validate_python(value)  # an example of the setting's own type
        if field.default is not None:
            assert read == field.default, name


@pytest.mark.parametrize("role", MODELS)
def test_lines_are_short_enough_to_read(role):
    assert max(map(len, sample(role).splitlines())) <= 120


def test_filling_one_in():
    values = {
        "name": '民政"局',
        "listen": None,
        "connect": True,
        "keys.unlock": "file:C:\\words",
        "tls.root": "other.pem",
    }
    text = fill(sample("node"), values)
    read = tomllib.loads(text)
    assert read["name"] == values["name"]
    assert "listen" not in read
    assert read["connect"] is True
    assert read["keys"]["unlock"] == values["keys.unlock"]
    assert read["tls"]["root"] == "other.pem"
    assert set(read["federation"]["root"]) == {"0"}
    assert [line for line in text.splitlines() if line.startswith("# ") and " = " not in line] == [
        line for line in sample("node").splitlines() if line.startswith("# ") and " = " not in line
    ]


def test_a_setting_that_the_sample_does_not_name():
    with pytest.raises(KeyError, match=r"federation\.rot"):
        fill(sample("node"), {"federation.rot": "x"})
