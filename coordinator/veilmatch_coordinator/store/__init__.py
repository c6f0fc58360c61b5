"""What the coordinator must remember after a crash, in one SQLite file or PostgreSQL schema.

protocol.md, 3 step 4 and 4.7: an epoch's slots are drawn once; the recipient presents its slots once
a manifest; the bytes of B are kept and resent, never made again.  A
committed transaction survives a power cut (veilmatch_transport.stores).  There is nothing here about
any person but pseudonymous slots, claims and ciphertexts.
"""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import URL

from veilmatch_coordinator.store.base import metadata
from veilmatch_coordinator.store.epochs import EpochFigures, EpochState, StoredEpoch
from veilmatch_coordinator.store.jobs import JobState, StoredChunk
from veilmatch_coordinator.store.submissions import SubmissionState
from veilmatch_transport import Schema, durable_engine, measure

__all__ = ["SCHEMA", "CoordinatorStore", "EpochFigures", "StoredChunk", "StoredEpoch"]

SCHEMA = Schema(metadata, head="0002", migrations=Path(__file__).with_name("migrations"))


class CoordinatorStore(EpochState, JobState, SubmissionState):
    """The coordinator's one store.  Every method is one transaction."""

    def __init__(self, address: Path | URL) -> None:
        super().__init__(durable_engine(address, SCHEMA))

    def measure(self, told: Callable[[float], None]) -> None:
        """Tell of every transaction how many seconds it took."""
        measure(self._engine, told)

    def close(self) -> None:
        """Close the file, or the connections."""
        self._engine.dispose()
