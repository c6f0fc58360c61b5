"""Memory that a task had goes back to the system when the task has ended."""

import ctypes

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU C library; others keep no arenas


def give_back() -> None:
    """Have the C library return what was freed.

    It keeps that for the arena of the thread that asked for it, and tasks run in threads of their own: a service
    would grow by a table of powers with each job, until it has as many arenas as threads may have.
    """
    if _trim is not None:
        _trim(0)
