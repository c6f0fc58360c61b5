"""The newest records of the parties' logs, as the coordinator passes them on (protocol.md, 7).

Whoever is shown another party's head writes it down: that party cannot rewrite what came before without
showing it.
"""

import threading
from functools import partial

import structlog

from veilmatch_coordinator.client import Conversation, Nodes
from veilmatch_coordinator.errors import NodeFailedError
from veilmatch_coordinator.parallel import in_parallel
from veilmatch_evidence.errors import EvidenceError, EvidenceRefusedError
from veilmatch_evidence.log import EvidenceLog
from veilmatch_evidence.records import Head, verify_head
from veilmatch_policy.directory import Directory

_log = structlog.get_logger(__name__)


class Heads:
    """The heads that this coordinator knows."""

    def __init__(self, log: EvidenceLog, directory: Directory) -> None:
        self._log = log
        self._directory = directory
        self._heads: dict[str, Head] = {}
        self._changing = threading.Lock()
        # Two jobs that close at one node at once would bring its heads in another order than they were made.
        self._turns = {name: threading.Lock() for name in directory.nodes}

    def known(self) -> tuple[Head, ...]:
        """Return the newest head of every party, this one's own among them."""
        with self._changing:
            return (*self._heads.values(), self._log.head())

    def turn(self, name: str) -> threading.Lock:
        """Held from asking a node for its head until `take`."""
        return self._turns[name]

    def take(self, name: str, head: Head) -> None:
        """Write down a head that the node ``name`` gave of its own log.

        Raises EvidenceRefusedError where it is another's or not signed, or older than one it gave before.
        """
        if head.party != name:
            raise EvidenceRefusedError(f"log of {name}: its head is of {head.party}; check its release")
        verify_head(head, self._directory.identity(name))
        with self._changing:
            before = self._heads.get(name)
            if before is not None and (head.sequence, head.digest) == (before.sequence, before.digest):
                return
            if before is not None and head.sequence <= before.sequence:
                raise EvidenceRefusedError(
                    f"log of {name}: record {head.sequence} is not after {before.sequence}, seen before; "
                    "its log was rewritten, tell its officer"
                )
            self._heads[name] = head
        self._log.append(head.seen())

    def exchange(self, nodes: Nodes) -> None:
        """Show every node what is known, and take its own; whoever cannot be reached hears of it the next time."""
        with nodes.conversation() as conversation:
            calls = {name: partial(self._exchange, conversation, name) for name in self._directory.nodes}
            in_parallel(calls, on_failure=conversation.abort)

    def _exchange(self, conversation: Conversation, name: str) -> None:
        try:
            with self.turn(name):
                self.take(name, conversation.exchange_heads(name, self.known()))
        except (NodeFailedError, EvidenceError) as error:
            _log.warning("heads not exchanged", node=name, reason=str(error))
