"""What the command prints and names: titles as written, standard output for results only, members' own refusals."""

import json
import os
import sys
from types import SimpleNamespace

import pytest
import structlog
from command_line import run_here
from processes.small_world import SUPPLEMENT, write_departments

from veilmatch import show
from veilmatch.errors import ProcessError
from veilmatch.processes import Members

CHECK = ("policy", "check", "supplement.yaml", "--departments", "departments")


@pytest.fixture
def here(tmp_path, monkeypatch):
    write_departments(tmp_path / "departments")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["evidence", "reports", "logs", "Evidence"])
def test_a_policy_with_the_name_of_another_folder_of_the_output(capsys, here, name):
    text = SUPPLEMENT.replace("policy: supplement", f"policy: {name}")
    assert text != SUPPLEMENT
    (here / "supplement.yaml").write_text(text, encoding="utf-8")
    ended = run_here(capsys, *CHECK)
    assert ended.code == 2
    assert ended.line() == f"{name}: is the name of another folder of the output; rename the policy"


@pytest.mark.parametrize("title", ["[/x] broken", "[red]not red[/red]", "a :cat: b"])
def test_a_title_is_shown_as_it_is_written(capsys, title):
    with show.bars(title) as bars:
        bars.step("link", "tax", 1, 2)
    show.lines(title, [title])
    captured = capsys.readouterr()
    assert title in captured.err
    assert captured.out == f"{title}\n  {title}\n"


def test_logs_go_to_standard_error_whatever_the_command(capsys, here):
    (here / "supplement.yaml").write_text(SUPPLEMENT, encoding="utf-8")
    before = structlog.get_config()
    try:
        assert run_here(capsys, *CHECK).code == 0
        structlog.get_logger().warning("said", why="a test")
    finally:
        structlog.configure(**before)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["event"] == "said"


def test_grpc_prints_nothing_of_its_own():
    assert "veilmatch" in sys.modules
    assert os.environ["GRPC_VERBOSITY"] == "NONE"


LOG = '{"event": "task"}\n'


@pytest.mark.parametrize(
    ("code", "log", "said"),
    [
        (2, LOG + "s.sqlite: is in use; stop it\n", "tax: s.sqlite: is in use; stop it"),
        (2, LOG, "tax: its process ended (exit code 2); see {log}"),
        (2, "", "tax: its process ended (exit code 2); see {log}"),
        (1, "ImportError: 11010519491231002X\n", "tax: its process ended (exit code 1); see {log}"),
        (
            -9,
            LOG + "s.sqlite: is in use; stop it\n",
            "tax: its process ended (killed by signal 9); see {log}",
        ),
    ],
)
def test_a_member_that_ended_is_named_with_its_own_refusal(tmp_path, code, log, said):
    path = tmp_path / "tax.log"
    path.write_text(log, encoding="utf-8")
    members = Members(tmp_path, {"tax": SimpleNamespace(exitcode=code)})
    with pytest.raises(ProcessError) as ended:
        members.check()
    assert str(ended.value) == said.format(log=path)
