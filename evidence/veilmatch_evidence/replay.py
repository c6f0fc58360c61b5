"""The coordinator's arithmetic, done again from the ciphertexts that it kept (protocol.md, 7).

No key is needed: a product is B times every contribution, modulo n**2, bit for bit.
"""

from pathlib import Path

from veilmatch_crypto import multiply_chunks
from veilmatch_evidence.ciphertexts import Progress
from veilmatch_evidence.job_evidence import JobEvidence
from veilmatch_evidence.package import blank_name, contribution_name, product_name
from veilmatch_evidence.verify import Verified, summary, verified_jobs


def replay(folder: Path, root: bytes | None = None, progress: Progress | None = None) -> list[Verified]:
    """Verify the evidence of every job below a folder, and multiply all its chunks again.

    Parameters and errors are those of `veilmatch_evidence.verify.verify`; EvidenceRefusedError names the product
    that is another one.  ``progress`` is told the job and how many of its chunks were multiplied.
    """
    told = progress or _silent
    done = []
    for evidence in verified_jobs(folder, root, _silent):
        _multiply(evidence, told)
        done.append(summary(evidence))
    return done


def _multiply(evidence: JobEvidence, progress: Progress) -> None:
    computation, package = evidence.computation, evidence.package
    if computation is None:
        return
    for done, (outcome, chunk) in enumerate(computation.places, 1):
        name = product_name(outcome, chunk)
        if name in package:
            factors = [
                contribution_name(party, outcome, chunk) for party in computation.contributors[outcome]
            ]
            factors.append(blank_name(outcome, chunk))
            product = multiply_chunks(computation.key, [package.read(factor) for factor in factors])
            size = computation.key.layout.ciphertext_bytes
            if (number := _first_difference(product, package.read(name), size)) is not None:
                raise package.refused(name, f"ciphertext {number} is not the product of {', '.join(factors)}")
        progress(package.index.job, done, len(computation.places))


def _first_difference(one: bytes, other: bytes, size: int) -> int | None:
    """Which of the ciphertexts, counted from 0, differ first; None where none does."""
    return next(
        (at // size for at in range(0, len(one), size) if one[at : at + size] != other[at : at + size]), None
    )


def _silent(_job: str, _done: int, _total: int) -> None:
    pass
