"""Which sentences a program says: what it gives to `Words`, in its modules and templates."""

import ast
import re

from jinja2 import Environment, nodes


def in_module(path):
    """The sentences of a Python module; ValueError for one that is put together while it runs."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        match node.func:
            case ast.Attribute(attr="many"):
                sentence = node.args[2]
            case ast.Name(id="say") | ast.Attribute(attr="say"):
                sentence = node.args[0]
            case ast.Name(id="self") if isinstance(node.args[0], ast.Constant):
                sentence = node.args[0]
            case _:
                continue
        if not isinstance(sentence, ast.Constant):
            raise ValueError(f"{path.name}:{node.lineno}")  # noqa: TRY004  the module is wrong, not the caller
        found.add(sentence.value)
    return found


def in_template(path):
    """The sentences of a template."""
    found = set()
    for call in Environment().parse(path.read_text(encoding="utf-8")).find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name == "say":
            if not isinstance(call.args[0], nodes.Const):
                raise ValueError(f"{path.name}:{call.lineno}")
            found.add(call.args[0].value)
    return found


def places(sentence):
    """The named places of a sentence."""
    return set(re.findall(r"\{(\w+)\}", sentence))
