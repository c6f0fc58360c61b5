"""What time it is: asked of a clock, so that the parts that decide by the time can be shown another one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]  # with a time zone; never a naive time


CLOCK_DIFFERENCE = timedelta(minutes=5)  # that machines which work together may have between their clocks


def utc_now() -> datetime:
    """Return this machine's time, UTC."""
    return datetime.now(UTC)
