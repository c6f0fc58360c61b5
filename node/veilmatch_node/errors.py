"""What can go wrong in a node, named for the cause: one line each, nothing personal in it."""

from veilmatch_policy.budgets import MILLION, Cost
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


class RuleError(JobRefusedError):
    """Governance refuses a step of a job; ``rule`` is the refusal's name in logs (docs/security.md lists them)."""

    def __init__(self, rule: str, where: str, what: str, remedy: str) -> None:
        super().__init__(where, what, remedy)
        self.rule = rule
        self.on_record = False  # whether the log has it already


class ApprovalNeededError(RuleError):
    """The data officer must decide first; the request waits on the desk."""


class ApprovalSpentError(RuleError):
    """An approval's runs are used up."""

    def __init__(self, policy: str, runs: int) -> None:
        many = f"its {runs} approved runs are" if runs > 1 else "its one approved run is"
        super().__init__("runs-spent", policy, f"{many} used up", "submit the job again to ask the officer")


class BudgetSpentError(RuleError):
    """A budget would lose more than it has left."""

    def __init__(self, cost: Cost, window: str, spent: int, most: int) -> None:
        """Take what the job asks for, and what the budget of the ``window`` had lost before it."""
        scale = MILLION if cost.kind == "epsilon" else 1
        asked, gone, limit = (f"{units / scale:g}" for units in (cost.units, spent, most))
        unit, of = (
            ("epsilon", "its data") if cost.kind == "epsilon" else ("runs", f"column group {cost.what}")
        )
        super().__init__(
            "budget-spent",
            "budget",
            f"{of} for {cost.receiver}: the job takes {asked} {unit}, {gone} of {limit} in this {window} are gone",
            "ask fewer questions, or wait until the window has moved on",
        )
