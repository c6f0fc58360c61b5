"""One job's evidence, opened: each document verified by itself before any is held against another (protocol.md, 7)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from veilmatch_crypto import CryptoError, PublicKey
from veilmatch_evidence.package import (
    APPROVALS,
    DIGESTS,
    DIRECTORY,
    DIRECTORY_SIGNATURE,
    EPOCH,
    EPOCH_SIGNATURE,
    MANIFEST,
    REPORT,
    ROOT,
    Digest,
    Signature,
    blank_name,
    contribution_name,
    log_name,
    product_name,
)
from veilmatch_evidence.reading import Package, open_package
from veilmatch_evidence.segments import Segment, read_segment
from veilmatch_policy import canonical
from veilmatch_policy.approvals import SignedDecision, open_decision
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import OpenEpoch, open_epoch
from veilmatch_policy.errors import PolicyError
from veilmatch_policy.manifest import Draft, Manifest, PartyKeys, open_draft, open_manifest

_ALWAYS = (DIRECTORY, DIRECTORY_SIGNATURE, ROOT, EPOCH, EPOCH_SIGNATURE, DIGESTS)
_LOGS = "logs/"


class _Approval(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    department: str
    statement: str
    signature: Signature


_approvals = TypeAdapter(list[_Approval])
_digests = TypeAdapter(list[Digest])


@dataclass(frozen=True)
class Computation:
    """What is computed in a job, as its manifest says; ``key`` is the recipient's."""

    manifest: Manifest
    key: PublicKey

    @cached_property
    def contributors(self) -> Mapping[int, tuple[str, ...]]:
        """Who contributes to an outcome."""
        return {outcome.index: outcome.contributors for outcome in self.manifest.draft.outcomes}

    @cached_property
    def chunks(self) -> Sequence[slice]:
        """The slots of each chunk."""
        draft = self.manifest.draft
        return self.key.layout.chunks(draft.padded, draft.chunk_ciphertexts)

    @cached_property
    def places(self) -> list[tuple[int, int]]:
        """(outcome, chunk) of everything that is combined, in order."""
        return [(outcome, chunk) for outcome in self.contributors for chunk in range(len(self.chunks))]

    @cached_property
    def files(self) -> frozenset[str]:
        """The names of all files of ciphertexts."""
        contributed = (
            contribution_name(party, *place) for place in self.places for party in self.contributors[place[0]]
        )
        combined = (name for place in self.places for name in (blank_name(*place), product_name(*place)))
        return frozenset({*contributed, *combined})

    def chunk_bytes(self, chunk: int) -> int:
        """How long a chunk's ciphertexts are."""
        slots, layout = self.chunks[chunk], self.key.layout
        return layout.ciphertexts_for(slots.stop - slots.start) * layout.ciphertext_bytes


@dataclass(frozen=True)
class JobEvidence:
    """What a package holds.  ``computation`` is None where the job ended before it had a manifest."""

    package: Package
    directory: Directory
    epoch: OpenEpoch
    computation: Computation | None
    decisions: tuple[SignedDecision, ...]
    segments: Mapping[str, Segment]  # by party
    digests: Mapping[str, Digest]  # by file

    @property
    def complete(self) -> bool:
        """Whether the coordinator says that there are results and everybody's records: then nothing may be missing."""
        return self.package.index.status == "complete"

    @property
    def departments(self) -> tuple[str, ...]:
        """The nodes that took part, or may have."""
        if self.computation is None:
            return self.directory.nodes
        return self.computation.manifest.draft.participants


def open_job(folder: Path, root: bytes | None) -> JobEvidence:
    """Open a job's folder and verify each document by itself.

    ``root`` as in `veilmatch_evidence.reading.open_package`.  Raises EvidenceRefusedError naming the file.
    """
    package, directory = open_package(folder, root)
    for name in _ALWAYS:
        if name not in package:
            raise package.refused(name, "is missing")
    # Logs first: a changed line is named, where the index could only name the file.
    segments = _segments(package, directory)
    for name in sorted(package.index.files):
        if not name.startswith(_LOGS):
            package.read(name)
    epoch = _epoch(package, directory)
    evidence = JobEvidence(
        package,
        directory,
        epoch,
        _computation(package, directory, epoch) if MANIFEST in package else None,
        _decisions(package, directory),
        segments,
        _read_digests(package),
    )
    _require_names(evidence)
    return evidence


def _segments(package: Package, directory: Directory) -> dict[str, Segment]:
    segments = {}
    for party in (*directory.nodes, directory.coordinator):
        if log_name(party) in package:
            segments[party] = read_segment(package, party, directory)
    return segments


def _epoch(package: Package, directory: Directory) -> OpenEpoch:
    signature = package.read_hex(EPOCH_SIGNATURE, 64)
    try:
        return open_epoch(package.read(EPOCH), signature, directory)
    except PolicyError as error:
        raise package.refused(EPOCH, error.what) from None


def _computation(package: Package, directory: Directory, epoch: OpenEpoch) -> Computation:
    """Verify the manifest as its parties did: the plan derived again, every key signed for this job (7, step 3).

    Whether it had expired is held against each party's log.  The number of slots is what the parties state.
    """
    data = package.read(MANIFEST)
    try:
        file = canonical.decode(data)
        drafted = canonical.encode(file["draft"])
        draft = Draft.model_validate_json(drafted)
        keys = [PartyKeys.model_validate(each) for each in file["keys"]]
        own = next(each for each in keys if each.name == directory.coordinator)
    except (ValueError, LookupError, TypeError, StopIteration):  # pydantic's is a ValueError
        raise package.refused(MANIFEST, "is not a manifest") from None
    try:
        now = draft.expires - timedelta(seconds=1)
        _, plan = open_draft(drafted, directory, epoch, draft.padded, now=now)
        manifest = open_manifest(data, drafted, plan, directory, own)
        computation = Computation(manifest, manifest.paillier())
    except PolicyError as error:
        raise package.refused(MANIFEST, error.what) from None
    except CryptoError as error:
        raise package.refused(MANIFEST, f"a key is refused: {error}") from None
    if draft.job != package.index.job:
        raise package.refused(MANIFEST, "is of another job than the index")
    return computation


def _decisions(package: Package, directory: Directory) -> tuple[SignedDecision, ...]:
    """Read the officers' decisions, each signed by the officer of the department that it stands under."""
    if APPROVALS not in package:
        return ()
    try:
        stated = _approvals.validate_python(package.read_document(APPROVALS))
    except ValidationError:
        raise package.refused(APPROVALS, "is not a list of decisions") from None
    decisions: dict[bytes, SignedDecision] = {}
    for number, each in enumerate(stated, 1):
        try:
            signed = open_decision(each.statement.encode(), bytes.fromhex(each.signature), directory)
        except PolicyError as error:
            raise package.refused(APPROVALS, error.what, number) from None
        if signed.decision.request.department != each.department:
            raise package.refused(APPROVALS, f"is not a decision of {each.department}", number)
        if decisions.setdefault(signed.digest, signed) is not signed:
            raise package.refused(APPROVALS, "stands there twice", number)
    return tuple(decisions.values())


def _read_digests(package: Package) -> dict[str, Digest]:
    try:
        stated = _digests.validate_python(package.read_document(DIGESTS))
    except ValidationError:
        raise package.refused(DIGESTS, "is not a list of digests") from None
    digests: dict[str, Digest] = {}
    for number, each in enumerate(stated, 1):
        if digests.setdefault(each.file, each) is not each:
            raise package.refused(DIGESTS, "stands there twice", number)
        if package.index.files.get(each.file) != each.sha256:
            raise package.refused(DIGESTS, f"is not of the file {each.file} that is there", number)
    return digests


def _require_names(evidence: JobEvidence) -> None:
    """Raise EvidenceRefusedError for a file that no job has, and in a complete job for one that is missing."""
    package = evidence.package
    parties = (*evidence.departments, evidence.directory.coordinator)
    expected = {*_ALWAYS, MANIFEST, APPROVALS, REPORT, *map(log_name, parties)}
    if evidence.computation is not None:
        expected |= evidence.computation.files
    for name in sorted(set(package.index.files) - expected):
        raise package.refused(name, "is no file of this job's evidence")
    if evidence.complete:
        for name in sorted(expected - set(package.index.files)):
            raise package.refused(name, "is missing, and the job is said to be complete")
