"""`veilmatch evidence verify` and `replay`: what an auditor reads, and exit code 6 with one line."""

import pytest
from cli.command_line import run_here
from evidence_world import at

from veilmatch_crypto import key_fingerprint


@pytest.mark.parametrize(
    ("act", "done"), [("verify", "verified"), ("replay", "verified and multiplied again")]
)
def test_an_auditor_reads_what_was_checked(capsys, world, package, act, done):
    ended = run_here(capsys, "evidence", act, package.parent)
    assert ended.code == 0
    print_ = key_fingerprint(world.root.public)
    spoken = " ".join(print_[at : at + 4] for at in range(0, 64, 4))
    for said in (
        f"{package.name}: complete, trust: federation",
        f"evidence: {package}",
        "policies: aid, counted",
        "parties: housing, tax, welfare, zz-dealer, office",
        "records: 46 read, 0 of other jobs in between",
        "approvals: 6 in force",
        "no approval: 2 times",
        f"chunks: 4 {done}",
        spoken,
        "Compare it with the federation's office.",
    ):
        assert said in ended.out
    for written in (print_, spoken, spoken.replace(" ", ":").upper()):
        assert (
            "It is the one that was given."
            in run_here(capsys, "evidence", act, package, "--root", written).out
        )


def test_a_refusal_is_one_line_and_code_6(capsys, package):
    path = package / "logs" / "tax.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"outcome":1', b'"outcome":0', 1))
    ended = run_here(capsys, "evidence", "verify", package)
    assert ended.code == 6
    line = ended.line(quiet=False)
    assert line.startswith(f"{path}:")
    assert "holds another text than the one that was hashed" in line


def test_a_wrong_product_is_one_line_and_code_6(capsys, world, tmp_path):
    out = tmp_path / "out"
    package = world.run(out, at("factors", lambda factors: factors[1:] if len(factors) == 3 else factors))
    assert run_here(capsys, "evidence", "verify", out).code == 0
    ended = run_here(capsys, "evidence", "replay", out)
    assert ended.code == 6
    assert ended.line(quiet=False).startswith(f"{package / 'product/0-0.bin'}: ")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nowhere",), 2, "nowhere: No such file or directory"),
        ((".", "--root", "ab"), 2, "--root: is no fingerprint"),
        ((".", "--root", "x" * 64), 2, "--root: is no fingerprint"),
        ((".",), 6, "index.json: is missing: there is no evidence here"),
        ((), 2, "Missing argument"),
    ],
)
def test_a_wrong_command_line(capsys, monkeypatch, tmp_path, arguments, code, said):
    monkeypatch.chdir(tmp_path)
    ended = run_here(capsys, "evidence", "verify", *arguments)
    assert ended.code == code
    assert said in ended.line(quiet=False)


def test_another_root_is_code_6(capsys, package):
    ended = run_here(capsys, "evidence", "verify", package, "--root", "0" * 64)
    assert ended.code == 6
    assert ended.line(quiet=False).startswith(f"{package / 'root.pub'}: is another root")
