"""What can go wrong in a node, named for the cause: one line each, nothing personal in it."""

from veilmatch_policy.errors import PolicyError


class NodeError(PolicyError):
    """Base of everything that this package raises on purpose: ``WHERE: WHAT; REMEDY``, one line."""

    exit_code = 5


class DataError(NodeError):
    """A department's own data is not what its catalog says (exit code 4).

    No message of it quotes a cell, an identifier or the header of a file: the first line of a file
    without a header is somebody's record.
    """

    exit_code = 4


class StoreError(NodeError):
    """The store cannot keep or give what is asked."""


class LinkageError(NodeError):
    """What came from a peer during the linkage does not have the form that protocol.md, 3 gives."""


class JobRefusedError(NodeError):
    """This node refuses a step of a job (protocol.md, 4.7 and 7)."""
