"""Whether this node's clock and the coordinator's agree: approvals, expiries and logs rest on both."""

from datetime import UTC, datetime, timedelta

from veilmatch_node.errors import RuleError
from veilmatch_policy.clock import CLOCK_DIFFERENCE

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST = 2**53  # milliseconds; what a wrong coordinator says beyond is no time


def require_clock(where: str, sent: int, now: datetime) -> None:
    """Raise RuleError where the coordinator's time is too far from ``now``, this node's.

    ``sent``: milliseconds since 1970 (UTC), as its message says.
    """
    behind = now - _EPOCH - timedelta(milliseconds=max(-_MOST, min(sent, _MOST)))
    if abs(behind) <= CLOCK_DIFFERENCE:
        return
    minutes = abs(behind) / timedelta(minutes=1)
    far = f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"
    direction = "behind" if behind > timedelta(0) else "ahead of"
    raise RuleError(
        "clock",
        where,
        f"the coordinator's clock is {far} {direction} this node's",
        "set the one that is wrong, and let both follow a time server",
    )
