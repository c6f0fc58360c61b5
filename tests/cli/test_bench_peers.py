"""Peers' programs: asked round by round, and skipped with the reason where they cannot be."""

import importlib
import json
import shlex
import sys
from dataclasses import replace

import pytest

from veilmatch.bench import peers
from veilmatch.bench.errors import PeerSkippedError
from veilmatch.bench.kinds.comparison import PEERS
from veilmatch.bench.peers import Peer, Peers, programs
from veilmatch.bench.report import Role
from veilmatch.bench.rounds import apart, beside, interleaved, ours, running

SHARED = (programs() / "peer.py").read_text()
GOOD = """
from peer import serve
rounds = iter(range(1, 100))
serve(2.5, ("numpy",), {"work": lambda: (next(rounds), 10)})
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a program beside the shared part, and returns its peer, which this interpreter can run."""
    monkeypatch.setattr(peers, "programs", lambda: tmp_path)
    (tmp_path / "peer.py").write_text(SHARED)

    def write(source):
        (tmp_path / "a_program.py").write_text(source)
        return Peer("A peer", "a_program", "json")

    return write


def test_a_peer_takes_turns_with_ours(written):
    order = []
    all_peers = Peers()
    with running(all_peers, [(written(GOOD), "3")]) as (started, skipped):
        assert not skipped
        entrants = [ours(lambda: order.append("ours"), 5), *beside(started, "work")]
        measures, failed = interleaved(entrants, 3, order.append)
        assert started[0].apart == 2.5
    assert not failed
    assert order == ["ours", 0, "ours", 1, "ours", 2, "ours", 3]
    _, peer = measures
    assert (peer.role, peer.items, peer.samples) == (Role.PEER, 10, (2, 3, 4))  # the first does not count
    assert all_peers.versions["A peer"].keys() == {"numpy"}


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import sys; sys.exit('no such curve')", "its program failed: no such curve"),
        ("raise SystemExit(3)", "its program failed: exit code 3"),
        (
            "import no_such_module",
            "its program failed: ModuleNotFoundError: No module named 'no_such_module'",
        ),
    ],
)
def test_a_peer_that_does_not_get_ready_is_skipped(written, source, why):
    with running(Peers(), [(written(source), "3")]) as (started, skipped):
        assert not started
    [said] = skipped
    assert (said.peer, said.why) == ("A peer", why)


@pytest.mark.parametrize(
    ("work", "why"),
    [
        ("check([1], [2])", "its program failed: an answer is wrong"),
        ("time.sleep(60)", "its program took more than 0.5 seconds, or was killed"),
    ],
)
def test_a_peer_that_fails_later_is_skipped_and_the_rest_goes_on(written, monkeypatch, work, why):
    source = f"import time\nfrom peer import check, serve\nserve(0.0, (), {{'work': lambda: {work}}})"
    monkeypatch.setattr(peers, "_ROUND_SECONDS", 0.5)
    with running(Peers(), [(written(source), "3")]) as (started, _):
        measures, skipped = interleaved([ours(lambda: None, 1), *beside(started, "work")], 2, lambda _: None)
    assert [measure.role for measure in measures] == [Role.OURS]
    assert [said.why for said in skipped] == [why]


def test_remarks_of_a_library_are_no_answers(written):
    noisy = "import sys\nprint('loading'); print('x' * 100_000, file=sys.stderr)\n" + GOOD
    with running(Peers(), [(written(noisy), "3")]) as ([started], _):
        assert started.round("work").seconds == 1


def test_without_uv_a_peer_is_skipped(written, monkeypatch):
    peer = written(GOOD)
    monkeypatch.setattr(peers, "_installed", lambda _: False)
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(peers.shutil, "which", lambda _: None)
    with (
        pytest.raises(PeerSkippedError, match="uv, which runs peers apart, is not installed"),
        Peers().running(peer, "1"),
    ):
        pass


def test_what_uv_says_is_the_reason(written, monkeypatch):
    peer = written(GOOD)
    monkeypatch.setattr(peers, "_installed", lambda _: False)
    monkeypatch.setattr(peers, "_uv", lambda: ("sh", "-c", "echo begun >&2; echo '  no wheels' >&2; exit 2"))
    with pytest.raises(PeerSkippedError) as skipped, Peers().running(peer, "1"):
        pass
    before, fetch, after = str(skipped.value).split("`")
    assert (before, after) == ("uv has not got it ready (no wheels); ", " fetches it, once")
    assert shlex.split(fetch)[-3:-1] == ["sync", "--script"]


def test_uv_chooses_the_python_of_a_program(written, monkeypatch, tmp_path):
    written(GOOD)
    monkeypatch.setattr(peers, "_installed", lambda _: False)
    monkeypatch.setattr(peers, "_uv", lambda: ("echo",))
    command = peers._interpreter("json", tmp_path / "a_program.py")
    assert command == ("echo", "run", "--quiet", "--offline", "--script")
    for name in ("heu_paillier", "spu_comparison"):
        assert '# requires-python = ">=3.10,<3.12"' in (programs() / f"{name}.py").read_text()


@pytest.mark.parametrize(
    ("off", "wrong"),
    [
        ((0, 0, 0), ""),
        ((1, 0, 0), "encrypt combine decrypt value"),
        ((0, 1, 0), "combine value"),
        ((0, 0, 1), "encrypt combine decrypt value"),
    ],
)
def test_what_other_paillier_answer_is_checked(monkeypatch, off, wrong):
    monkeypatch.syspath_prepend(programs())
    rounds = importlib.import_module("paillier_rounds")
    monkeypatch.setattr(rounds, "_SECONDS", 1e-6)
    made = rounds.operations(lambda m: m + off[0], lambda a, b: a + b + off[1], lambda c: c + off[2])
    for operation, work in made.items():
        if operation in wrong.split():
            with pytest.raises(SystemExit, match="an answer is wrong"):
                work()
        else:
            assert work()[1] >= 1


def test_what_a_peer_does_before_its_rounds_has_its_name(written):
    peer = replace(written(GOOD), apart="compiling")
    with running(Peers(), [(peer, "3")]) as (started, _):
        [measure] = apart(started)
    assert (measure.name, measure.samples) == ("compiling of A peer", (2.5,))
    assert {peer.apart for peer, _ in PEERS if peer.program == "spu_comparison"} == {"compiling"}


def test_every_program_pins_what_it_measures():
    found = [path for path in programs().glob("*.py") if path.name not in {"peer.py", "paillier_rounds.py"}]
    assert len(found) == 7
    for path in found:
        head = path.read_text().split("# ///")[1]
        assert "==" in head, path.name
        assert json.dumps("veilmatch") not in head
    assert sys.executable in peers._interpreter("json", found[0])
