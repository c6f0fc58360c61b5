"""Where a manifest is at this node, from its start to the end of its keys (protocol.md, 4.7; docs/states.md).

Each step from one state to the next is one transaction of the store, before the step's first effect.  A
contributor and a registrar stay in `STARTED` until the job closes: what they send again are the same bytes.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """Of one manifest at one node."""

    STARTED = "started"  # on record, its answers are frozen
    OPENING = "opening"  # recipient: products come; may be taken up again, with the same products
    DECIDING = "deciding"  # recipient: the circuits run, once
    DEALING = "dealing"  # dealer: its seeds leave, once
    DELIVERED = "delivered"  # recipient: the results are written
    FAILED = "failed"  # recipient: a check slot is wrong; never opened again
    CLOSED = "closed"  # keys, answers and ciphertexts are erased


AFTER: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.STARTED: frozenset({State.OPENING, State.DEALING, State.CLOSED}),
        State.OPENING: frozenset(
            {State.OPENING, State.DECIDING, State.DELIVERED, State.FAILED, State.CLOSED}
        ),
        State.DECIDING: frozenset({State.DELIVERED, State.CLOSED}),
        State.DEALING: frozenset({State.CLOSED}),
        State.DELIVERED: frozenset({State.CLOSED}),
        State.FAILED: frozenset({State.CLOSED}),
        State.CLOSED: frozenset(),
    }
)
"""Which states may follow a state; a manifest begins in `STARTED`."""
