"""What can go wrong at the coordinator, named for the cause.  ``str()`` is one line for the operator."""

from collections.abc import Sequence


class CoordinatorError(Exception):
    """Base of everything that this package raises on purpose."""

    exit_code = 5  # of the command that asked (policies.md)


class RequestError(CoordinatorError):
    """The operator asks for something that there is not."""

    exit_code = 2


class StoreError(CoordinatorError):
    """The store cannot keep or give what is asked."""


class LinkageError(CoordinatorError):
    """What a node sent during the linkage does not have the form that protocol.md, 3 gives."""


class JobError(CoordinatorError):
    """A job cannot go on: a party refused, failed, or sent what does not belong to the job."""


class WaitingForApprovalError(JobError):
    """Data officers must decide before the job can run; ``departments`` are theirs."""

    def __init__(self, departments: Sequence[str]) -> None:
        self.departments = tuple(departments)
        names = ", ".join(self.departments)
        super().__init__(f"job: the data officers of {names} have not approved it yet; ask them")


class NodeFailedError(CoordinatorError):
    """A node refused or stopped answering; the exit code is the one that its refusal asks for."""

    def __init__(self, text: str, exit_code: int = 5) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class NodeLostError(NodeFailedError):
    """A node cannot be reached, or its line was lost: it may come back."""


class ApprovalNeededError(NodeFailedError):
    """A node's data officer must decide before it takes part."""
