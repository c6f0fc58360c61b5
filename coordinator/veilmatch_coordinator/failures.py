"""What the operator is told of whatever ended a job or linkage, and what the log gets."""

from typing import NamedTuple

import structlog

from veilmatch_coordinator.errors import CoordinatorError
from veilmatch_evidence.errors import EvidenceError
from veilmatch_policy.errors import PolicyError
from veilmatch_transport import as_refusal

_log = structlog.get_logger(__name__)
_OURS = (CoordinatorError, EvidenceError, PolicyError)  # their texts are public


class Failure(NamedTuple):
    """One public line, and the exit code of the command that asked."""

    text: str
    exit_code: int


def failure_of(error: Exception, **what: str) -> Failure:
    """Log an exception and return what may be told of it; ``what`` names the work in the log."""
    if isinstance(error, _OURS):
        notes = getattr(error, "__notes__", [])
        _log.warning("ended without a result", reason=str(error), notes=notes, **what)
        return Failure(str(error), error.exit_code)
    # Whatever else it is, the operator gets a public line and nothing more.
    refusal = as_refusal(error)
    _log.error("ended without a result", reason=refusal.reason, **what)
    return Failure(f"coordinator: {refusal.public}", 5)
