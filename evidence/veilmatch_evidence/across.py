"""What several jobs' evidence says together: heads, approvals and keys that no two may claim (protocol.md, 7)."""

from pathlib import Path

from veilmatch_evidence.actions import HeadSeen
from veilmatch_evidence.job_evidence import JobEvidence
from veilmatch_evidence.package import INDEX, MANIFEST, log_name
from veilmatch_evidence.rights import all_started
from veilmatch_evidence.segments import Segment


class Across:
    """Takes in one job after the other and refuses what contradicts those before."""

    def __init__(self) -> None:
        self._jobs: dict[str, Path] = {}
        self._keys: set[int] = set()
        self._runs: set[tuple[str, int]] = set()
        self._records: dict[tuple[bytes, str, int], bytes] = {}  # by root, party and number

    def take(self, evidence: JobEvidence) -> None:
        """Take in a job that is verified by itself.

        Raises EvidenceRefusedError where a party has two histories: a record, or a head that another party was
        shown, that is not the record of the same number elsewhere; where two jobs used one run of an approval, or one
        recipient's key; and where one job is there twice.
        """
        package, computation = evidence.package, evidence.computation
        if self._jobs.setdefault(package.index.job, package.folder) != package.folder:
            raise package.refused(INDEX, "the same job is there a second time")
        if computation is not None:
            if computation.key.n in self._keys:  # with another generator it would be the same key (4.1)
                raise package.refused(MANIFEST, "the recipient's key was used in another job")
            self._keys.add(computation.key.n)
        for segment, started in all_started(evidence):
            for use in started.action.policies:
                if use.approval is not None:
                    if (use.approval, use.run) in self._runs:
                        raise segment.refused(started, f"run {use.run} of its approval was used before")
                    self._runs.add((use.approval, use.run))
        for segment in evidence.segments.values():
            self._take_records(evidence, segment)
        for segment in evidence.segments.values():
            self._take_heads(evidence, segment)

    def _take_records(self, evidence: JobEvidence, segment: Segment) -> None:
        for line, record in enumerate(segment.records, 1):
            if not self._is_known(evidence, segment.party, record.sequence, record.digest):
                raise evidence.package.refused(
                    log_name(segment.party), f"{segment.party} showed another record of this number", line
                )

    def _take_heads(self, evidence: JobEvidence, segment: Segment) -> None:
        for said in segment.of(HeadSeen):
            head = said.action
            if not self._is_known(evidence, head.party, head.sequence, bytes.fromhex(head.digest)):
                raise segment.refused(
                    said,
                    f"{head.party} showed {segment.party} another record {head.sequence} than the evidence has",
                )

    def _is_known(self, evidence: JobEvidence, party: str, sequence: int, digest: bytes) -> bool:
        return self._records.setdefault((evidence.directory.root, party, sequence), digest) == digest
