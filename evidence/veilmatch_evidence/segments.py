"""A party's records of one job, as evidence: one unbroken, signed piece of its log (protocol.md, 7)."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar, cast

from veilmatch_crypto import SignatureRefusedError
from veilmatch_evidence.actions import Action
from veilmatch_evidence.errors import EvidenceRefusedError
from veilmatch_evidence.package import log_name
from veilmatch_evidence.reading import Package
from veilmatch_evidence.records import FIRST, HEADS, Record, verify_record
from veilmatch_policy.directory import Directory

A_co = TypeVar("A_co", bound=Action, covariant=True)
_A = TypeVar("_A", bound=Action)
_K = TypeVar("_K", bound=Hashable)


@dataclass(frozen=True)
class Said(Generic[A_co]):
    """What a party recorded: in which line of its file, when, and the action."""

    party: str
    line: int
    time: datetime
    action: A_co


@dataclass(frozen=True)
class Segment:
    """The piece of one party's log: all records for their hashes, and those whose text is there."""

    package: Package
    party: str
    records: tuple[Record, ...]
    said: tuple[Said[Action], ...]

    def of(self, kind: type[_A]) -> list[Said[_A]]:
        """Return what was recorded of one kind, in order."""
        return [cast("Said[_A]", said) for said in self.said if isinstance(said.action, kind)]

    def once(self, kind: type[_A], place: Callable[[_A], _K]) -> dict[_K, Said[_A]]:
        """Return what was recorded of one kind by its place.  Raises EvidenceRefusedError where two have one place."""
        found: dict[_K, Said[_A]] = {}
        for said in self.of(kind):
            if found.setdefault(place(said.action), said) is not said:
                raise self.refused(said, f"{said.action.action} stands twice for one place")
        return found

    def refused(self, said: Said[Action], what: str) -> EvidenceRefusedError:
        """The refusal of one record."""
        return self.package.refused(log_name(self.party), what, said.line)

    def incomplete(self, what: str) -> EvidenceRefusedError:
        """The refusal of a piece in which a record is missing."""
        return self.package.refused(log_name(self.party), what)


def read_segment(package: Package, party: str, directory: Directory) -> Segment:
    """Read and verify a party's piece: spelling, order, chain of hashes, every signature, and what is withheld.

    Raises EvidenceRefusedError naming the first line that is not as its party wrote it.
    """
    name = log_name(party)
    data = package.read_unlisted(name)
    *lines, rest = data.split(b"\n")
    records: list[Record] = []
    said: list[Said[Action]] = []
    for number, line in enumerate(lines, 1):
        try:
            record = Record.decode(line)
            _require_next(record, party, records[-1] if records else None)
            verify_record(record, directory.identity(party))
            _require_text(record, package.index.job)
            read = record.read()
        except ValueError as error:
            raise package.refused(name, str(error), number) from None
        except SignatureRefusedError:
            raise package.refused(name, f"is not signed by {party}", number) from None
        records.append(record)
        if read is not None:
            said.append(Said(party, number, *read))
    if rest:
        raise package.refused(name, "is cut off", len(lines) + 1)
    # Last: whatever is wrong with a line was named before; what is left is a piece without its end or its beginning.
    package.require_listed(name, data, len(lines))
    return Segment(package, party, tuple(records), tuple(said))


def _require_next(record: Record, party: str, before: Record | None) -> None:
    """Raise ValueError unless a record is the party's and follows the one before it."""
    if record.party != party:
        raise ValueError(f"is a record of another party than {party}")
    if before is None:
        if record.sequence == 1 and bytes.fromhex(record.previous) != FIRST:
            raise ValueError("is the first record and names one before it")
    elif (record.sequence, bytes.fromhex(record.previous)) != (before.sequence + 1, before.digest):
        raise ValueError("does not follow the record before it: one was removed, repeated or moved")


def _require_text(record: Record, job: str) -> None:
    """Raise ValueError where a record is withheld that evidence of ``job`` must hold."""
    if record.body is not None:
        return
    if record.is_about(job):
        raise ValueError("is withheld although it is about this job")
    if record.is_about(HEADS):
        raise ValueError("is withheld although it holds the head of another party's log")
