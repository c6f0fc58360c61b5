"""What a node tells the coordinator when it refuses: a code and one line, never its data.

The messages of this project's own errors hold no cell and no identifier (their classes say so), so
the coordinating office may read them, without the part that an error keeps for the owner
(``errors.py``).  Everything else is "internal error, see the local log".
"""

from collections.abc import Iterator
from contextlib import contextmanager

from veilmatch_crypto import CheckError, CryptoError, SealError
from veilmatch_evidence.errors import EvidenceError, LogError
from veilmatch_node.errors import ApprovalNeededError, DataError, JobRefusedError, LinkageError, StoreError
from veilmatch_policy.errors import DirectoryError, ManifestError, PolicyError
from veilmatch_transport import Code, RefusalError

# From the particular to the general: the first class that fits decides.
_CODES: tuple[tuple[type[Exception], Code], ...] = (
    (DataError, Code.DATA_REFUSED),
    (ApprovalNeededError, Code.APPROVAL_NEEDED),
    (JobRefusedError, Code.JOB_REFUSED),
    (LinkageError, Code.OUT_OF_ORDER),
    (StoreError, Code.OUT_OF_ORDER),
    # Another party's doing, not the policy's author's.
    (ManifestError, Code.JOB_REFUSED),
    (DirectoryError, Code.JOB_REFUSED),
    (PolicyError, Code.POLICY_REFUSED),
    (CheckError, Code.CHECK_FAILED),
    # This node's own vault: what a peer sealed wrongly is a LinkageError.
    (SealError, Code.INTERNAL),
    (CryptoError, Code.MALFORMED),
    (LogError, Code.NOT_SERVING),
    (EvidenceError, Code.MALFORMED),
)

_PRIVATE = frozenset({Code.INTERNAL, Code.NOT_SERVING})  # their lines name paths of this machine


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what a task raises on purpose into a RefusalError with its public line."""
    try:
        yield
    except tuple(kind for kind, _ in _CODES) as error:
        code = next(code for kind, code in _CODES if isinstance(error, kind))
        private = "; ".join([str(error), *getattr(error, "__notes__", ())])
        public = "" if code in _PRIVATE else getattr(error, "public", str(error))
        raise RefusalError(code, private, detail=public) from error
