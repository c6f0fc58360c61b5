"""Every line that the services write is a fixed sentence with keys of a list: nothing personal has a place in it."""

import ast

import pytest
from tree import PACKAGES, ROOT

# What a line may say beside its sentence: names, codes, places, numbers of the machine.  `reason` and `notes` are
# lines of our own errors, or the kind and place of another (boundary.py); tests/federation/test_logs_are_silent.py
# looks into them.
KEYS = frozenset(
    {
        "account",
        "address",
        "before",
        "call",
        "check",
        "code",
        "coordinator",
        "database",
        "decision",
        "https",
        "job",
        "kind",
        "line",
        "logger",
        "node",
        "notes",
        "now",
        "page",
        "port",
        "reason",
        "role",
        "seconds",
        "signal",
        "status",
        "task",
        "where",
        "within",
    }
)
LEVELS = frozenset({"debug", "info", "warning", "error", "critical", "log", "msg"})
SPREAD = {"coordinator/veilmatch_coordinator/failures.py"}  # its callers' keys are looked at instead
PLACES = sorted(str(path.relative_to(ROOT)) for folder in PACKAGES.values() for path in folder.rglob("*.py"))


def is_log(node, aliases):
    """Whether a call writes a line: of the module's logger, or of a name for one of its methods."""
    match node.func:
        case ast.Attribute(value=ast.Name(id="_log"), attr=method):
            return method
        case ast.Name(id=name) if name in aliases:
            return aliases[name]
    return None


def calls(tree):
    """Every call that writes a line: its method and itself."""
    aliases = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                named = [
                    each.attr
                    for each in ast.walk(value)
                    if isinstance(each, ast.Attribute)
                    and isinstance(each.value, ast.Name)
                    and each.value.id == "_log"
                ]
                # `say = _log.info if well else _log.warning`, not the result of a call
                if named and not any(isinstance(each, ast.Call) for each in ast.walk(value)):
                    aliases[name] = named[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            method = is_log(node, aliases)
            if method is not None:
                yield method, node
            elif isinstance(node.func, ast.Name) and node.func.id == "failure_of":
                yield "failure_of", node


def wrong(place, source):
    """What is wrong with the lines that a module writes."""
    for method, call in calls(ast.parse(source)):
        where = f"{place}:{call.lineno}"
        if method != "failure_of":
            if method not in LEVELS:
                yield f"{where}: {method}"  # `exception` writes what was raised
            sentence = call.args[0] if call.args else None
            if len(call.args) != 1 or not (
                isinstance(sentence, ast.Constant) and isinstance(sentence.value, str)
            ):
                yield f"{where}: its event is no fixed sentence"
        for keyword in call.keywords:
            if keyword.arg is None:
                if place not in SPREAD:
                    yield f"{where}: spreads a mapping"
            elif keyword.arg not in KEYS:
                yield f"{where}: {keyword.arg}"
            if any(isinstance(each, ast.JoinedStr | ast.BinOp) for each in ast.walk(keyword.value)):
                yield f"{where}: {keyword.arg} is put together of values"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_line_is_a_sentence_with_keys_of_the_list(package):
    folder = PACKAGES[package]
    found = [
        line
        for path in sorted(folder.rglob("*.py"))
        for line in wrong(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_no_other_way_to_write_is_used_by_the_services():
    """`print` is ruff's to refuse; these would go around the list."""
    for package in ("veilmatch_evidence", "veilmatch_transport", "veilmatch_node", "veilmatch_coordinator"):
        for path in PACKAGES[package].rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            names = {
                f"{node.value.id}.{node.attr}"
                for node in ast.walk(tree)
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            }
            forbidden = {"traceback.print_exc", "traceback.print_exception", "traceback.format_exc"}
            forbidden |= {
                "warnings.warn",
                "sys.stdout",
                "logging.info",
                "logging.warning",
                "logging.exception",
            }
            assert not names & forbidden, path


@pytest.mark.parametrize(
    "line",
    [
        '_log.info(f"row {row}")',
        '_log.info("row", identifier=row)',
        '_log.exception("it failed")',
        '_log.info("row", reason=f"{row}")',
        '_log.info("row", reason="of " + row)',
        '_log.info("row", **told)',
        "_log.info(text)",
        'say = _log.info if well else _log.warning\nsay("row", cell=row)',
        "failure_of(error, cell=row)",
    ],
)
def test_the_rule_notices(line):
    assert len(list(wrong("some/module.py", line))) == 1


def test_the_rule_lets_honest_lines_pass():
    assert list(wrong("some/module.py", '_log.info("task", task=task, reason=str(error))')) == []
