"""Errors of the command line itself; every error that reaches a user is one line and an exit code."""


class CommandError(Exception):
    """Base: ``str()`` is the line, ``exit_code`` the code (policies.md, "Exit codes")."""

    exit_code = 2


class UsageError(CommandError):
    """The command line is wrong."""


class DocumentRefusedError(CommandError):
    """What a member and the root of a federation send each other is not what it should be."""

    exit_code = 3


class ProcessError(CommandError):
    """A member's process did not start or ended."""

    exit_code = 5


class UnwellError(CommandError):
    """`veilmatch doctor` found something that does not work."""

    exit_code = 7


class JobFailedError(CommandError):
    """The coordinator ended a job or linkage without a result."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code
