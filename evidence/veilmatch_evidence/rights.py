"""By what right each department took part: approvals valid at that time, budgets not exceeded (protocol.md, 7).

What only a department's own catalog says stays its word: that what it read without an approval is open, and
that its entries were those that its officer approved.
"""

from collections.abc import Iterator

from veilmatch_evidence.actions import PolicyUse, Started
from veilmatch_evidence.job_evidence import JobEvidence
from veilmatch_evidence.segments import Said, Segment
from veilmatch_policy.approvals import Request, request_of, why_not
from veilmatch_policy.clock import CLOCK_DIFFERENCE
from veilmatch_policy.manifest import Manifest

_NO_CATALOG = bytes(32)  # the auditor has none; the approval's own hash is put in its place


def check_rights(evidence: JobEvidence) -> None:
    """Raise EvidenceRefusedError unless whoever started the job was allowed to, by what is in the evidence."""
    for segment, started in all_started(evidence):
        if evidence.computation is None:
            raise segment.refused(started, "a job was started, and there is no manifest")
        manifest = evidence.computation.manifest
        if started.action.epoch != manifest.draft.epoch:
            raise segment.refused(started, "the job was started over another epoch than the manifest's")
        if started.time >= manifest.draft.expires:
            raise segment.refused(started, "the job was started after the manifest had expired")
        _check_uses(evidence, manifest, segment, started)
        _check_debits(segment, started)


def all_started(evidence: JobEvidence) -> Iterator[tuple[Segment, Said[Started]]]:
    """Yield the record by which each department started the job, if it did.

    Raises EvidenceRefusedError where one started twice: a manifest starts once (protocol.md, 4.7).
    """
    for party in evidence.departments:
        segment = evidence.segments.get(party)
        if segment is not None:
            for said in segment.once(Started, lambda started: started.manifest).values():
                yield segment, said


def _check_uses(evidence: JobEvidence, manifest: Manifest, segment: Segment, started: Said[Started]) -> None:
    uses = started.action.policies
    if [use.policy for use in uses] != [policy.name for policy in manifest.policies]:
        raise segment.refused(started, "states other policies than the manifest")
    for number, use in enumerate(uses):
        request = request_of(
            manifest.plan,
            number,
            evidence.directory,
            segment.party,
            catalog=_NO_CATALOG,
            linkage=evidence.epoch.epoch.linkage,
            slots=evidence.epoch.epoch.slots,
        )
        stated = (use.version, use.content, use.recipient, use.purpose, use.reveal)
        if stated != (request.version, request.content, request.recipient, request.purpose, request.reveal):
            raise segment.refused(started, f"states {use.policy} otherwise than the manifest has it")
        if why := _why_not(evidence, request, use, started):
            raise segment.refused(started, f"{use.policy}: {why}")


def _why_not(evidence: JobEvidence, request: Request, use: PolicyUse, started: Said[Started]) -> str | None:
    """Why a department might not take part in a policy, in words; None where it might."""
    if use.approval is None:
        # A recipient learns something whatever its own columns are.
        return "its recipient has no approval" if request.department == request.recipient else None
    approval = next((each for each in evidence.decisions if each.digest.hex() == use.approval), None)
    if approval is None:
        return "the approval that is named is not in approvals.json"
    decision = approval.decision
    if decision.kind != "approve":
        return "what is named as its approval is none"
    asked = request.model_copy(update={"catalog": decision.request.catalog})
    if mismatch := why_not(asked, decision, now=started.time):
        return mismatch.words
    if not 1 <= use.run <= (decision.runs or 0):
        return f"run {use.run} of an approval of {decision.runs}"
    if decision.by == "one-machine" and evidence.package.index.trust != "one-machine":
        return "its approval was made by a machine in the officer's name"
    if decision.decided > started.time + CLOCK_DIFFERENCE:
        return "its approval was signed after the job was started"
    return None


def _check_debits(segment: Segment, started: Said[Started]) -> None:
    for debit in started.action.debits:
        if not debit.units <= debit.spent <= debit.limit:
            what = debit.what or debit.kind
            raise segment.refused(
                started, f"{what}: {debit.spent} of {debit.limit} is spent by this job and those before it"
            )
