"""The verification of evidence, without any party's help (protocol.md, 7: the auditor).

Confirmed: who wrote what, that nobody's story contradicts another's, that officers approved and budgets held.
Not proven: what B contains, what a department's data was, and the steps of the circuits.  That the
products are the products, `veilmatch_evidence.replay` confirms.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from veilmatch_evidence.across import Across
from veilmatch_evidence.agreement import check_agreement
from veilmatch_evidence.ciphertexts import Progress, check_ciphertexts
from veilmatch_evidence.job_evidence import JobEvidence, open_job
from veilmatch_evidence.package import Status, Trust
from veilmatch_evidence.reading import find_packages
from veilmatch_evidence.rights import all_started, check_rights


@dataclass(frozen=True)
class Verified:
    """What a job's evidence holds, once all of it is verified.

    ``root`` is the key that everything rests on, 32 bytes: whoever relies on the evidence compares it with the
    federation's.  ``records`` can be read, ``withheld`` are those of other jobs between them.
    ``approved`` counts policies at departments with an approval, ``unapproved`` those without: they are
    a dealer's, or read only what the department's own catalog calls open.  ``chunks`` were combined.
    """

    folder: Path
    job: str
    trust: Trust
    status: Status
    root: bytes
    policies: tuple[str, ...]
    parties: tuple[str, ...]
    records: int
    withheld: int
    approved: int
    unapproved: int
    chunks: int


def verify(folder: Path, root: bytes | None = None, progress: Progress | None = None) -> list[Verified]:
    """Verify the evidence of every job below a folder.

    ``root``: the fingerprint of the federation's key as its office said it (SHA-256, 32 bytes); None to take each
    package's own key, whose fingerprint the auditor then compares.
    Raises EvidenceRefusedError naming the first file, and the record in it, that does not hold; OSError where
    a file cannot be read.
    """
    return [summary(evidence) for evidence in verified_jobs(folder, root, progress or _silent)]


def verified_jobs(folder: Path, root: bytes | None, progress: Progress) -> Iterator[JobEvidence]:
    """Yield the evidence of each job as it is verified.  Raises as `verify`."""
    across = Across()
    for path in find_packages(folder):
        evidence = open_job(path, root)
        check_rights(evidence)
        check_agreement(evidence)
        check_ciphertexts(evidence, progress)
        across.take(evidence)
        yield evidence


def summary(evidence: JobEvidence) -> Verified:
    """Say what verified evidence holds."""
    index, segments = evidence.package.index, evidence.segments.values()
    uses = [use for _, started in all_started(evidence) for use in started.action.policies]
    policies = () if evidence.computation is None else evidence.computation.manifest.policies
    readable = sum(len(segment.said) for segment in segments)
    return Verified(
        folder=evidence.package.folder,
        job=index.job,
        trust=index.trust,
        status=index.status,
        root=evidence.directory.root,
        policies=tuple(policy.name for policy in policies),
        parties=tuple(segment.party for segment in segments),
        records=readable,
        withheld=sum(len(segment.records) for segment in segments) - readable,
        approved=sum(use.approval is not None for use in uses),
        unapproved=sum(use.approval is None for use in uses),
        chunks=sum(name.startswith("product/") for name in index.files),
    )


def _silent(_job: str, _done: int, _total: int) -> None:
    pass
