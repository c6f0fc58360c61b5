"""What a node records of jobs, in the log's own terms (protocol.md, 7): each step before the next."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from veilmatch_evidence.actions import (
    Action,
    Closed,
    Contributed,
    Dealt,
    Delivered,
    Opened,
    Presented,
    Refused,
    Started,
    ToldHouseholds,
)
from veilmatch_evidence.log import EvidenceLog
from veilmatch_evidence.records import Head, Record
from veilmatch_node.errors import DataError, RuleError
from veilmatch_policy.errors import ManifestError, PolicyError, PolicyRefusedError
from veilmatch_policy.manifest import Manifest

# What the log calls a refusal that governance did not make.
_RULES: Mapping[type[PolicyError], str] = {
    PolicyRefusedError: "policy",
    ManifestError: "manifest",
    DataError: "data",
}


@dataclass(frozen=True)
class OnRecord:
    """What a log holds of a job that is taken up again: places of chunks, numbers and names of policies."""

    contributed: set[tuple[int, int]] = field(default_factory=set)
    presented: set[int] = field(default_factory=set)
    opened: set[tuple[int, int]] = field(default_factory=set)
    delivered: set[str] = field(default_factory=set)


class JobLog:
    """One node's log, as its jobs write it.  Every method raises LogError where the log takes nothing more."""

    def __init__(self, log: EvidenceLog) -> None:
        self._log = log

    def on_record(self, manifest: Manifest) -> OnRecord:
        """Return what the log holds of a manifest: what is done again is not written down again."""
        known = OnRecord()
        for action in self._said(manifest.draft.job, manifest.digest):
            match action:
                case Contributed(outcome=outcome, chunk=chunk):
                    known.contributed.add((outcome, chunk))
                case Presented(policy=policy):
                    known.presented.add(policy)
                case Opened(outcome=outcome, chunk=chunk):
                    known.opened.add((outcome, chunk))
                case Delivered(policy=name):
                    known.delivered.add(name)
        return known

    def has_started_another(self, manifest: Manifest) -> bool:
        """Whether the log holds that another manifest of this job's name started here."""
        return any(
            isinstance(action, Started) and action.manifest != manifest.digest.hex()
            for action in self._said(manifest.draft.job, None)
        )

    def _said(self, job: str, manifest: bytes | None) -> Iterator[Action]:
        """Yield what the log holds of a job, or of one manifest of it."""
        for line in self._log.of_job(job).splitlines():
            said = Record.decode(line).read()
            if said is None or getattr(said[1], "job", None) != job:
                continue
            if manifest is None or getattr(said[1], "manifest", None) == manifest.hex():
                yield said[1]

    def started(self, started: Started) -> None:
        """By what right a manifest starts here, and what its budgets have lost."""
        self._log.append(started)

    def contributed(self, manifest: Manifest, outcome: int, chunk: int, ciphertexts: bytes) -> None:
        """A chunk is about to leave."""
        self._log.append(
            Contributed(**_of(manifest), outcome=outcome, chunk=chunk, sha256=_sha256(ciphertexts))
        )

    def told_households(self, manifest: Manifest) -> None:
        """The registrar is about to tell who lives with whom."""
        self._log.append(ToldHouseholds(**_of(manifest)))

    def presented(self, manifest: Manifest, policy: int, people: int) -> None:
        """The recipient is about to say whom a policy asks about: how many."""
        self._log.append(Presented(**_of(manifest), policy=policy, people=people))

    def opened(self, manifest: Manifest, outcome: int, chunk: int, product: bytes) -> None:
        """A product was opened and its check slots held."""
        self._log.append(Opened(**_of(manifest), outcome=outcome, chunk=chunk, sha256=_sha256(product)))

    def delivered(self, manifest: Manifest, policy: int) -> None:
        """A policy's result is about to be written."""
        self._log.append(Delivered(**_of(manifest), policy=manifest.policies[policy].name))

    def dealt(self, manifest: Manifest, households: int, presented: Sequence[int], corrections: str) -> None:
        """The dealer sent its corrections, of this SHA-256 (hex), for these sizes."""
        self._log.append(
            Dealt(**_of(manifest), households=households, presented=tuple(presented), sha256=corrections)
        )

    def closed(self, job: str, manifest: bytes) -> bytes:
        """A job is erased, which is written down once; all that this log holds of it (EvidenceLog.of_job)."""
        if not any(isinstance(action, Closed) for action in self._said(job, manifest)):
            self._log.append(Closed(job=job, manifest=manifest.hex()))
        return self._log.of_job(job)

    def seen(self, head: Head) -> None:
        """Another party's newest record, whose signature was checked."""
        self._log.append(head.seen())

    def head(self) -> Head:
        """Return this log's newest record, signed."""
        return self._log.head()

    @contextmanager
    def refusing(self, job: str | None) -> Iterator[None]:
        """Record that this node refuses a step of a job, by the rule's name; None before the job has one."""
        try:
            yield
        except PolicyError as error:
            if isinstance(error, RuleError) and error.on_record:
                raise
            rule = error.rule if isinstance(error, RuleError) else _RULES.get(type(error), "job")
            self._log.append(Refused(job=job, rule=rule))
            raise


def _of(manifest: Manifest) -> dict[str, str]:
    return {"job": manifest.draft.job, "manifest": manifest.digest.hex()}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
