"""What the coordinator must remember after a crash, in one SQLite file (SQLAlchemy).

protocol.md, 3 step 4 and 4.7: an epoch's slots are drawn once; the recipient presents its slots once
a manifest; the bytes of B are kept and resent, never made again.  SQLite runs with
``synchronous=FULL``: a committed transaction survives a power cut.  There is nothing here about
any person but pseudonymous slots, claims and ciphertexts.
"""

from pathlib import Path

from veilmatch_coordinator.store.base import metadata
from veilmatch_coordinator.store.epochs import EpochFigures, EpochState, StoredEpoch
from veilmatch_coordinator.store.jobs import JobState, StoredChunk
from veilmatch_coordinator.store.submissions import SubmissionState
from veilmatch_transport import durable_engine

__all__ = ["CoordinatorStore", "EpochFigures", "StoredChunk", "StoredEpoch"]


class CoordinatorStore(EpochState, JobState, SubmissionState):
    """The coordinator's one store.  Every method is one transaction."""

    def __init__(self, path: Path) -> None:
        super().__init__(durable_engine(path))
        metadata.create_all(self._engine)

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()
