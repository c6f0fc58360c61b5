"""The commented sample configurations that the distribution carries, filled in for one member."""

import re
from collections.abc import Mapping
from importlib.resources import files

import tomli_w

from veilmatch_policy.directory import Role

_SECTION = re.compile(r"(?:# )?\[([a-z_.]+)\]$")
_SETTING = re.compile(r"(?:# )?([a-z_]+) = ")  # a setting that is commented out shows its default


def sample(role: Role) -> str:
    """Return the text of a role's sample."""
    return files("veilmatch").joinpath("samples", f"{role}.toml").read_text(encoding="utf-8")


def fill(text: str, values: Mapping[str, str | bool | None]) -> str:
    """Return a sample with these settings, by their names (``section.setting``); None comments one out.

    Everything else stays as it is, comments too.  Raises KeyError for a setting that the sample does not name.
    """
    section, left, lines = "", dict(values), []
    for line in text.splitlines():
        if heading := _SECTION.match(line):
            section = f"{heading[1]}."
        setting = _SETTING.match(line)
        name = f"{section}{setting[1]}" if setting else ""
        if setting and name in left:
            value = left.pop(name)
            bare = line.removeprefix("# ")
            lines.append(f"# {bare}" if value is None else tomli_w.dumps({setting[1]: value}).rstrip())
        else:
            lines.append(line)
    if left:
        raise KeyError(f"the sample does not name {', '.join(left)}")
    return "\n".join(lines) + "\n"
