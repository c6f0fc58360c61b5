"""What can be wrong with a measurement: one line each."""

from veilmatch.errors import CommandError
from veilmatch_policy.errors import PolicyError


class ExperimentsError(PolicyError):
    """A file of experiments is not what docs/benchmarks.md says it is."""

    exit_code = 2


class ReportError(CommandError):
    """An earlier report cannot be read."""


class MeasurementError(CommandError):
    """An experiment failed, or a run's answer is not the plaintext one; the report says which."""

    exit_code = 5


class WrongAnswerError(CommandError):
    """What was measured gave another answer than the plain computation; ``str()`` says what."""

    exit_code = 5

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} differs from the plaintext answer; please report it")


class PeerSkippedError(Exception):
    """A peer cannot be measured; ``str()`` says why.  The report has it, the experiment goes on without it."""
