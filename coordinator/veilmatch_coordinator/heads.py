"""The newest records of the parties' logs, as the coordinator passes them on (protocol.md, 7).

Whoever is shown another party's head writes it down: that party cannot rewrite what came before without
showing it.
"""

import threading

from veilmatch_evidence.errors import EvidenceRefusedError
from veilmatch_evidence.log import EvidenceLog
from veilmatch_evidence.records import Head, verify_head
from veilmatch_policy.directory import Directory


class Heads:
    """The heads that this coordinator knows."""

    def __init__(self, log: EvidenceLog, directory: Directory) -> None:
        self._log = log
        self._directory = directory
        self._heads: dict[str, Head] = {}
        self._changing = threading.Lock()

    def known(self) -> tuple[Head, ...]:
        """Return the newest head of every party, this one's own among them."""
        with self._changing:
            return (*self._heads.values(), self._log.head())

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
