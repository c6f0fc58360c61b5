"""The edge of every call that we serve: what was raised inside becomes a status and a public text.

gRPC itself would send ``str(exception)`` to the caller and print the traceback.  Here the caller gets the
code's public text; the local log gets the reason or, for an exception that nobody foresaw, its type
and where it was raised, never its message, which may quote a cell.
"""

import errno
import os
import sqlite3
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath

import grpc
import structlog

from veilmatch_transport.errors import (
    CODE_KEY,
    PUBLIC,
    Code,
    PeerError,
    RefusalError,
    StoreFailedError,
    StreamEnded,
    TransportError,
    WorkersError,
    one_line,
)

_log = structlog.get_logger("veilmatch.transport")
_FRAMES = 4  # innermost frames that the log names

# What a machine runs out of.  The operating system's word for it says nothing of data or paths, so it may be told.
_MACHINE = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
    }
)


@contextmanager
def boundary(context: grpc.ServicerContext, what: str) -> Iterator[None]:
    """Abort the call with the public text of whatever the body raises.

    ``what`` names the call in the local log.  Every exception but an abort that was already made (by a
    nested boundary, or by a library's servicer) is logged once, here.
    """
    try:
        yield
    except Exception as error:
        if _is_abort(error, context):
            raise
        refusal = report(error, what)
        context.set_trailing_metadata(((CODE_KEY, refusal.code.value),))
        context.abort(PUBLIC[refusal.code][0], refusal.public)


def report(error: Exception, what: str) -> RefusalError:
    """Log an exception that ended the call ``what``; return what its caller may know."""
    refusal = as_refusal(error)
    record = _log.error if refusal.code is Code.INTERNAL else _log.warning
    record("call ended", call=what, code=refusal.code.value, reason=str(refusal))
    return refusal


def as_refusal(error: Exception) -> RefusalError:
    """Return what to tell a peer and the log about any exception."""
    match error:
        case RefusalError():
            return error
        case PeerError():  # its text was public when that peer sent it
            return RefusalError(Code.PEER_FAILED, str(error), detail=str(error))
        case StreamEnded():
            return RefusalError(Code.OUT_OF_ORDER, f"{error} before its task was done")
        case StoreFailedError():
            return RefusalError(Code.MACHINE_FAILED, str(error), detail="its store cannot be used")
        case WorkersError():
            return RefusalError(Code.MACHINE_FAILED, str(error), detail="its workers cannot be used")
        case TransportError():
            return RefusalError(Code.INTERNAL, str(error))
        case OSError(errno=number) if number in _MACHINE:
            what = os.strerror(number)
            return RefusalError(Code.MACHINE_FAILED, f"{what} at {_where(error)}", detail=what)
    return RefusalError(Code.INTERNAL, f"{type(error).__name__} at {_where(error)}")


def reason_of(error: Exception) -> str:
    """Say why something failed without repeating what an exception may quote.

    The text of our own errors, and of SQLite's (which quotes no value); of all others the kind and the place.
    """
    if hasattr(error, "exit_code"):
        return one_line(str(error))
    original = getattr(error, "orig", None)
    if isinstance(original, sqlite3.Error):
        return one_line(str(original))
    return as_refusal(error).reason


def _where(error: Exception) -> str:
    """The innermost places where an exception was raised."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return " > ".join(f"{PurePath(frame.filename).name}:{frame.lineno}" for frame in frames)


def _is_abort(error: Exception, context: grpc.ServicerContext) -> bool:
    # ServicerContext.abort raises a bare Exception and nothing else marks it.  code() is documented but
    # missing from the stubs.
    return type(error) is Exception and not error.args and context.code() is not None  # type: ignore[attr-defined]  # see above
