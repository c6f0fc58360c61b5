"""What can go wrong in a node, named for the cause: one line each, nothing personal in it."""

from veilmatch_policy.errors import CatalogError, PolicyError


class NodeError(PolicyError):
    """Base of everything that this package raises on purpose: ``WHERE: WHAT; REMEDY``, one line."""

    exit_code = 5


class _OwnersDetailError(PolicyError):
    """A refusal of which the department's owner reads more than the coordinating office."""

    def __init__(self, where: str, what: str, remedy: str, *, detail: str = "") -> None:
        """Take the parts of the line, and the ``detail`` that is for the owner's log alone.

        A detail is a path, a number of rows, a day, the name of a column that the catalog does not
        have, or another program's words: they say what a department has and how its machine is set up.
        ``public`` is the line without it.
        """
        super().__init__(where, f"{what} ({detail})" if detail else what, remedy)
        self.public = str(
            PolicyError(where, what, f"{remedy} (the node's log says more)" if detail else remedy)
        )


class DataError(_OwnersDetailError, NodeError):
    """A department's own data is not what its catalog says (exit code 4).

    No message of it quotes a cell, an identifier or the header of a file: the first line of a file
    without a header is somebody's record.
    """

    exit_code = 4


class ExpressionError(_OwnersDetailError, CatalogError):
    """The database that is to evaluate a column's own expression refuses it."""


class StoreError(NodeError):
    """The store cannot keep or give what is asked."""


class LinkageError(NodeError):
    """What came from a peer during the linkage does not have the form that protocol.md, 3 gives."""


class JobRefusedError(NodeError):
    """This node refuses a step of a job (protocol.md, 4.7 and 7)."""
