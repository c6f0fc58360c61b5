"""What time it is: asked of a clock, so that the parts that decide by the time can be shown another one."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]  # with a time zone; never a naive time


def utc_now() -> datetime:
    """Return this machine's time, UTC."""
    return datetime.now(UTC)
