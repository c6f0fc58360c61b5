"""Where a manifest is at the coordinator, from its start until every party has closed it (docs/states.md).

The queue's states, of what an operator submitted, are in ``queue``.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class ManifestState(StrEnum):
    """Of one manifest."""

    STARTED = "started"  # its key and its hash are used up
    CLOSING = "closing"  # nothing more is computed; parties are told to erase its keys, and asked what they recorded
    CLOSED = "closed"  # all parties did, or its time is over; what an auditor gets is signed


AFTER: Mapping[ManifestState, frozenset[ManifestState]] = MappingProxyType(
    {
        ManifestState.STARTED: frozenset({ManifestState.CLOSING}),
        ManifestState.CLOSING: frozenset({ManifestState.CLOSED}),
        ManifestState.CLOSED: frozenset(),
    }
)
"""Which states may follow a state; a manifest begins in `STARTED`."""
