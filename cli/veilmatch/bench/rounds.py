"""Interleaved rounds: ours, floors and peers take turns, so that a busy machine slows all of them."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from veilmatch.bench.errors import PeerSkippedError
from veilmatch.bench.peers import Peer, Peers, RunningPeer, Sample
from veilmatch.bench.report import Measure, Role, Skipped


@dataclass(frozen=True)
class Entrant:
    """What takes part in a case's rounds: ``round`` measures one, in seconds of processor time."""

    name: str
    role: Role
    round: Callable[[], Sample]


def ours(work: Callable[[], object], items: int, name: str = "veilmatch") -> Entrant:
    """Ours: one call of ``work`` is for so many items."""
    return Entrant(name, Role.OURS, lambda: Sample(cpu_seconds(work), items))


def floor(name: str, work: Callable[[], object], items: int) -> Entrant:
    """A floor: one call of ``work`` is what cannot be avoided for so many items."""
    return Entrant(name, Role.FLOOR, lambda: Sample(cpu_seconds(work), items))


def beside(peers: Iterable[RunningPeer], operation: str) -> list[Entrant]:
    """Peers, each asked for one operation."""

    def asked(peer: RunningPeer) -> Entrant:
        return Entrant(peer.name, Role.PEER, lambda: peer.round(operation))

    return [asked(peer) for peer in peers]


def interleaved(
    entrants: Iterable[Entrant], rounds: int, step: Callable[[int], None]
) -> tuple[list[Measure], list[Skipped]]:
    """Measure so many rounds of all, after one that does not count; ``step`` is told how many are done.

    A peer that fails is skipped from then on, with the reason, and has no measure.
    """
    samples: dict[Entrant, list[Sample]] = {entrant: [] for entrant in entrants}
    skipped = []
    for done in range(rounds + 1):
        for entrant in list(samples):
            try:
                samples[entrant].append(entrant.round())
            except PeerSkippedError as error:
                skipped.append(Skipped(peer=entrant.name, why=str(error)))
                del samples[entrant]
        step(done)
    measures = [
        Measure(
            name=entrant.name,
            role=entrant.role,
            items=taken[0].items,
            samples=tuple(sample.seconds for sample in taken[1:]),
        )
        for entrant, taken in samples.items()
    ]
    return measures, skipped


@contextmanager
def running(
    peers: Peers, wanted: Iterable[tuple[Peer, str]]
) -> Iterator[tuple[list[RunningPeer], list[Skipped]]]:
    """Start those peers that can be, each with its argument; the others are skipped, with the reason."""
    with ExitStack() as stack:
        started, skipped = [], []
        for peer, argument in wanted:
            try:
                started.append(stack.enter_context(peers.running(peer, argument)))
            except PeerSkippedError as error:
                skipped.append(Skipped(peer=peer.name, why=str(error)))
        yield started, skipped


def apart(peers: Iterable[RunningPeer]) -> list[Measure]:
    """What each peer took before its rounds, for keys or compiling, where it has any of it."""
    return [
        Measure(name=f"{peer.what_is_apart} of {peer.name}", role=Role.APART, items=1, samples=(peer.apart,))
        for peer in peers
        if peer.apart
    ]


def cpu_seconds(work: Callable[[], object]) -> float:
    """The processor time of this process that ``work`` takes."""
    began = time.process_time()
    work()
    return time.process_time() - began
