"""One job's logs held against its files and against each other (protocol.md, 7).

What one party says it sent, another says it received, and the file is there: a party that wants to tell
another story needs all others to tell it too.  In a job that is complete nothing may be missing; in one
that ended, what is there must agree.
"""

import hashlib
import json

from veilmatch_evidence.actions import (
    Action,
    Closed,
    Combined,
    Contributed,
    Dealt,
    Delivered,
    Drafted,
    HeadSeen,
    ManifestMade,
    Opened,
    Presented,
    Received,
    Started,
    Submitted,
    ToldHouseholds,
)
from veilmatch_evidence.errors import EvidenceRefusedError
from veilmatch_evidence.job_evidence import Computation, JobEvidence
from veilmatch_evidence.package import REPORT, blank_name, contribution_name, product_name
from veilmatch_evidence.records import Head, verify_head
from veilmatch_evidence.segments import Said, Segment
from veilmatch_policy.approvals import approved_content
from veilmatch_policy.errors import DirectoryError
from veilmatch_policy.manifest import Manifest

_AFTER_START = (Contributed, ToldHouseholds, Dealt, Presented, Opened, Delivered)


def check_agreement(evidence: JobEvidence) -> None:
    """Raise EvidenceRefusedError where a record contradicts the manifest, a file, or another party's record."""
    for segment in evidence.segments.values():
        for said in segment.said:
            _check_names(evidence, segment, said)
        _check_order(evidence, segment)
        _check_heads(evidence, segment)
    if evidence.computation is None:
        return
    manifest = evidence.computation.manifest
    for segment in evidence.segments.values():
        for said in segment.said:
            if segment.party not in _who_may(evidence, manifest, said.action):
                raise segment.refused(said, f"{said.action.action} is not for {segment.party} to do")
    _check_submitted(evidence, manifest)
    _check_chunks(evidence, evidence.computation)
    _check_presented(evidence, manifest)
    if evidence.complete:
        _check_whole(evidence, manifest)
    if REPORT in evidence.package:
        _check_report(evidence, manifest)


def _check_names(evidence: JobEvidence, segment: Segment, said: Said[Action]) -> None:
    """The record is of this job and of its one manifest: here it shows that two nodes were shown two."""
    job = getattr(said.action, "job", None)
    if job is not None and job != evidence.package.index.job:
        raise segment.refused(said, "names another job")
    stated = getattr(said.action, "manifest", None)
    own = None if evidence.computation is None else evidence.computation.manifest.digest.hex()
    if stated is not None and stated != own:
        raise segment.refused(said, "names another manifest than the job's")


def _check_order(evidence: JobEvidence, segment: Segment) -> None:
    """A department does nothing in a job before its budgets are debited and that is on disk."""
    started = segment.party == evidence.directory.coordinator
    for said in segment.said:
        started = started or isinstance(said.action, Started)
        if isinstance(said.action, _AFTER_START) and not started:
            raise segment.refused(said, f"{said.action.action} stands before the job was started")


def _check_heads(evidence: JobEvidence, segment: Segment) -> None:
    """The heads that a party was shown are signed; `veilmatch_evidence.across` holds them against the logs."""
    for said in segment.of(HeadSeen):
        head = Head.of(said.action)
        try:
            verify_head(head, evidence.directory.identity(head.party))
        except (EvidenceRefusedError, DirectoryError):
            raise segment.refused(said, f"holds a head that {head.party} did not sign") from None


def _who_may(evidence: JobEvidence, manifest: Manifest, action: Action) -> tuple[str | None, ...]:
    """Whose action it is, by the manifest."""
    draft, coordinator = manifest.draft, evidence.directory.coordinator
    match action:
        case Submitted() | Drafted() | ManifestMade() | Received() | Combined():
            return (coordinator,)
        case Contributed(outcome=outcome):
            contributors = (each.contributors for each in draft.outcomes if each.index == outcome)
            return next(contributors, ())
        case Presented() | Opened():
            return (draft.recipient,)
        case Delivered():
            return (draft.recipient, coordinator)
        case Dealt():
            return (draft.dealer,)
        case ToldHouseholds():
            return (draft.registrar,)
        case Started():
            return draft.participants
        case _:
            return (*draft.participants, coordinator)


def _check_chunks(evidence: JobEvidence, computation: Computation) -> None:
    """What was contributed is what was received and is there; what was combined is what was opened and is there."""
    agreed = _Agreed(evidence, computation)
    for segment in evidence.segments.values():
        for place, contributed in segment.once(Contributed, lambda c: (c.outcome, c.chunk)).items():
            name = contribution_name(segment.party, *place)
            agreed.take(segment, contributed, name, contributed.action.sha256)
        for sent, received in segment.once(Received, lambda r: (r.department, r.outcome, r.chunk)).items():
            agreed.take(segment, received, contribution_name(*sent), received.action.sha256)
        for place, combined in segment.once(Combined, lambda c: (c.outcome, c.chunk)).items():
            agreed.take(segment, combined, blank_name(*place), combined.action.blank)
            agreed.take(segment, combined, product_name(*place), combined.action.product)
        for place, opened in segment.once(Opened, lambda o: (o.outcome, o.chunk)).items():
            agreed.take(segment, opened, product_name(*place), opened.action.sha256)
    if not evidence.complete:
        return
    coordinator = evidence.directory.coordinator
    for place in computation.places:
        for party in computation.contributors[place[0]]:
            agreed.require(contribution_name(party, *place), party, coordinator)
        agreed.require(blank_name(*place), coordinator)
        agreed.require(product_name(*place), coordinator, computation.manifest.draft.recipient)


class _Agreed:
    """Who says which hash of which file."""

    def __init__(self, evidence: JobEvidence, computation: Computation) -> None:
        self._evidence = evidence
        self._stated = dict(evidence.package.index.files)
        self._tellers: set[tuple[str, str]] = set()
        self._possible = computation.files

    def take(self, segment: Segment, said: Said[Action], name: str, sha256: str) -> None:
        """Hold one record against the file, or where that is missing against whoever spoke of it first."""
        if name not in self._possible:
            raise segment.refused(said, f"{said.action.action} of a chunk that the manifest does not have")
        if self._stated.setdefault(name, sha256) != sha256:
            raise segment.refused(said, f"states another hash of {name} than the rest of the evidence")
        self._tellers.add((name, segment.party))

    def require(self, name: str, *parties: str) -> None:
        """Raise EvidenceRefusedError where one of those who must speak of a file does not."""
        for party in parties:
            if (name, party) not in self._tellers:
                raise self._evidence.segments[party].incomplete(f"says nothing of {name}")


def _check_submitted(evidence: JobEvidence, manifest: Manifest) -> None:
    """What the office asked for is what was computed."""
    computed = tuple(approved_content(policy).hex() for policy in manifest.policies)
    for segment in evidence.segments.values():
        for submitted in segment.of(Submitted):
            if submitted.action.content != computed:
                raise segment.refused(submitted, "asks for other policies than the manifest's")


def _check_presented(evidence: JobEvidence, manifest: Manifest) -> None:
    """The dealer dealt for as many people as the recipient presented."""
    presented = {
        policy: said.action.people
        for segment in evidence.segments.values()
        for policy, said in segment.once(Presented, lambda each: each.policy).items()
    }
    for segment in evidence.segments.values():
        for dealt in segment.once(Dealt, lambda each: each.manifest).values():
            if len(dealt.action.presented) != len(manifest.policies):
                raise segment.refused(dealt, "states another number of policies than the manifest")
            for policy, people in enumerate(dealt.action.presented):
                if presented.get(policy, people) != people:
                    raise segment.refused(
                        dealt, "states other numbers of people than the recipient presented"
                    )


def _check_whole(evidence: JobEvidence, manifest: Manifest) -> None:
    """Everybody says of a complete job that it did its part, from the manifest to the erasing of keys."""
    draft, coordinator = manifest.draft, evidence.directory.coordinator
    for party in draft.participants:
        _require(evidence, party, Started, 1, "started the job")
        _require(evidence, party, Closed, 1, "erased the job's keys")
    _require(evidence, coordinator, Submitted, 1, "was asked for the job")
    _require(evidence, coordinator, ManifestMade, 1, "made the manifest")
    drafts = {said.action.draft for said in evidence.segments[coordinator].of(Drafted)}
    if hashlib.sha256(draft.encode()).hexdigest() not in drafts:
        raise evidence.segments[coordinator].incomplete(
            "says nothing of the draft that the manifest is made from"
        )
    _require(
        evidence, draft.recipient, Presented, len(manifest.policies), "presented whom each policy asks about"
    )
    if draft.dealer is not None:
        _require(evidence, draft.dealer, Dealt, 1, "dealt")
    if draft.registrar is not None:
        _require(evidence, draft.registrar, ToldHouseholds, 1, "told the households")
    for policy in manifest.policies:
        party = draft.recipient if policy.reveal == "members" else coordinator
        segment = evidence.segments[party]
        if policy.name not in {said.action.policy for said in segment.of(Delivered)}:
            raise segment.incomplete(f"says nothing of a result of {policy.name}")


def _require(evidence: JobEvidence, party: str, kind: type[Action], least: int, what: str) -> None:
    segment = evidence.segments[party]
    if len(segment.of(kind)) < least:
        raise segment.incomplete(f"does not say that {party} {what}")


def _check_report(evidence: JobEvidence, manifest: Manifest) -> None:
    """The coordinator's copies of the results are of this job and of its policies."""
    package = evidence.package
    expected = [
        {"manifest_sha256": manifest.digest.hex(), "job": manifest.draft.job, "policy": policy.name}
        for policy in manifest.policies
    ]
    try:
        copies = json.loads(package.read(REPORT))
        stated = [{key: copy[key] for key in expected[0]} for copy in copies]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise package.refused(REPORT, "is not a report of results") from None
    if stated != expected:
        raise package.refused(REPORT, "is a report of another job's results")
