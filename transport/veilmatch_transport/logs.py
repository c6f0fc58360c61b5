"""What a service writes to standard error: one line an event, and never the text of an exception nobody foresaw.

Our own lines are structlog's; their keys are few, and a test walks the code for others.  What libraries say
through `logging`, and what Python itself prints of an exception that ends a thread, may quote a cell:
of these only the kind and the place are written.
"""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog

from veilmatch_transport.boundary import as_refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from veilmatch_transport.settings import LoggingSettings

_log = structlog.get_logger("veilmatch.transport")
_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


@contextmanager
def writing(settings: LoggingSettings) -> Iterator[None]:
    """Write events as the settings say, and take in what is not ours, while the context is open."""
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    root = logging.getLogger()
    handlers, level, ours = root.handlers[:], root.level, structlog.get_config()
    of_threads, of_others = threading.excepthook, sys.unraisablehook
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.level]),
        # Standard error as it is when a line is written: standard output holds results only.
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
    )
    root.handlers[:] = [_Foreign()]
    root.setLevel(logging.WARNING)
    threading.excepthook, sys.unraisablehook = _thread_ended, _unraisable
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = of_threads, of_others
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.configure(**ours)


class _Foreign(logging.Handler):
    """A library's record: where it was made, and the kind of its exception; neither text nor arguments."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else "no exception"
        say = _log.error if record.levelno >= logging.ERROR else _log.warning
        say("a library's record", logger=record.name, where=record.filename, line=record.lineno, reason=kind)


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_type is not SystemExit:
        _log.error("a thread ended", reason=_reason(ended.exc_value, ended.exc_type))


def _unraisable(met: sys.UnraisableHookArgs) -> None:
    _log.error("an exception nobody could be told", reason=_reason(met.exc_value, met.exc_type))


def _reason(error: BaseException | None, kind: type[BaseException]) -> str:
    return as_refusal(error).reason if isinstance(error, Exception) else kind.__name__
