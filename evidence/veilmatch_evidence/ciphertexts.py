"""A job's ciphertexts: signed by their makers, of the right size, no randomness twice (protocol.md, 4.2 and 7)."""

from collections.abc import Callable, Iterable

from veilmatch_crypto import CiphertextError, ResidueGuard, SignatureRefusedError, verify
from veilmatch_evidence.job_evidence import Computation, JobEvidence
from veilmatch_evidence.package import DIGESTS, blank_name, contribution_name, product_name
from veilmatch_policy.manifest import signed_combined, signed_contribution

Progress = Callable[[str, int, int], None]  # the job, how many chunks are done, of how many


def check_ciphertexts(evidence: JobEvidence, progress: Progress) -> None:
    """Raise EvidenceRefusedError where a file is not its maker's, or repeats the randomness of another."""
    computation = evidence.computation
    if computation is None:
        return
    residues = ResidueGuard(computation.key)
    for done, (outcome, chunk) in enumerate(computation.places, 1):
        signed = _contributions(evidence, computation, outcome, chunk)
        signed |= _combined(evidence, computation, outcome, chunk)
        for name, data in signed.items():
            if len(data) != computation.chunk_bytes(chunk):
                raise evidence.package.refused(
                    name, "has another number of ciphertexts than the manifest gives"
                )
            try:
                residues.admit(data)
            except CiphertextError as error:
                where = "; ".join([str(error), *getattr(error, "__notes__", ())])
                raise evidence.package.refused(name, where) from None
        progress(evidence.package.index.job, done, len(computation.places))


def _contributions(
    evidence: JobEvidence, computation: Computation, outcome: int, chunk: int
) -> dict[str, bytes]:
    """Return what is there of a place's contributions by their files, the signatures verified."""
    found = {}
    for party in computation.contributors[outcome]:
        name = contribution_name(party, outcome, chunk)
        if name in evidence.package:
            found[name] = evidence.package.read(name)
            statement = signed_contribution(computation.manifest.digest, outcome, chunk, found[name])
            _verify(evidence, name, party, statement)
    return found


def _combined(evidence: JobEvidence, computation: Computation, outcome: int, chunk: int) -> dict[str, bytes]:
    """Return B and the product of a place by their files, the signature verified; nothing where neither is there.

    Raises EvidenceRefusedError where a product is there, and not all that it is the product of.
    """
    package = evidence.package
    pair = (blank_name(outcome, chunk), product_name(outcome, chunk))
    if not any(name in package for name in pair):
        return {}
    factors = (contribution_name(party, outcome, chunk) for party in computation.contributors[outcome])
    _require(evidence, (*pair, *factors))
    blank, product = (package.read(name) for name in pair)
    statement = signed_combined(computation.manifest.digest, outcome, chunk, blank, product)
    for name in pair:
        _verify(evidence, name, evidence.directory.coordinator, statement)
    return dict(zip(pair, (blank, product), strict=True))


def _require(evidence: JobEvidence, names: Iterable[str]) -> None:
    for name in names:
        if name not in evidence.package:
            raise evidence.package.refused(name, "is missing, and the chunk is said to be combined")


def _verify(evidence: JobEvidence, name: str, party: str, statement: bytes) -> None:
    if name not in evidence.digests:
        raise evidence.package.refused(DIGESTS, f"has no signature of {name}")
    signature = bytes.fromhex(evidence.digests[name].signature)
    try:
        verify(evidence.directory.identity(party), statement, signature)
    except SignatureRefusedError:
        raise evidence.package.refused(name, f"is not signed by {party} for this job and chunk") from None
