"""Peers' programs: asked round by round, and skipped with the reason where they cannot be."""

import json
import sys

import pytest

from veilmatch.bench import peers
from veilmatch.bench.errors import PeerSkippedError
from veilmatch.bench.peers import Peer, Peers, programs
from veilmatch.bench.report import Role
from veilmatch.bench.rounds import beside, interleaved, ours, running

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


def test_every_program_pins_what_it_measures():
    found = [path for path in programs().glob("*.py") if path.name not in {"peer.py", "paillier_rounds.py"}]
    assert len(found) == 7
    for path in found:
        head = path.read_text().split("# ///")[1]
        assert "==" in head, path.name
        assert json.dumps("veilmatch") not in head
    assert sys.executable in peers._interpreter("json", found[0])
