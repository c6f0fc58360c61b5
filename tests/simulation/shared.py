"""What all simulated federations of a test share, in the place of what would make them slow, large or loud."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from logging import WARNING
from pathlib import Path

import structlog
from simulation.process import Process
from structlog.testing import LogCapture

import veilmatch_coordinator.drafting
import veilmatch_coordinator.patience
import veilmatch_coordinator.slots
import veilmatch_crypto.paillier
import veilmatch_node.results
from veilmatch_evidence.package import PackageWriter

SAID = LogCapture()  # what the parties' services said of what went wrong, for whoever looks for the reason
FOLDERS: dict[Path, Process] = {}


@contextmanager
def simulated(monkeypatch) -> Iterator[None]:
    """What all federations of a test share: small tables, files that are steps, quiet logs."""
    monkeypatch.setattr(veilmatch_coordinator.slots, "_LEAST_DUMMIES", 120)
    monkeypatch.setattr(veilmatch_coordinator.drafting, "CHUNK_CIPHERTEXTS", 1)  # more messages to go wrong
    # The pool's keys are seen again and again: each is checked once.
    monkeypatch.setattr(
        veilmatch_crypto.paillier, "check_public_key", cache(veilmatch_crypto.paillier.check_public_key)
    )
    monkeypatch.setattr(veilmatch_coordinator.patience, "_FIRST", 0.02)
    write_whole, put = veilmatch_node.results.write_whole, PackageWriter.put

    def stepped_write(path: Path, data: bytes) -> None:
        _step_of(path)
        write_whole(path, data)

    def stepped_put(writer, name: str, *rest, **more):
        _step_of(writer._folder / name)
        return put(writer, name, *rest, **more)

    monkeypatch.setattr(veilmatch_node.results, "write_whole", stepped_write)
    monkeypatch.setattr(PackageWriter, "put", stepped_put)
    settings = structlog.get_config()
    structlog.configure(processors=[SAID], wrapper_class=structlog.make_filtering_bound_logger(WARNING))
    try:
        yield
    finally:
        structlog.configure(**settings)


def _step_of(path: Path) -> None:
    for folder in path.parents:
        if folder in FOLDERS:
            FOLDERS[folder].step(f"file:{path.name}")
